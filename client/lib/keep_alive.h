// KeepAlive: the stream that tells the daemon that a session's client is alive. Private.
//
// Purpose: open the stream, wait for its confirmation, and listen to it on a thread of its own.
//   When the stream breaks, open it again, until the daemon is back or does not know the session.
// Invariants: the thread ends before this object does. Only that thread calls the listener.
// Threads: the owner calls start and stop, once each. Any thread calls serving.
// Crash: the stream ends with the process. A remote session ends with the stream.
#pragma once

#include <grpcpp/client_context.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "arenad/status.h"
#include "arenad/v1/sessions.grpc.pb.h"
#include "client/lib/client_state.h"

namespace arenad::client {

class KeepAlive {
 public:
  class Listener {
   public:
    // The stream broke: the daemon is away.
    virtual void broken() = 0;
    // The daemon has confirmed the stream again. After an error the stream is opened again later,
    // unless the error is UNKNOWN_SESSION or EVICTED.
    virtual Status back() = 0;
    // The daemon does not know the session. The thread ends.
    virtual void lost() = 0;
    // An administrator ends the session. When the call returns, no thread of the session works in
    // an arena. The thread ends.
    virtual void evicted() = 0;
    // The arena runs short of memory: give back what is not needed.
    virtual void trim(ArenaId arena) = 0;
    // The arena was deleted while the session was attached to it.
    virtual void deleted(ArenaId arena, const std::string& name) = 0;

   protected:
    ~Listener() = default;
  };

  ~KeepAlive() { stop(); }

  // Opens the stream, and waits until the daemon has confirmed it. `listener` lives until stop().
  // Errors: those of the daemon; UNAVAILABLE when it does not confirm within the call timeout.
  Status start(ClientState& client, const v1::SessionKey& key, Listener& listener);
  // Ends the stream and the thread. A second call does nothing.
  void stop();

  bool serving() const { return !draining_.load(std::memory_order_relaxed); }

 private:
  using Stream = ::grpc::ClientReaderWriter<v1::KeepAliveRequest, v1::KeepAliveEvent>;

  void run(ClientState& client, const v1::SessionKey& key, Listener& listener,
           std::promise<Status> confirmed);
  bool open(ClientState& client, const v1::SessionKey& key, v1::KeepAliveEvent& event);
  // True when the session was evicted.
  bool listen(ClientState& client, v1::KeepAliveEvent& event, Listener& listener);
  bool pause();  // between two attempts; false when stop() was called
  void cancel();

  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable stopping_changed_;
  bool stopping_ = false;                           // under mutex_
  std::unique_ptr<::grpc::ClientContext> context_;  // under mutex_
  std::unique_ptr<Stream> stream_;                  // of the thread alone
  bool first_ = true;                               // of the thread alone
  // A hint for the user: orders nothing, pairs with no other atomic.
  std::atomic<bool> draining_{false};
};

}  // namespace arenad::client
