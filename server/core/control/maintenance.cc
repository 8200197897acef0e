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
constexpr std::uint32_t kGiveBackAtOnce =
    256;  // superslabs: bounds how long a pause may have to wait
constexpr std::uint64_t kGiveBackNs = 500 * kNsPerMs;  // decommit_idle's hysteresis is two of these

}  // namespace

Maintenance::Maintenance(const ServerTunables& tunables, Log log)
    : tunables_(tunables), log_(std::move(log)), event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

Maintenance::~Maintenance() { stop(); }

void Maintenance::start() {
  thread_ = std::jthread([this](std::stop_token stop) { run(stop); });
}

void Maintenance::stop() {
  if (!thread_.joinable()) return;
  thread_.request_stop();
  kick_slow();
  changed_.notify_all();
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

void Maintenance::bury(std::shared_ptr<ArenaState> arena) {
  {
    const std::lock_guard lock(mutex_);
    graves_.push_back(std::move(arena));
  }
  kick();
}

void Maintenance::trim(std::vector<std::shared_ptr<ArenaState>> arenas,
                       std::function<void()> done) {
  {
    const std::lock_guard lock(mutex_);
    trims_.push_back({std::move(arenas), std::move(done)});
  }
  kick();
}

// A trim that a pause interrupts begins anew at the next look.
void Maintenance::work_on_trims() {
  std::vector<Trim> trims;
  {
    const std::lock_guard lock(mutex_);
    trims.swap(trims_);
  }
  for (Trim& asked : trims) {
    const bool done = std::ranges::all_of(
        asked.arenas, [this](const auto& state) { return trim(*state->arena); });
    if (done)
      asked.done();
    else
      trim(std::move(asked.arenas), std::move(asked.done));
  }
}

// False when somebody has paused.
bool Maintenance::trim(Arena& arena) {
  const auto ahead =
      static_cast<std::uint32_t>(tunables_.commit_ahead_superslabs.load(std::memory_order_relaxed));
  // A look gives back what the look before has found free, too.
  for (int looks_in_vain = 0; looks_in_vain < 2;) {
    std::uint32_t given_back = 0;
    const bool looked = step([&] {
      const std::uint32_t free = arena.units().wholly_free();
      given_back =
          arena.decommit_idle(std::max(ahead, free > kGiveBackAtOnce ? free - kGiveBackAtOnce : 0));
    });
    if (!looked) return false;
    looks_in_vain = given_back == 0 ? looks_in_vain + 1 : 0;
  }
  return true;
}

void Maintenance::pause() {
  std::unique_lock lock(mutex_);
  ++paused_;
  changed_.wait(lock, [this] { return !working_; });
}

void Maintenance::resume() {
  {
    const std::lock_guard lock(mutex_);
    --paused_;
  }
  changed_.notify_all();
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
  std::vector<std::shared_ptr<ArenaState>> arenas, graves;
  {
    const std::lock_guard lock(mutex_);
    arenas = arenas_;
    graves.swap(graves_);
  }
  graves.clear();  // the last owner unmaps, and this thread should be the last
  bool short_now = false;
  const auto ahead =
      static_cast<std::uint32_t>(tunables_.commit_ahead_superslabs.load(std::memory_order_relaxed));
  const auto keep =
      static_cast<std::uint32_t>(tunables_.keep_empty_superslabs.load(std::memory_order_relaxed));
  for (const auto& state : arenas) {
    Arena& arena = *state->arena;
    state->check_files();
    if (state->take_quarantine())
      log_(LogLevel::kError, fmt::format("arena '{}' is quarantined: {}", arena.options().name,
                                         arena.quarantine_reason()));
    for (std::uint32_t spare = 1; spare <= ahead; ++spare) {
      Result<std::uint32_t> committed{0};
      if (!step([&] { committed = arena.commit_ahead(spare); })) return;
      if (committed.ok()) continue;
      short_now = true;
      if (!short_of_memory_) {
        log_(LogLevel::kWarning,
             fmt::format("arena '{}': no memory can be committed ahead, and allocations that need "
                         "more will fail with {}: {}",
                         arena.options().name, error_name(committed.error()),
                         arena.memory_refusal()));
      }
      break;
    }
    if (!give_back) continue;
    const bool done = step([&] {
      const std::uint32_t free = arena.units().wholly_free();
      // What is committed ahead is kept: else it would be committed again at once.
      arena.decommit_idle(
          std::max({ahead, keep, free > kGiveBackAtOnce ? free - kGiveBackAtOnce : 0}));
    });
    if (!done) return;
  }
  short_of_memory_ = short_now;
  work_on_trims();
}

// Does one short piece of work, unless somebody has paused. pause() waits for the end of a piece.
bool Maintenance::step(const std::function<void()>& piece) {
  {
    const std::lock_guard lock(mutex_);
    if (paused_ != 0) return false;  // the next look comes soon
    working_ = true;
  }
  piece();
  {
    const std::lock_guard lock(mutex_);
    working_ = false;
  }
  changed_.notify_all();
  return true;
}

}  // namespace arenad::server
