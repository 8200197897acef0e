// KeepAlive: the stream that tells the daemon that a session's client is there. Private.
//
// Purpose: open it, wait for its confirmation, listen to it on a thread of its own until stop().
// Invariants: the thread ends before this object does.
// Threads: start and stop once each, by the owner; serving and alive by any thread.
// Crash: the stream ends with the process, and a remote session with the stream.
#pragma once

#include <grpcpp/client_context.h>

#include <atomic>
#include <cstdint>
#include <thread>

#include "arenad/v1/sessions.grpc.pb.h"
#include "client/lib/status.h"

namespace arenad::client {

class KeepAlive {
 public:
  ~KeepAlive() { stop(); }

  // Errors: those of the daemon; UNAVAILABLE when it does not confirm within timeout_ms.
  Status start(v1::Sessions::Stub& stub, const v1::SessionKey& key, std::uint32_t timeout_ms);
  void stop();   // ends the stream and the thread; again is nothing

  bool serving() const { return alive() && !draining_.load(std::memory_order_relaxed); }
  bool alive() const { return alive_.load(std::memory_order_relaxed); }

 private:
  ::grpc::ClientContext context_;
  std::thread thread_;
  // Hints for the user, written by the thread only: they publish nothing else, so relaxed.
  std::atomic<bool> alive_{false};
  std::atomic<bool> draining_{false};
};

}  // namespace arenad::client
