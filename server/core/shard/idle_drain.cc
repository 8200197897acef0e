#include "server/core/shard/idle_drain.h"

#include "server/core/api/clock.h"

namespace arenad::server {
namespace {

// Without arenas there is nothing to drain.
constexpr std::uint64_t kNothingToDoNs = 1000 * kNsPerMs;

}  // namespace

std::uint64_t IdleDrain::tick(std::uint64_t now) {
  if (now < next_ns_) return next_ns_;
  if (tables_.arenas().empty()) return next_ns_ = now + kNothingToDoNs;
  tables_.for_arenas_in_use([this](ArenaSlot& slot) {
    slot.heap.idle_tick();
    account_.settle(slot);
  });
  ++count_;
  return next_ns_ = now + tunables_.idle_drain_ms.load(std::memory_order_relaxed) * kNsPerMs;
}

}  // namespace arenad::server
