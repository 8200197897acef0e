// Standstill: a moment in which no shard works, for an exact audit.
//
// Purpose: every shard arrives, and then verifies its own heaps in parallel with the others. The
// last shard checks what peers have leased, and the arenas as a whole. Then all go on.
// Invariants: nobody in the daemon changes a run or a word between last arrival and release. The
// shards stand in take_part, and the reaper waits (standstill_gate.h). Commit threads go on: what
// they claim is no run yet. Peers go on; their slabs are checked as far as that is possible while
// they work (verify_leases). Shards that do not all arrive in time leave again without a report.
// After the last arrival no shard leaves early.
// Threads: take_part by each shard once. The results by the control thread, after all shards have
// answered.
// Crash: private memory; reads arenas only.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <vector>

#include "allocator/check/verify.h"
#include "server/core/shard/shared_state.h"

namespace arenad::server {

struct AuditedState {
  std::shared_ptr<ArenaState> state;
  // Sessions that may hold blocks of leased slabs; those that are being reaped, too.
  std::set<SessionId> attached;
};

class Standstill {
 public:
  using VerifyHeap = std::function<void(ArenaId arena_id, VerifyReport& report)>;

  Standstill(std::uint32_t shards, std::vector<AuditedState> arenas,
             std::uint64_t arrive_within_ms);

  void take_part(ShardId shard, const VerifyHeap& verify_heap);

  bool complete() const { return released_.load(std::memory_order_acquire); }
  const std::vector<AuditedState>& arenas() const { return arenas_; }
  VerifyReport& report(std::size_t arena) { return sums_[arena]; }  // by position in arenas()
  std::uint64_t duration_ns() const { return duration_ns_; }

 private:
  static constexpr std::uint32_t kAbandoned = std::uint32_t{1} << 31;
  bool arrive();

  const std::uint32_t shards_;
  const std::vector<AuditedState> arenas_;
  const std::uint64_t arrive_within_ns_;
  std::vector<std::vector<VerifyReport>> by_shard_;
  std::vector<VerifyReport> sums_;
  // How many arrived, and kAbandoned once a shard gave up. Partner: itself. Each arrival releases,
  // and each shard that waits for the last arrival acquires: all see what every shard did before.
  std::atomic<std::uint32_t> arrived_{0};
  std::atomic<std::uint32_t> verified_{0};  // partner: itself; the last shard sees all reports
  std::atomic<bool> released_{false};       // partner: itself; the last shard releases
  std::atomic<std::uint64_t> began_ns_{0};
  std::uint64_t duration_ns_ = 0;
};

}  // namespace arenad::server
