// DaemonLeases: LeaseCalls over gRPC. Private: includes gRPC headers.
//
// Purpose: the Heaps service for one arena of one session, through the session's gate; and the
// account of what is leased that a
//   resume names.
// Invariants: the account has a run from before the gate is left with it until before it is named
// in a ReturnSlabs. Threads: any. Crash: see lease_calls.h.
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
  // `gate` outlives it (the session's). `arena_id` as the daemon gave it, `units` of the arena.
  DaemonLeases(std::shared_ptr<ClientState> client, v1::SessionKey key, DaemonGate& gate,
               std::uint32_t arena_id, std::uint32_t shard, std::uint32_t units);

  Answer<HeapId> open_heap() override;
  Status lease(HeapId heap, const RunRequest& request, std::uint32_t count, std::uint32_t wait_ms,
               Patience patience, std::vector<SlabIndex>& runs) override;
  void give_back(std::span<const SlabIndex> runs) override;

  // Names everything that the session knows, with the gate exclusive. Errors: those of
  // Heaps.Resume.
  Status resume();
  // Whether a call ended without an answer, so that the daemon may have leased what the session
  // does not know.
  bool wants_resume() const { return unanswered_.load(std::memory_order_relaxed); }

 private:
  // Makes a call inside the gate, again while the daemon is away; account() runs inside after a
  // success.
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
  const std::uint32_t arena_id_;
  const std::uint32_t shard_;

  std::atomic<bool> unanswered_{false};  // a hint
  std::mutex mutex_;
  std::vector<bool> leased_;  // by first unit
  std::vector<std::uint32_t> heaps_;
};

}  // namespace arenad::client
