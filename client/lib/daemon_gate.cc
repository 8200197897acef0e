#include "client/lib/daemon_gate.h"

#include <algorithm>
#include <string>

namespace arenad::client {
namespace {

constexpr auto kPause = std::chrono::milliseconds(20);

}  // namespace

Status lost_status() {
  return {
      Code::kUnauthenticated, Error::kUnknownSession,
      "the daemon that runs now does not know this session: open a new one (a daemon knows the "
      "sessions of the daemon before it only from a state directory, and only while they live)"};
}

Status evicted_status() {
  return {Code::kUnauthenticated, Error::kEvicted,
          std::string("an administrator has ended this session: ") + error_advice(Error::kEvicted)};
}

Status closed_status() {
  return {Code::kUnauthenticated, Error::kUnknownSession,
          "the session is closed, and all it held was given back; open another one"};
}

Status away_status() {
  return {Code::kUnavailable, Error::kNone,
          "the daemon is away and did not come back in time; what this session holds is still "
          "its own. Try again, or free some blocks"};
}

void DaemonGate::set(SessionStanding standing) {
  {
    const std::lock_guard lock(mutex_);
    if (standing_ == SessionStanding::kClosed ||
        (is_over(standing_) && standing != SessionStanding::kClosed))
      return;
    standing_.store(standing, std::memory_order_relaxed);
  }
  changed_.notify_all();
}

Status DaemonGate::answer(bool in_time) const {
  if (standing_ == SessionStanding::kLost) return lost_status();
  if (standing_ == SessionStanding::kEvicted) return evicted_status();
  if (standing_ == SessionStanding::kClosed) return closed_status();
  return in_time ? Status{} : away_status();
}

void DaemonGate::pause(Clock::time_point deadline) {
  std::unique_lock lock(mutex_);
  const SessionStanding before = standing_;
  changed_.wait_until(lock, std::min(deadline, Clock::now() + kPause),
                      [&] { return standing_ != before; });
}

}  // namespace arenad::client
