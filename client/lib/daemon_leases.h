// DaemonLeases: LeaseCalls over gRPC. Private: includes gRPC headers.
//
// Purpose: the Heaps service for one arena of one session, through the session's gate. The account
//   of leases (lease_account.h) says which answers count, and what a resume tells the daemon.
// Threads: any. Crash: see lease_calls.h.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "client/lib/client_state.h"
#include "client/lib/daemon_gate.h"
#include "client/lib/lease_account.h"
#include "client/lib/lease_calls.h"

namespace arenad::client {

class DaemonLeases final : public LeaseCalls {
 public:
  // `gate` is the session's, and outlives this object. `units` is the arena's number of units.
  // `epoch` is the attachment's.
  DaemonLeases(std::shared_ptr<ClientState> client, v1::SessionKey key, DaemonGate& gate,
               ArenaId arena, ShardId shard, std::uint32_t units, std::uint64_t epoch);

  Answer<HeapId> open_heap() override;
  Status lease(HeapId heap, const RunShape& request, std::uint32_t count, std::uint32_t wait_ms,
               Patience patience, std::vector<SlabIndex>& runs) override;
  bool reachable() const override { return gate_.standing() == SessionStanding::kConnected; }
  void give_back(std::span<const SlabIndex> runs) override;

  // Tells the daemon all leases and heaps that the session knows. Lease calls wait until a resume
  // was answered, so a resume that failed must be made again, or the arena given up. Errors: those
  // of Heaps.Resume.
  Status resume();
  // Sessions.DetachArena. After a success give_up() must follow. After an error with a reason the
  // session is attached still, or the arena is gone. After an error without one a resume must be
  // made: its answer says whether the session is attached. No thread may use a lease before that.
  Status detach(bool give_up_blocks, GivenBack& given);
  // Whether a detach was not answered. The daemon may work on it still, may have refused it, or may
  // have died in the middle.
  bool undecided() const { return undecided_.load(std::memory_order_relaxed); }
  void decided() { undecided_.store(false, std::memory_order_relaxed); }
  // Whether a resume found, after such a detach, that the daemon has taken slabs or heaps over
  // already. Then the detach must be completed.
  bool lost_leases() const { return lost_leases_.load(std::memory_order_relaxed); }
  // Completes it. Errors: NOT_ATTACHED when that is done; else those of Resume and DetachArena.
  Status leave();
  // See LeaseAccount.
  void give_up(const Status& why) { account_.give_up(why); }
  bool wants_resume() const { return account_.wants_resume(); }

 private:
  // Makes a call through the gate, and makes it again while the daemon is away, and when a resume
  // came between. After a success take() runs, as LeaseAccount::answered says.
  template <class Request, class Response, class Take>
  Status call(::grpc::Status (v1::Heaps::Stub::*method)(::grpc::ClientContext*, const Request&,
                                                        Response*),
              Request& request, Response& response, Patience patience, std::uint32_t extra_ms,
              Take take);
  template <class Request>
  Request request() const;
  // The leases that begin in [first, end), and in the first part the heaps.
  v1::ResumeRequest part(std::uint32_t first, std::uint32_t end);

  const std::shared_ptr<ClientState> client_;
  const v1::SessionKey key_;
  DaemonGate& gate_;
  const ArenaId arena_;
  const ShardId shard_;

  // Both are written under resume_mutex_, by threads that act on them after they have had it.
  std::atomic<bool> undecided_{false};
  std::atomic<bool> lost_leases_{false};
  std::mutex resume_mutex_;  // held by the thread that resumes or detaches
  LeaseAccount account_;
};

}  // namespace arenad::client
