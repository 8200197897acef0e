#include "allocator/arena/unit_map.h"

#include <algorithm>
#include <bit>

namespace arenad {
namespace {

constexpr std::uint32_t run_mask(std::uint32_t first, std::uint32_t units) {
  return (units == 32 ? 0xffffffffU : (1U << units) - 1) << first;
}

// Lowest bit at which `units` free bits in a row start; 32 when there is none.
std::uint32_t find_run(std::uint32_t free, std::uint32_t units) {
  std::uint32_t starts = free;
  for (std::uint32_t have = 1; have < units && starts != 0;) {
    const std::uint32_t step = std::min(have, units - have);
    starts &= starts >> step;
    have += step;
  }
  return starts == 0 ? 32 : static_cast<std::uint32_t>(std::countr_zero(starts));
}

}  // namespace

void UnitMap::init(std::uint64_t capacity_bytes, Commit commit, GiveBack give_back) {
  superslabs_ = static_cast<std::uint32_t>(capacity_bytes / kSuperslabBytes);
  commit_ = std::move(commit);
  give_back_ = std::move(give_back);
  const std::uint32_t words = (superslabs_ + 63) / 64;
  state_ = std::make_unique<State[]>(superslabs_);
  partial_ = std::make_unique<std::atomic<std::uint64_t>[]>(words);
  fresh_ = std::make_unique<std::atomic<std::uint64_t>[]>(words);
  for (std::uint32_t i = 0; i < superslabs_; ++i)
    fresh_[i / 64].fetch_or(std::uint64_t{1} << (i % 64), std::memory_order_relaxed);
}

void UnitMap::restore(SuperslabIndex i, std::uint32_t free_units) {
  fresh_[i.value / 64].fetch_and(~(std::uint64_t{1} << (i.value % 64)), std::memory_order_relaxed);
  state_[i.value].committed.store(true, std::memory_order_relaxed);
  state_[i.value].free.store(free_units, std::memory_order_release);
  if (free_units != 0) set_partial(i.value);
  committed_count_.fetch_add(1, std::memory_order_relaxed);
  taken_.fetch_add(kUnitsPerSuperslab - static_cast<unsigned>(std::popcount(free_units)),
                   std::memory_order_relaxed);
}

// Whoever clears the bit owns the superslab until it puts the bit back or publishes a free mask.
// acquire: pairs with the release of put_back, so that a hole punched before is finished.
bool UnitMap::claim_fresh(std::uint32_t i) {
  const std::uint64_t bit = std::uint64_t{1} << (i % 64);
  if ((fresh_[i / 64].load(std::memory_order_relaxed) & bit) == 0) return false;
  return (fresh_[i / 64].fetch_and(~bit, std::memory_order_acq_rel) & bit) != 0;
}

Error UnitMap::commit(std::uint32_t first, std::uint32_t count) {
  const Error e = commit_({first}, count);
  if (e != Error::kNone) return e;
  for (std::uint32_t i = first; i < first + count; ++i)
    state_[i].committed.store(true, std::memory_order_release);
  committed_count_.fetch_add(count, std::memory_order_relaxed);
  return Error::kNone;
}

bool UnitMap::try_take(std::uint32_t i, std::uint32_t units, SlabIndex* out) {
  State& s = state_[i];
  std::uint32_t free = s.free.load(std::memory_order_acquire);
  for (;;) {
    const std::uint32_t at = find_run(free, units);
    if (at == 32) break;
    const std::uint32_t left = free & ~run_mask(at, units);
    if (!s.free.compare_exchange_weak(free, left, std::memory_order_acq_rel,
                                      std::memory_order_acquire))
      continue;
    s.idle_age.store(0, std::memory_order_relaxed);
    free = left;
    *out = {i * kUnitsPerSuperslab + at};
    taken_.fetch_add(units, std::memory_order_relaxed);
    if (left != 0) return true;
    break;
  }
  if (free == 0) {
    // The hint goes; whoever releases a unit sets it after the unit's bit, and so do we when one
    // came in between.
    partial_[i / 64].fetch_and(~(std::uint64_t{1} << (i % 64)), std::memory_order_acq_rel);
    if (s.free.load(std::memory_order_acquire) != 0) set_partial(i);
  }
  return out->value != UINT32_MAX;
}

Result<SlabIndex> UnitMap::take_fresh(std::uint32_t units, std::uint32_t hint) {
  const std::uint32_t words = (superslabs_ + 63) / 64;
  for (std::uint32_t k = 0; k < words; ++k) {
    const std::uint32_t w = (hint / 64 + k) % words;
    for (std::uint64_t bits = fresh_[w].load(std::memory_order_relaxed); bits != 0;
         bits &= bits - 1) {
      const std::uint32_t i = w * 64 + static_cast<std::uint32_t>(std::countr_zero(bits));
      if (!claim_fresh(i)) continue;
      if (const Error e = commit(i, 1); e != Error::kNone) {
        put_back(i, true);
        return e;
      }
      state_[i].idle_age.store(0, std::memory_order_relaxed);
      const std::uint32_t left = ~run_mask(0, units);
      state_[i].free.store(left, std::memory_order_release);
      if (left != 0) set_partial(i);
      taken_.fetch_add(units, std::memory_order_relaxed);
      return SlabIndex{i * kUnitsPerSuperslab};
    }
  }
  return Error::kArenaFull;
}

Result<SlabIndex> UnitMap::take_run(std::uint32_t units, SuperslabIndex hint) {
  const std::uint32_t words = (superslabs_ + 63) / 64;
  for (std::uint32_t k = 0; k <= words; ++k) {
    const std::uint32_t w = (hint.value / 64 + k) % words;
    std::uint64_t bits = partial_[w].load(std::memory_order_acquire);
    if (k == 0) bits &= ~std::uint64_t{0} << (hint.value % 64);
    if (k == words) bits &= ~(~std::uint64_t{0} << (hint.value % 64));
    for (; bits != 0; bits &= bits - 1) {
      SlabIndex out{UINT32_MAX};
      if (try_take(w * 64 + static_cast<std::uint32_t>(std::countr_zero(bits)), units, &out))
        return out;
    }
  }
  return take_fresh(units, hint.value);
}

void UnitMap::release_run(SlabIndex first, std::uint32_t units) {
  const std::uint32_t i = first.value / kUnitsPerSuperslab;
  taken_.fetch_sub(units, std::memory_order_relaxed);
  state_[i].free.fetch_or(run_mask(first.value % kUnitsPerSuperslab, units),
                          std::memory_order_acq_rel);
  set_partial(i);
}

// Claims superslab i as a whole, fresh or committed and wholly free.
bool UnitMap::take_whole(std::uint32_t i, bool* was_fresh) {
  *was_fresh = claim_fresh(i);
  if (*was_fresh) return true;
  std::uint32_t all = kAllUnits;
  if (!state_[i].free.compare_exchange_strong(all, 0, std::memory_order_acq_rel)) return false;
  state_[i].idle_age.store(0, std::memory_order_relaxed);
  return true;
}

// Whether superslabs i .. i + count - 1 are all fresh or wholly free at this moment.
bool UnitMap::looks_whole(std::uint32_t i, std::uint32_t count) const {
  if (count > superslabs_ - i) return false;
  for (std::uint32_t j = i; j < i + count; ++j) {
    const bool fresh = (fresh_[j / 64].load(std::memory_order_relaxed) >> (j % 64) & 1) != 0;
    if (!fresh && state_[j].free.load(std::memory_order_relaxed) != kAllUnits) return false;
  }
  return true;
}

void UnitMap::put_back(std::uint32_t i, bool fresh) {
  if (fresh) {
    fresh_[i / 64].fetch_or(std::uint64_t{1} << (i % 64), std::memory_order_release);
  } else {
    state_[i].free.store(kAllUnits, std::memory_order_release);
    set_partial(i);
  }
}

Result<SlabIndex> UnitMap::take_superslabs(std::uint32_t count) {
  if (count == 0 || count > superslabs_) return Error::kArenaFull;
  std::uint32_t have = 0;
  for (std::uint32_t i = 0; i < superslabs_; ++i) {
    bool fresh = false;
    // Look before claiming: a claim that must be put back makes the arena look full to another heap
    // for a moment.
    if ((have == 0 && !looks_whole(i, count)) || !take_whole(i, &fresh)) {
      while (have > 0) {
        const std::uint32_t j = i - have--;
        put_back(j, !state_[j].committed.load(std::memory_order_relaxed));
      }
      continue;
    }
    if (++have < count) continue;
    const std::uint32_t first = i + 1 - count;
    for (std::uint32_t j = first;
         j <= i;) {  // commit each stretch that has no memory yet in one call
      std::uint32_t end = j;
      while (end <= i && !state_[end].committed.load(std::memory_order_relaxed)) ++end;
      if (end > j) {
        if (const Error e = commit(j, end - j); e != Error::kNone) {
          for (std::uint32_t b = first; b <= i; ++b)
            put_back(b, !state_[b].committed.load(std::memory_order_relaxed));
          return e;
        }
      }
      j = end + 1;
    }
    taken_.fetch_add(std::uint64_t{count} * kUnitsPerSuperslab, std::memory_order_relaxed);
    return SlabIndex{first * kUnitsPerSuperslab};
  }
  while (have > 0) {
    const std::uint32_t j = superslabs_ - have--;
    put_back(j, !state_[j].committed.load(std::memory_order_relaxed));
  }
  return Error::kArenaFull;
}

void UnitMap::release_superslabs(SlabIndex first, std::uint32_t count) {
  taken_.fetch_sub(std::uint64_t{count} * kUnitsPerSuperslab, std::memory_order_relaxed);
  for (std::uint32_t i = 0; i < count; ++i) put_back(first.value / kUnitsPerSuperslab + i, false);
}

Result<std::uint32_t> UnitMap::commit_ahead(std::uint32_t spare) {
  std::uint32_t done = 0;
  std::uint32_t have = wholly_free();
  for (std::uint32_t i = 0; i < superslabs_ && have < spare; ++i) {
    if (!claim_fresh(i)) continue;
    if (const Error e = commit(i, 1); e != Error::kNone) {
      put_back(i, true);
      return e;
    }
    put_back(i, false);
    ++have;
    ++done;
  }
  return done;
}

std::uint32_t UnitMap::decommit_idle(std::uint32_t keep) {
  std::uint32_t spare = wholly_free(), done = 0;
  for (std::uint32_t i = superslabs_; i-- > 0 && spare > keep;) {
    State& s = state_[i];
    if (s.free.load(std::memory_order_relaxed) != kAllUnits) continue;
    if (s.idle_age.load(std::memory_order_relaxed) == 0) {  // a take sets it back to 0
      s.idle_age.store(1, std::memory_order_relaxed);
      continue;
    }
    std::uint32_t all = kAllUnits;
    if (!s.free.compare_exchange_strong(all, 0, std::memory_order_acq_rel)) continue;
    s.committed.store(false, std::memory_order_release);
    partial_[i / 64].fetch_and(~(std::uint64_t{1} << (i % 64)), std::memory_order_acq_rel);
    give_back_({i});
    committed_count_.fetch_sub(1, std::memory_order_relaxed);
    s.idle_age.store(0, std::memory_order_relaxed);
    put_back(i, true);
    --spare;
    ++done;
  }
  return done;
}

std::uint32_t UnitMap::wholly_free() const {
  std::uint32_t n = 0;
  for (std::uint32_t i = 0; i < superslabs_; ++i)
    n += state_[i].free.load(std::memory_order_relaxed) == kAllUnits;
  return n;
}

}  // namespace arenad
