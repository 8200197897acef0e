// Liveness: watches whether sessions still have somebody behind them.
//
// Purpose: a grace timer for sessions that nobody vouches for yet, and a watch for those bound to a
// process: its pidfd, or a
//   question that is asked again and again where there is none.
// Invariants: a session is dead when its process is (its pidfd turns readable), not when a socket
// hung up. No callback
//   for a session comes after forget(), nor for one that has got its id later.
// Threads: the control thread, on its io_context. Crash: private.
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
  // For a process without a pidfd: asks `gone` four times a second until it says true. Ends the
  // grace; watch() replaces it.
  void watch_by(SessionId session, std::function<bool()> gone);
  void forget(SessionId session);
  void forget_all();

 private:
  struct Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace arenad::server
