// UnitMap: which 64 KiB units of an arena are free, and which superslabs are committed.
//
// Purpose: the one place where heaps compete. They claim and release runs of units and whole
// superslabs here. The map also commits memory ahead of need and returns it to the system.
// Invariants:
// * A superslab is FRESH or COMMITTED. A fresh one has no memory; its bit in `used_` is clear and
//   its free mask is 0. In a committed one the free mask counts.
// * A unit belongs to whoever cleared its bit in the free mask.
// * The partial bit of a superslab with a free unit is set. It is a hint: it may be set without a
//   free unit. Whoever releases a unit sets it again.
// Work and memory are in proportion to the superslabs that are or were used, and not to the arena's
// capacity: an arena of 4 TiB has two million superslabs. A search for a span of many superslabs
// may also look at so many fresh ones.
// Threads: any, lock-free. Crash: private; ArenaRecovery rebuilds it from the ledger.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

#include "../base/error.h"
#include "../base/export.h"
#include "../base/sparse_bits.h"
#include "../base/zeroed_array.h"
#include "../format/ids.h"

namespace arenad {

class ARENAD_API UnitMap {
 public:
  // Backs superslabs with memory: their data and their control pages.
  using Commit = std::function<Error(SuperslabIndex first, std::uint32_t count)>;
  // Gives the memory of a superslab's data back to the system.
  using GiveBack = std::function<void(SuperslabIndex)>;

  UnitMap(std::uint64_t capacity_bytes, Commit commit, GiveBack give_back);
  // Recovery, before anybody else comes: superslab i has memory, and these of its units are free.
  void restore(SuperslabIndex i, std::uint32_t free_units);

  std::uint32_t unit_count() const { return superslabs_ * kUnitsPerSuperslab; }
  std::uint32_t superslab_count() const { return superslabs_; }

  // Which of the free runs of a superslab is taken. kRotating: the one above the last run that was
  // taken so, or from the lowest on again. For spans, whose word's generation grows at every free:
  // the runs take turns, and a generation comes round so much later.
  enum class Order : std::uint8_t { kLowest, kRotating };

  // Which memory a caller may have. kCommitted: only what is committed, because the caller must not
  // wait for the kernel. Where other memory might do, the answer is kCommitNeeded.
  enum class Memory : std::uint8_t { kAny, kCommitted };

  // Claims `units` consecutive units inside one superslab (1..32), near `hint` when possible.
  // Errors: kArenaFull, kMachineFull, kCommitNeeded.
  Result<SlabIndex> take_run(std::uint32_t units, SuperslabIndex hint, Order order = Order::kLowest,
                             Memory memory = Memory::kAny);
  void release_run(SlabIndex first, std::uint32_t units);

  // Claims `count` consecutive whole superslabs. Errors: kArenaFull, kMachineFull, kCommitNeeded.
  Result<SlabIndex> take_superslabs(std::uint32_t count, Memory memory = Memory::kAny);
  void release_superslabs(SlabIndex first, std::uint32_t count);

  // The same for RunClaims: what is claimed does not count as taken until take_claimed.
  Result<SlabIndex> claim_run(std::uint32_t units, SuperslabIndex hint,
                              Order order = Order::kLowest, Memory memory = Memory::kAny);
  Result<SlabIndex> claim_superslabs(std::uint32_t count, Memory memory = Memory::kAny);
  void take_claimed(std::uint32_t units) { taken_.fetch_add(units, std::memory_order_relaxed); }
  void drop_run(SlabIndex first, std::uint32_t units);
  void drop_superslabs(SlabIndex first, std::uint32_t count);

  Result<std::uint32_t> commit_ahead(std::uint32_t spare);
  std::uint32_t decommit_idle(std::uint32_t keep);

  bool committed(SuperslabIndex i) const {
    return state(i).committed.load(std::memory_order_acquire);
  }
  std::uint64_t committed_bytes() const {
    return committed_count_.load(std::memory_order_relaxed) * kSuperslabBytes;
  }
  // Units that heaps have claimed; exact when they are quiet, whatever commit_ahead and
  // decommit_idle do meanwhile.
  std::uint64_t taken_units() const { return taken_.load(std::memory_order_relaxed); }
  std::uint32_t wholly_free() const;  // committed superslabs with no unit taken
  // The first superslab from `from` on that is not fresh; superslab_count() when there is none. It
  // may be just about to get its memory, or to lose it.
  SuperslabIndex next_used(SuperslabIndex from) const { return {used_.next(from.value)}; }

 private:
  struct State {
    std::atomic<std::uint32_t> free{0};  // bit u: unit u is free
    std::atomic<bool> committed{false};
    std::atomic<std::uint8_t> rotated{0};   // the unit behind the last run that kRotating took
    std::atomic<std::uint8_t> idle_age{0};  // calls of decommit_idle that found it wholly free
  };
  static constexpr std::uint32_t kAllUnits = 0xffffffff;

  // While a Move lives, superslabs are out of everybody's reach for a moment, and come back.
  class Move {
   public:
    // seq_cst, all: who looked for memory in vain asks whether a move ran or ended meanwhile. Pairs
    // with none_left().
    explicit Move(UnitMap& map) : map_(map) { map_.moves_begun_.fetch_add(1); }
    ~Move() { map_.moves_ended_.fetch_add(1); }
    Move(const Move&) = delete;
    Move& operator=(const Move&) = delete;

   private:
    UnitMap& map_;
  };

  State& state(SuperslabIndex i) { return state_[i.value]; }
  const State& state(SuperslabIndex i) const { return state_[i.value]; }
  Error none_left(std::uint64_t moves_ended_before) const;
  bool claim_fresh(SuperslabIndex i);
  Error commit(SuperslabIndex first, std::uint32_t count);
  Error commit_missing(SuperslabIndex first, std::uint32_t count);
  bool try_take(SuperslabIndex i, std::uint32_t units, Order order, SlabIndex* out);
  Result<SlabIndex> take_fresh(std::uint32_t units, SuperslabIndex hint);
  bool take_from_committed(SuperslabIndex from, std::uint32_t end, std::uint32_t units, Order order,
                           SlabIndex* out);
  bool is_wholly_free(SuperslabIndex i) const;
  SuperslabIndex find_whole(SuperslabIndex from, std::uint32_t count, Memory memory) const;
  bool take_whole(SuperslabIndex i, Memory memory);
  void put_back(SuperslabIndex i, bool fresh);
  void put_back_whole(SuperslabIndex first, std::uint32_t count);

  const std::uint32_t superslabs_;
  const Commit commit_;
  const GiveBack give_back_;
  ZeroedArray<State> state_;
  SparseBits partial_;
  // Whoever sets the bit of a fresh superslab owns the superslab, until the owner clears the bit
  // again or publishes a free mask.
  SparseBits used_;
  std::atomic<std::uint64_t> committed_count_{0};
  std::atomic<std::uint64_t> taken_{0};
  std::atomic<std::uint64_t> moves_begun_{0}, moves_ended_{0};  // see Move
};

}  // namespace arenad
