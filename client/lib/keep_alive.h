// KeepAlive: the stream that tells the daemon that a session's client is there. Private.
//
// Purpose: open it, wait for its confirmation, listen to it on a thread of its own until stop();
// when it breaks, open it again until
//   the daemon is back or does not know the session any more.
// Invariants: the thread ends before this object does. The listener is called on that thread only.
// Threads: start and stop once each, by the owner; serving by any thread.
// Crash: the stream ends with the process, and a remote session with the stream.
#pragma once

#include <grpcpp/client_context.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <thread>

#include "arenad/status.h"
#include "arenad/v1/sessions.grpc.pb.h"
#include "client/lib/client_state.h"

namespace arenad::client {

class KeepAlive {
 public:
  class Listener {
   public:
    virtual void broken() = 0;  // from now on the daemon is away
    // The daemon has confirmed the stream again. Errors: try again later, or UNKNOWN_SESSION, which
    // ends it.
    virtual Status back() = 0;
    virtual void lost() = 0;                        // it does not know the session; the thread ends
    virtual void trim(std::uint32_t arena_id) = 0;  // an arena runs short

   protected:
    ~Listener() = default;
  };

  ~KeepAlive() { stop(); }

  // `listener` outlives stop(). Errors: those of the daemon; UNAVAILABLE when it does not confirm
  // within the call timeout.
  Status start(ClientState& client, const v1::SessionKey& key, Listener& listener);
  void stop();  // ends the stream and the thread; again is nothing

  bool serving() const { return !draining_.load(std::memory_order_relaxed); }

 private:
  using Stream = ::grpc::ClientReaderWriter<v1::KeepAliveRequest, v1::KeepAliveEvent>;

  void run(ClientState& client, v1::SessionKey key, Listener& listener,
           std::promise<Status> confirmed);
  bool open(ClientState& client, const v1::SessionKey& key, v1::KeepAliveEvent& event);
  void listen(ClientState& client, v1::KeepAliveEvent& event, Listener& listener);
  bool pause();  // between two attempts; false when stopping
  void cancel();

  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable stopping_changed_;
  bool stopping_ = false;  // under mutex_, as context_
  std::unique_ptr<::grpc::ClientContext> context_;
  std::unique_ptr<Stream> stream_;     // the thread's
  bool first_ = true;                  // the thread's
  std::atomic<bool> draining_{false};  // a hint for the user; publishes nothing else
};

}  // namespace arenad::client
