#include "server/core/control/maintenance.h"

#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <cstdint>

#include "allocator/base/format.h"
#include "server/core/api/clock.h"
#include "server/core/api/text.h"

namespace arenad::server {
namespace {

constexpr int kRestMs = 5;    // between two looks; kicks in the meantime are merged
constexpr int kLookMs = 200;  // without a kick
// Superslabs: bounds how long a commit waits behind it.
constexpr std::uint32_t kGiveBackAtOnce = 256;
constexpr std::uint64_t kGiveBackNs = 500 * kNsPerMs;  // decommit_idle's hysteresis is two of these

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
  kick_slow();
  thread_.join();
}

void Maintenance::kick_slow() {
  if (kicked_.exchange(true, std::memory_order_relaxed)) return;
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written =
      ::write(event_.get(), &one, sizeof one);  // cannot overflow: one per clear
}

void Maintenance::set_arenas(std::vector<std::shared_ptr<ArenaState>> arenas) {
  const std::lock_guard lock(mutex_);
  arenas_ = std::move(arenas);
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
  std::uint64_t give_back_at = now_ns() + kGiveBackNs;
  while (!stop.stop_requested()) {
    pollfd ready{event_.get(), POLLIN, 0};
    ::poll(&ready, 1, kLookMs);
    std::uint64_t count;
    [[maybe_unused]] const auto got = ::read(event_.get(), &count, sizeof count);
    kicked_.store(false, std::memory_order_relaxed);
    const bool give_back = now_ns() >= give_back_at;
    if (give_back) give_back_at = now_ns() + kGiveBackNs;
    work(give_back);
    if (give_back) heap_trim_.look();
    if (!stop.stop_requested()) ::poll(nullptr, 0, kRestMs);
  }
}

void Maintenance::work(bool give_back) {
  std::vector<std::shared_ptr<ArenaState>> arenas;
  {
    const std::lock_guard lock(mutex_);
    arenas = arenas_;
  }
  bool short_now = false;
  for (const auto& state : arenas) {
    look_at(state, give_back);
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
  if (!lacks) state->short_of_memory.store(false, std::memory_order_relaxed);
  if (!lacks && !idle) return;
  state->tended.store(true, std::memory_order_relaxed);
  commits_.run(state, [state, ahead, keep, free, lacks, idle] {
    if (lacks)
      state->short_of_memory.store(!state->arena->commit_ahead(ahead).ok(),
                                   std::memory_order_relaxed);
    if (idle)
      state->arena->decommit_idle(
          std::max(keep, free > kGiveBackAtOnce ? free - kGiveBackAtOnce : 0));
    state->tended.store(false, std::memory_order_relaxed);
  });
}

}  // namespace arenad::server
