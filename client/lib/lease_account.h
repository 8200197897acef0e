// LeaseAccount: which leases and heaps a session knows in one arena, and in which epoch. Private.
//
// Purpose: decides which answers and returns of lease calls count, and what a resume tells the
//   daemon. DaemonLeases makes the calls over gRPC, and tests/crash over sockets of its own.
// Invariants: a resume raises the epoch first and reads the account after that. An answer enters
//   the account only while its epoch is the present one. So a run that is used was named by the
//   last resume, or was leased after it. No call of the new epoch is made before the resume was
//   answered. The account drops a run before the ReturnSlabs that names it, and that call is of the
//   epoch in which the run was dropped. (Of a later one, it could take a run that was leased
//   again.)
//   A detach and a resume exclude each other, so a detach is of the epoch of the last resume. While
//   the daemon decides on it, no call is made. A call that was on its way is refused by the daemon,
//   and made again when the session stays attached.
// Threads: any; one thread at a time resumes or detaches. Crash: private memory; see lease_calls.h.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "allocator/format/ids.h"
#include "arenad/status.h"
#include "client/lib/daemon_gate.h"

namespace arenad::client {

class LeaseAccount {
 public:
  // `gate` is the session's, and outlives this object. `units` is the arena's number of units.
  // `epoch` is the attachment's.
  LeaseAccount(DaemonGate& gate, std::uint32_t units, std::uint64_t epoch = 0)
      : gate_(gate), epoch_(epoch), leased_(units) {}

  std::uint32_t units() const { return static_cast<std::uint32_t>(leased_.size()); }

  // Waits at the gate until calls may be made. Answers the epoch that they are of. Errors: those of
  // DaemonGate::enter, and give_up's.
  Answer<std::uint64_t> enter(DaemonGate::Clock::time_point deadline);

  // Runs take() for an answer of that epoch. False when a resume began since the call was made. The
  // resume did not name what the answer brings, so the daemon takes it back.
  template <class Take>
  [[nodiscard]] bool answered(std::uint64_t epoch, Take take) {
    const std::lock_guard lock(mutex_);
    if (epoch_.load(std::memory_order_relaxed) != epoch) return false;
    take();
    return true;
  }
  // In take() only:
  void add_run(SlabIndex run) { leased_[run.value] = true; }
  void add_heap(HeapId heap) { heaps_.push_back(heap); }

  // The session gives the runs back. Answers the epoch of the ReturnSlabs that names them. Nothing:
  // no such call may be made, and the next resume gives the runs back.
  std::optional<std::uint64_t> drop(std::span<const SlabIndex> runs);

  // One part of a resume.
  struct Part {
    std::uint64_t epoch = 0;
    std::vector<SlabIndex> runs;  // that begin in the part's units
    std::vector<HeapId> heaps;    // in the first part
  };
  // A resume begins: from here on no call is made until end_resume.
  void begin_resume();
  Part part(std::uint32_t first_unit, std::uint32_t end_unit);
  void end_resume();
  // A detach begins, of the epoch that this answers: no call is made until its end.
  std::uint64_t begin_detach();
  // Its end. After a success calls wait for give_up, which must follow. Without an answer they wait
  // for a resume, which is wanted then.
  enum class Detached : std::uint8_t { kYes, kNo, kUnknown };
  void end_detach(Detached outcome);
  // How many detaches were begun.
  std::uint32_t detaches() const { return detaches_.load(std::memory_order_relaxed); }
  // The daemon has taken over all that the session knows.
  void drop_all();
  // After a resume that the daemon refused for good, and after a detach: calls that wait, and later
  // ones, answer `why`.
  void give_up(const Status& why);

  // A resume must be made: one failed, or a call ended without an answer. Then the daemon may have
  // leased slabs that the session does not know.
  void want_resume() { wants_resume_.store(true, std::memory_order_relaxed); }
  bool wants_resume() const { return wants_resume_.load(std::memory_order_relaxed); }

 private:
  DaemonGate& gate_;
  std::atomic<bool> wants_resume_{false};   // a hint: orders nothing, pairs with no other atomic
  bool resuming_ = false;                   // under the gate's lock: no resume was answered yet
  bool detaching_ = false;                  // under the gate's lock: a detach was not answered yet
  std::atomic<std::uint32_t> detaches_{0};  // a hint, as wants_resume_ is
  Status given_up_;                         // under the gate's lock: OK until give_up
  std::mutex mutex_;
  // Written under the gate's lock by the thread that resumes, which takes mutex_ after that. A
  // thread with an answer reads it under mutex_: relaxed, mutex_ orders it.
  std::atomic<std::uint64_t> epoch_;
  std::vector<bool> leased_;   // under mutex_, by first unit
  std::vector<HeapId> heaps_;  // under mutex_
};

}  // namespace arenad::client
