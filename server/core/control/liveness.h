// Liveness: watches whether the processes behind sessions still live.
//
// Purpose: a grace timer for a session that has no stream and no process yet, and a watch for a
// session that is bound to a process: the process's pidfd, or, where there is no pidfd, a question
// that is asked four times a second.
// Invariants: a session is lost when its process has ended (its pidfd turns readable), and with it
//   every other process that was watched for the session. A socket that hung up proves nothing.
//   A grace counts time in which the daemon ran: after a standstill (SIGSTOP, a busy machine) it
//   begins anew, because the client's stream may wait in the daemon's socket.
//   After forget() no callback comes for the session, nor for a later session with the same id
//   because of this one.
// Threads: the control thread, on its io_context. Crash: private memory of the daemon.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "allocator/base/unique_fd.h"
#include "allocator/format/ids.h"

namespace boost::asio {
class io_context;
}

namespace arenad::server {

class Liveness {
 public:
  enum class Loss : std::uint8_t { kGraceOver, kProcessDied };
  using OnLoss = std::function<void(SessionId session, Loss)>;

  Liveness(boost::asio::io_context& io, OnLoss on_loss);
  ~Liveness();

  void start_grace(SessionId session, std::uint64_t grace_ms);
  void stop_grace(SessionId session);
  // From now on the session lives as long as the process. Ends the grace.
  void watch(SessionId session, UniqueFd pidfd);
  // The session lives as long as one of the processes: this one, and those that are watched. The
  // first sixteen are watched.
  void watch_also(SessionId session, UniqueFd pidfd);
  // For a process without a pidfd: asks `gone` four times a second, until `gone` says true. Ends
  // the grace. watch() replaces this watch.
  void watch_by(SessionId session, std::function<bool()> gone);
  void forget(SessionId session);
  void forget_all();

 private:
  struct Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace arenad::server
