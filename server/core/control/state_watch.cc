#include "server/core/control/state_watch.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>
#include <vector>

namespace arenad::server {
namespace {

constexpr std::chrono::seconds kLookEvery{1};
// To look at an arena takes three calls of lstat. So this is a tenth of a millisecond.
constexpr std::size_t kArenasALook = 32;

// A line names so many arenas. All of them can be lost at once.
constexpr std::size_t kMostNames = 10;

}  // namespace

void StateWatch::start() {
  if (!core_.state.is_open()) return;
  core_.thread.post([this] { core_.thread.run(keep_looking()); });
}

Task<> StateWatch::keep_looking() {
  for (;;) {
    auto rested = core_.thread.sleep(kLookEvery);
    co_await rested;
    if (core_.state.next_lost(kArenasALook)) look();
  }
}

void StateWatch::look() {
  StateDirectory::Lost lost = core_.state.lost();
  std::vector<std::string> fresh;
  std::set_difference(lost.arenas.begin(), lost.arenas.end(), told_.arenas.begin(),
                      told_.arenas.end(), std::back_inserter(fresh));
  const bool sessions = lost.sessions && !told_.sessions;
  told_ = std::move(lost);
  if (fresh.empty() && !sessions) return;
  std::string what;
  if (!fresh.empty()) {
    const std::size_t named = std::min(fresh.size(), kMostNames);
    what = fmt::format("{} arenas ('{}'{})", fresh.size(),
                       fmt::join(fresh.begin(), fresh.begin() + static_cast<long>(named), "', '"),
                       named < fresh.size() ? ", ..." : "");
  }
  if (sessions) what += what.empty() ? "the table of sessions" : " and the table of sessions";
  core_.log(LogLevel::kError,
            fmt::format("files of {} were removed from the state directory under this daemon. They "
                        "are served as long as this daemon runs, and the next daemon cannot find "
                        "them: save what is needed, and keep clean-up programs away from {}",
                        what, core_.state.path()));
  if (const auto on_lost = std::exchange(on_lost_, nullptr)) on_lost();
}

}  // namespace arenad::server
