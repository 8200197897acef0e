// DaemonLeases: LeaseCalls over gRPC. Private: includes gRPC headers.
//
// Purpose: the Heaps service for one arena of one session, through the session's gate, and the
//   account of leases that a resume tells the daemon.
// Invariants: a resume raises the epoch first and reads the account after that. An answer enters
//   the account only while its epoch is the present one. So a run that is used was named by the
//   last resume, or was leased after it. No call of the new epoch is made before the resume was
//   answered. The account drops a run before the ReturnSlabs that names it, and that call is of the
//   epoch in which the run was dropped. (Of a later one, it could take a run that was leased
//   again.)
// Threads: any. Crash: see lease_calls.h.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "client/lib/client_state.h"
#include "client/lib/daemon_gate.h"
#include "client/lib/lease_calls.h"

namespace arenad::client {

class DaemonLeases final : public LeaseCalls {
 public:
  // `gate` is the session's, and outlives this object. `units` is the arena's number of units.
  DaemonLeases(std::shared_ptr<ClientState> client, v1::SessionKey key, DaemonGate& gate,
               ArenaId arena, ShardId shard, std::uint32_t units);

  Answer<HeapId> open_heap() override;
  Status lease(HeapId heap, const RunShape& request, std::uint32_t count, std::uint32_t wait_ms,
               Patience patience, std::vector<SlabIndex>& runs) override;
  void give_back(std::span<const SlabIndex> runs) override;

  // Tells the daemon all leases and heaps that the session knows. Lease calls wait until a resume
  // was answered, so a resume that failed must be made again, or the arena given up. Errors: those
  // of Heaps.Resume.
  Status resume();
  // After a resume that the daemon refused for good: calls that wait, and later ones, answer `why`.
  void give_up(const Status& why);
  // Whether a resume must be made: one failed, or a call ended without an answer. Then the daemon
  // may have leased slabs that the session does not know.
  bool wants_resume() const { return wants_resume_.load(std::memory_order_relaxed); }

 private:
  // Waits at the gate until calls may be made. Answers the epoch that they are of. Errors: those of
  // DaemonGate::enter, and give_up's.
  Answer<std::uint64_t> enter(DaemonGate::Clock::time_point deadline);
  // Makes a call through the gate, and makes it again while the daemon is away, and when a resume
  // came between. After a success account() runs under mutex_.
  template <class Request, class Response, class Account>
  Status call(::grpc::Status (v1::Heaps::Stub::*method)(::grpc::ClientContext*, const Request&,
                                                        Response*),
              Request& request, Response& response, Patience patience, std::uint32_t extra_ms,
              Account account);
  template <class Request>
  Request request() const;
  // The leases that begin in [first, end), and in the first part the heaps.
  v1::ResumeRequest part(std::uint32_t first, std::uint32_t end);

  const std::shared_ptr<ClientState> client_;
  const v1::SessionKey key_;
  DaemonGate& gate_;
  const ArenaId arena_;
  const ShardId shard_;

  std::atomic<bool> wants_resume_{false};  // a hint: orders nothing, pairs with no other atomic
  std::mutex resume_mutex_;                // held by the thread that resumes
  bool resuming_ = false;                  // under the gate's lock: no resume was answered yet
  Status given_up_;                        // under the gate's lock: OK until give_up
  std::mutex mutex_;
  // Written under the gate's lock by the thread that resumes, which takes mutex_ after that. A
  // thread with an answer reads it under mutex_: relaxed, mutex_ orders it.
  std::atomic<std::uint64_t> epoch_{0};
  std::vector<bool> leased_;   // under mutex_, by first unit
  std::vector<HeapId> heaps_;  // under mutex_
};

}  // namespace arenad::client
