#include "server/core/control/maintenance.h"

#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <bit>
#include <cstdint>

#include "allocator/base/format.h"
#include "server/core/api/clock.h"
#include "server/core/api/text.h"

namespace arenad::server {
namespace {

constexpr int kRestMs = 5;    // between two looks; kicks in the meantime are merged
constexpr int kLookMs = 200;  // between two looks at all arenas
// Superslabs: bounds how long a commit waits behind it.
constexpr std::uint32_t kGiveBackAtOnce = 256;
// What clients may touch of an arena where nothing is committed.
constexpr std::uint64_t kMostTouchedBytes = 8 << 20;
constexpr std::uint64_t kGiveBackNs = 500 * kNsPerMs;  // decommit_idle's hysteresis is two of these

void drop_touched(Arena& arena, const Log& log) {
  const std::uint64_t bytes = arena.touched_bytes();
  if (bytes < kMostTouchedBytes) return;  // it was a commit under way
  arena.drop_touched();
  log(LogLevel::kWarning,
      fmt::format("clients have touched {} of arena '{}' where nothing is allocated; it was given "
                  "back",
                  bytes_text(bytes), arena.options().name));
}

}  // namespace

Maintenance::Maintenance(const ServerTunables& tunables, CommitThreads& commits, Log log)
    : tunables_(tunables),
      commits_(commits),
      log_(std::move(log)),
      event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

Maintenance::~Maintenance() { stop(); }

void Maintenance::start() {
  thread_ = std::jthread([this](std::stop_token stop) { run(stop); });
}

void Maintenance::stop() {
  if (!thread_.joinable()) return;
  thread_.request_stop();
  kick();
  thread_.join();
}

void Maintenance::Kicks::kick_slow(ArenaId arena, int event) {
  const std::uint64_t before =
      bits_[arena.value / 64].fetch_or(bit(arena), std::memory_order_relaxed);
  if ((before & bit(arena)) != 0) return;
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written =
      ::write(event, &one, sizeof one);  // cannot overflow: one for each bit
}

void Maintenance::set_arenas(const std::vector<std::shared_ptr<ArenaState>>& arenas) {
  const std::lock_guard lock(mutex_);
  arenas_.clear();
  for (const auto& state : arenas) arenas_.emplace(state->arena->id(), state);
}

void Maintenance::trim(const std::vector<std::shared_ptr<ArenaState>>& arenas,
                       std::function<void()> done) {
  const auto ahead =
      static_cast<std::uint32_t>(tunables_.commit_ahead_superslabs.load(std::memory_order_relaxed));
  // Called by whoever lets go of it last.
  const std::shared_ptr<void> all_done(nullptr, [done = std::move(done)](void*) { done(); });
  for (const auto& state : arenas) {
    commits_.run(state, [state, ahead, all_done] {
      // A look gives back what the look before has found free, too.
      for (int looks_in_vain = 0; looks_in_vain < 2;)
        looks_in_vain = state->arena->decommit_idle(ahead) == 0 ? looks_in_vain + 1 : 0;
    });
  }
}

void Maintenance::run(std::stop_token stop) {
  std::uint64_t give_back_at = now_ns() + kGiveBackNs, all_at = 0;
  while (!stop.stop_requested()) {
    pollfd ready{event_.get(), POLLIN, 0};
    ::poll(&ready, 1, kLookMs);
    std::uint64_t count;
    [[maybe_unused]] const auto got = ::read(event_.get(), &count, sizeof count);
    const std::uint64_t now = now_ns();
    const bool give_back = now >= give_back_at;
    if (give_back) give_back_at = now + kGiveBackNs;
    bool all = give_back || now >= all_at;
    const States states = take_kicked(all);
    for (const auto& state : states) look_at(state, give_back);
    if (all) {
      all_at = now + kLookMs * kNsPerMs;
      tell_shortage(states);
    }
    if (give_back) heap_trim_.look();
    if (!stop.stop_requested()) ::poll(nullptr, 0, kRestMs);
  }
}

Maintenance::States Maintenance::take_kicked(bool& all) {
  std::array<std::uint64_t, Kicks::kWords> kicked;
  for (std::size_t w = 0; w < kicked.size(); ++w) kicked[w] = kicked_.take(w);
  all = all || (kicked[0] & 1) != 0;
  States states;
  const std::lock_guard lock(mutex_);
  if (all) {
    for (const auto& [id, state] : arenas_) states.push_back(state);
    return states;
  }
  for (std::size_t w = 0; w < kicked.size(); ++w) {
    for (std::uint64_t bits = kicked[w]; bits != 0; bits &= bits - 1) {
      const auto id =
          static_cast<std::uint16_t>(w * 64 + static_cast<unsigned>(std::countr_zero(bits)));
      // The arena may be deleted by now, or another one may have its id, which is looked at too.
      if (const auto found = arenas_.find({id}); found != arenas_.end())
        states.push_back(found->second);
    }
  }
  return states;
}

void Maintenance::tell_shortage(const States& all) {
  bool short_now = false;
  for (const auto& state : all) {
    if (!state->short_of_memory.load(std::memory_order_relaxed)) continue;
    short_now = true;
    if (!short_of_memory_)
      log_(LogLevel::kWarning,
           fmt::format("arena '{}': no memory can be committed ahead, and allocations that need "
                       "more will fail with {}: {}",
                       state->arena->options().name, error_name(Error::kMachineFull),
                       state->arena->memory_refusal()));
    short_of_memory_ = true;
  }
  short_of_memory_ = short_now;
}

void Maintenance::look_at(const std::shared_ptr<ArenaState>& state, bool give_back) {
  Arena& arena = *state->arena;
  state->check_files();
  if (state->take_quarantine())
    log_(LogLevel::kError, fmt::format("arena '{}' is quarantined: {}", arena.options().name,
                                       arena.quarantine_reason()));
  if (state->tended.load(std::memory_order_relaxed)) return;  // not done yet
  const auto ahead =
      static_cast<std::uint32_t>(tunables_.commit_ahead_superslabs.load(std::memory_order_relaxed));
  // What is committed ahead is kept: else it would be committed again at once.
  const auto keep = std::max(
      ahead,
      static_cast<std::uint32_t>(tunables_.keep_empty_superslabs.load(std::memory_order_relaxed)));
  const std::uint32_t free = arena.units().wholly_free();
  const bool lacks = free < ahead && arena.committed_bytes() < arena.capacity_bytes();
  const bool idle = give_back && free > keep && !arena.options().pinned;
  const bool touched = give_back && arena.touched_bytes() >= kMostTouchedBytes;
  if (!lacks) state->short_of_memory.store(false, std::memory_order_relaxed);
  if (!lacks && !idle && !touched) return;
  state->tended.store(true, std::memory_order_relaxed);
  commits_.run(state, [state, ahead, keep, free, lacks, idle, touched, log = log_] {
    if (lacks)
      state->short_of_memory.store(!state->arena->commit_ahead(ahead).ok(),
                                   std::memory_order_relaxed);
    if (idle)
      state->arena->decommit_idle(
          std::max(keep, free > kGiveBackAtOnce ? free - kGiveBackAtOnce : 0));
    if (touched) drop_touched(*state->arena, log);
    state->tended.store(false, std::memory_order_relaxed);
  });
}

}  // namespace arenad::server
