// UnitMap: which 64 KiB units of an arena are free, and which superslabs are committed.
//
// Purpose: the one place where heaps compete. They claim and release runs of units and whole
// superslabs here. The map also commits memory ahead of need and returns it to the system.
// Invariants:
// * A superslab is FRESH or COMMITTED. A fresh one has no memory; its fresh bit is set and its free
//   mask is 0. In a committed one the free mask counts.
// * A unit belongs to whoever cleared its bit in the free mask.
// * The partial bit of a superslab with a free unit is set. It is a hint: it may be set without a
//   free unit. Whoever releases a unit sets it again.
// Threads: any, lock-free. Crash: private; recovery rebuilds it from the ledger (recovery.h).
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

#include "../base/error.h"
#include "../base/export.h"
#include "../format/ids.h"

namespace arenad {

class ARENAD_API UnitMap {
 public:
  // Backs a run of superslabs with memory (data and their control pages) / gives a superslab's data
  // back.
  using Commit = std::function<Error(SuperslabIndex first, std::uint32_t count)>;
  using GiveBack = std::function<void(SuperslabIndex)>;

  UnitMap() = default;
  void init(std::uint64_t capacity_bytes, Commit commit, GiveBack give_back);
  // Recovery, before anybody else comes: superslab i has memory, and these of its units are free.
  void restore(SuperslabIndex i, std::uint32_t free_units);

  std::uint32_t unit_count() const { return superslabs_ * kUnitsPerSuperslab; }
  std::uint32_t superslab_count() const { return superslabs_; }

  // Claims `units` consecutive units inside one superslab (1..32), near `hint` when possible.
  // Errors: kArenaFull, kMachineFull.
  Result<SlabIndex> take_run(std::uint32_t units, SuperslabIndex hint);
  void release_run(SlabIndex first, std::uint32_t units);

  // Claims `count` consecutive whole superslabs. Errors: kArenaFull, kMachineFull.
  Result<SlabIndex> take_superslabs(std::uint32_t count);
  void release_superslabs(SlabIndex first, std::uint32_t count);

  Result<std::uint32_t> commit_ahead(std::uint32_t spare);
  std::uint32_t decommit_idle(std::uint32_t keep);

  bool committed(SuperslabIndex i) const {
    return state_[i.value].committed.load(std::memory_order_acquire);
  }
  std::uint64_t committed_bytes() const {
    return committed_count_.load(std::memory_order_relaxed) * kSuperslabBytes;
  }
  // Units that heaps have claimed; exact when they are quiet, whatever commit_ahead and
  // decommit_idle do meanwhile.
  std::uint64_t taken_units() const { return taken_.load(std::memory_order_relaxed); }
  std::uint32_t wholly_free() const;  // committed superslabs with no unit taken

 private:
  struct State {
    std::atomic<std::uint32_t> free{0};  // bit u: unit u is free
    std::atomic<bool> committed{false};
    std::atomic<std::uint8_t> idle_age{0};  // calls of decommit_idle that found it wholly free
  };
  static constexpr std::uint32_t kAllUnits = 0xffffffff;

  bool claim_fresh(std::uint32_t i);
  Error commit(std::uint32_t first, std::uint32_t count);
  bool try_take(std::uint32_t i, std::uint32_t units, SlabIndex* out);
  Result<SlabIndex> take_fresh(std::uint32_t units, std::uint32_t hint);
  void set_partial(std::uint32_t i) {
    partial_[i / 64].fetch_or(std::uint64_t{1} << (i % 64), std::memory_order_release);
  }
  bool looks_whole(std::uint32_t i, std::uint32_t count) const;
  bool take_whole(std::uint32_t i, bool* was_fresh);
  void put_back(std::uint32_t i, bool fresh);

  std::uint32_t superslabs_ = 0;
  Commit commit_;
  GiveBack give_back_;
  std::unique_ptr<State[]> state_;
  std::unique_ptr<std::atomic<std::uint64_t>[]> partial_;
  std::unique_ptr<std::atomic<std::uint64_t>[]> fresh_;
  std::atomic<std::uint64_t> committed_count_{0};
  std::atomic<std::uint64_t> taken_{0};
};

}  // namespace arenad
