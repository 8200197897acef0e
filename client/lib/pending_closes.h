// PendingCloses: closes of sessions that the daemon has not answered yet. Private: includes gRPC
// headers.
//
// Purpose: Session::close() while the daemon is away. The daemon may keep the session over its
//   restart, and with it what the session holds, as long as this process lives. So a thread makes
//   the close again, until the daemon has answered.
// Invariants: any answer but UNAVAILABLE is the last one: the session is closed, or the daemon does
//   not know it.
// Threads: any calls add. The thread begins with the first close. fork: a child never destroys
//   this object, and every call there answers FORKED.
// Crash: the daemon sees the process end.
#pragma once

#include <grpcpp/client_context.h>

#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "arenad/v1/sessions.grpc.pb.h"

namespace arenad::client {

class PendingCloses {
 public:
  PendingCloses() = default;
  // Gives up what is pending: the daemon finds that the process has left the session.
  ~PendingCloses();

  // `sessions` lives longer than this object.
  void add(v1::Sessions::Stub& sessions, const v1::SessionKey& key);

 private:
  void run(v1::Sessions::Stub& sessions);
  // Makes the close once. Whether the daemon has answered.
  bool close(v1::Sessions::Stub& sessions, const v1::SessionKey& key);

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<v1::SessionKey> pending_;       // under mutex_
  bool stopping_ = false;                     // under mutex_
  ::grpc::ClientContext* context_ = nullptr;  // under mutex_: of the call that the thread makes
  std::thread thread_;                        // under mutex_
};

}  // namespace arenad::client
