#include "server/core/control/standstill.h"

#include <thread>

#include "server/core/api/clock.h"

namespace arenad::server {

Standstill::Standstill(std::uint32_t shards, std::vector<AuditedState> arenas,
                       std::uint64_t arrive_within_ms)
    : shards_(shards),
      arenas_(std::move(arenas)),
      arrive_within_ns_(arrive_within_ms * kNsPerMs),
      by_shard_(shards, std::vector<VerifyReport>(arenas_.size())),
      sums_(arenas_.size()) {}

bool Standstill::arrive() {
  const std::uint32_t before = arrived_.fetch_add(1, std::memory_order_acq_rel);
  if ((before & kAbandoned) != 0) return false;
  if (before + 1 == shards_) {
    began_ns_.store(now_ns(), std::memory_order_relaxed);
    return true;
  }
  const std::uint64_t deadline = now_ns() + arrive_within_ns_;
  std::uint32_t seen;
  while ((seen = arrived_.load(std::memory_order_acquire)) != shards_) {
    if ((seen & kAbandoned) != 0) return false;
    // A shard gives up only while another is missing. After the last arrival this exchange fails,
    // and no shard leaves.
    if (now_ns() >= deadline &&
        arrived_.compare_exchange_strong(seen, seen | kAbandoned, std::memory_order_acq_rel)) {
      return false;
    }
    std::this_thread::yield();
  }
  return true;
}

void Standstill::take_part(ShardId shard, const VerifyHeap& verify_heap) {
  if (!arrive()) return;
  for (std::size_t i = 0; i < arenas_.size(); ++i)
    verify_heap(arenas_[i].state->arena->id(), by_shard_[shard.value][i]);
  if (verified_.fetch_add(1, std::memory_order_acq_rel) + 1 == shards_) {
    for (std::size_t i = 0; i < arenas_.size(); ++i) {
      for (const auto& reports : by_shard_) sums_[i] += reports[i];
      const Arena& arena = *arenas_[i].state->arena;
      verify_leases(
          arena, [&](SessionId session) { return arenas_[i].attached.contains(session); },
          sums_[i]);
      verify_arena(arena, sums_[i]);
    }
    duration_ns_ = now_ns() - began_ns_.load(std::memory_order_relaxed);
    released_.store(true, std::memory_order_release);
    return;
  }
  while (!released_.load(std::memory_order_acquire)) std::this_thread::yield();
}

}  // namespace arenad::server
