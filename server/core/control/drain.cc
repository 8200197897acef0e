#include "server/core/control/drain.h"

#include <fmt/format.h>

#include <chrono>
#include <utility>

namespace arenad::server {

void Drain::begin(std::function<void()> drained) {
  mark();
  core_.thread.post([this, drained = std::move(drained)] {
    if (core_.thread.stopping() || begun_) return;
    begun_ = true;
    drained_ = drained;
    const StateDirectory::Lost lost = core_.state.lost();
    if (core_.state.is_open() && !lost.any()) {
      core_.log(LogLevel::kInfo,
                fmt::format("draining: {} arenas and {} sessions are kept for the next daemon",
                            core_.arenas.all().size(), core_.sessions.all().size()));
      return finish();
    }
    if (lost.any()) {
      core_.log(
          LogLevel::kError,
          fmt::format("draining: files were removed from the state directory: {} of {} arenas "
                      "are lost with this daemon{}",
                      lost.arenas.size(), core_.arenas.all().size(),
                      lost.sessions ? ", and so are all sessions" : ""));
    }
    core_.log(LogLevel::kInfo,
              fmt::format("draining: {} sessions are open", core_.sessions.all().size()));
    tell_sessions();
    core_.thread.run(wait_for_deadline());
    session_ended();
  });
}

void Drain::tell_sessions() {
  for (const auto& [id, session] : core_.sessions.all())
    for (const auto& [stream, on_event] : session.keepalives)
      on_event({SessionEvent::Kind::kDraining});
}

Task<> Drain::wait_for_deadline() {
  const std::chrono::milliseconds deadline(
      core_.shared.tunables.drain_deadline_ms.load(std::memory_order_relaxed));
  auto over = core_.thread.sleep(deadline);
  co_await over;
  if (over_) co_return;
  core_.log(LogLevel::kWarning,
            fmt::format("the deadline of the drain has come, and {} sessions are still open",
                        core_.sessions.all().size()));
  finish();
}

void Drain::session_ended() {
  if (begun_ && !over_ && core_.sessions.all().empty()) finish();
}

void Drain::finish() {
  over_ = true;
  if (const auto drained = std::exchange(drained_, nullptr)) drained();
}

}  // namespace arenad::server
