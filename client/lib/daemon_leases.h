// DaemonLeases: LeaseCalls over gRPC. Private: includes gRPC headers.
//
// Purpose: the Heaps service for one arena of one session, through the session's gate, and the
//   account of leases that a resume tells the daemon.
// Invariants: the account has a run before the lease call leaves the gate. The account drops a run
//   before the ReturnSlabs that names it.
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

  // Tells the daemon all leases and heaps that the session knows. The caller has the gate for
  // itself. Errors: those of Heaps.Resume.
  Status resume();
  // Whether a call ended without an answer. Then the daemon may have leased slabs that the session
  // does not know.
  bool wants_resume() const { return unanswered_.load(std::memory_order_relaxed); }

 private:
  // Makes a call inside the gate, and makes it again while the daemon is away. After a success
  // account() runs, still inside the gate.
  template <class Request, class Response, class Account>
  Status call(::grpc::Status (v1::Heaps::Stub::*method)(::grpc::ClientContext*, const Request&,
                                                        Response*),
              const Request& request, Response& response, Patience patience, std::uint32_t extra_ms,
              Account account);
  template <class Request>
  Request request() const;

  const std::shared_ptr<ClientState> client_;
  const v1::SessionKey key_;
  DaemonGate& gate_;
  const ArenaId arena_;
  const ShardId shard_;

  std::atomic<bool> unanswered_{false};  // a hint: orders nothing, pairs with no other atomic
  std::mutex mutex_;
  std::vector<bool> leased_;   // under mutex_, by first unit
  std::vector<HeapId> heaps_;  // under mutex_
};

}  // namespace arenad::client
