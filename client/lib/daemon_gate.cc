#include "client/lib/daemon_gate.h"

#include <algorithm>

namespace arenad::client {
namespace {

constexpr auto kPause = std::chrono::milliseconds(20);

bool final(SessionStanding s) {
  return s == SessionStanding::kLost || s == SessionStanding::kClosed;
}

}  // namespace

Status lost_status() {
  return {Code::kUnauthenticated, Error::kUnknownSession,
          "the daemon was restarted without this session: open a new one (with a state directory "
          "it would have been kept)"};
}

Status closed_status() {
  return {Code::kUnauthenticated, Error::kUnknownSession,
          "the session is closed, and all it held was given back; open another one"};
}

void DaemonGate::set(SessionStanding standing) {
  {
    const std::lock_guard lock(mutex_);
    if (standing_ == SessionStanding::kClosed ||
        (standing_ == SessionStanding::kLost && !final(standing)))
      return;
    standing_.store(standing, std::memory_order_relaxed);
  }
  changed_.notify_all();
}

Status DaemonGate::enter(Clock::time_point deadline) {
  std::unique_lock lock(mutex_);
  const bool in_time = changed_.wait_until(lock, deadline, [&] {
    return final(standing_) || (standing_ == SessionStanding::kConnected && !exclusive_);
  });
  if (standing_ == SessionStanding::kLost) return lost_status();
  if (standing_ == SessionStanding::kClosed) return closed_status();
  if (!in_time)
    return {Code::kUnavailable, Error::kNone,
            "the daemon is away and did not come back in time; what this session holds is still "
            "its own. Try again, or free some blocks"};
  ++inside_;
  return {};
}

void DaemonGate::leave() {
  {
    const std::lock_guard lock(mutex_);
    --inside_;
  }
  changed_.notify_all();
}

void DaemonGate::pause(Clock::time_point deadline) {
  std::unique_lock lock(mutex_);
  const SessionStanding before = standing_;
  changed_.wait_until(lock, std::min(deadline, Clock::now() + kPause),
                      [&] { return standing_ != before; });
}

bool DaemonGate::make_exclusive() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !exclusive_; });
  exclusive_ = true;
  changed_.wait(lock, [&] { return inside_ == 0 || final(standing_); });
  return !final(standing_);
}

void DaemonGate::open_again() {
  {
    const std::lock_guard lock(mutex_);
    exclusive_ = false;
  }
  changed_.notify_all();
}

}  // namespace arenad::client
