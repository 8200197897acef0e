#include "allocator/arena/unit_map.h"

#include <algorithm>
#include <bit>
#include <optional>

namespace arenad {
namespace {

// The bits of units first .. first + units - 1 of a superslab.
constexpr std::uint32_t run_mask(std::uint32_t first, std::uint32_t units) {
  return (units == kUnitsPerSuperslab ? 0xffffffffU : (1U << units) - 1) << first;
}

// The lowest unit at which `units` free units in a row start; kUnitsPerSuperslab when there is
// none.
std::uint32_t find_run(std::uint32_t free, std::uint32_t units) {
  std::uint32_t starts = free;
  for (std::uint32_t have = 1; have < units && starts != 0;) {
    const std::uint32_t step = std::min(have, units - have);
    starts &= starts >> step;
    have += step;
  }
  return starts == 0 ? kUnitsPerSuperslab : static_cast<std::uint32_t>(std::countr_zero(starts));
}

}  // namespace

void UnitMap::init(std::uint64_t capacity_bytes, Commit commit, GiveBack give_back) {
  superslabs_ = static_cast<std::uint32_t>(capacity_bytes / kSuperslabBytes);
  commit_ = std::move(commit);
  give_back_ = std::move(give_back);
  state_ = std::make_unique<State[]>(superslabs_);
  partial_ = Bits(superslabs_);
  fresh_ = Bits(superslabs_);
  for (SuperslabIndex i{0}; i.value < superslabs_; ++i.value) fresh_.set(i);
}

void UnitMap::restore(SuperslabIndex i, std::uint32_t free_units) {
  fresh_.clear(i);
  state(i).committed.store(true, std::memory_order_relaxed);
  state(i).free.store(free_units, std::memory_order_release);
  if (free_units != 0) partial_.set(i);
  committed_count_.fetch_add(1, std::memory_order_relaxed);
  taken_.fetch_add(kUnitsPerSuperslab - static_cast<unsigned>(std::popcount(free_units)),
                   std::memory_order_relaxed);
}

// The caller that clears the bit owns the superslab. It owns the superslab until it puts the bit
// back or publishes a free mask.
bool UnitMap::claim_fresh(SuperslabIndex i) { return fresh_.test(i) && fresh_.clear(i); }

Error UnitMap::commit(SuperslabIndex first, std::uint32_t count) {
  const Error e = commit_(first, count);
  if (e != Error::kNone) return e;
  for (SuperslabIndex i = first; i.value < first.value + count; ++i.value)
    state(i).committed.store(true, std::memory_order_release);
  committed_count_.fetch_add(count, std::memory_order_relaxed);
  return Error::kNone;
}

bool UnitMap::try_take(SuperslabIndex i, std::uint32_t units, Order order, SlabIndex* out) {
  State& s = state(i);
  // relaxed: only a wish. Any free run will do.
  const std::uint32_t from =
      order == Order::kRotating ? s.rotated.load(std::memory_order_relaxed) : 0;
  std::uint32_t free = s.free.load(std::memory_order_acquire);
  bool taken = false;
  for (;;) {
    std::uint32_t at = from == 0 ? kUnitsPerSuperslab : find_run(free & kAllUnits << from, units);
    if (at == kUnitsPerSuperslab) at = find_run(free, units);
    if (at == kUnitsPerSuperslab) break;
    const std::uint32_t left = free & ~run_mask(at, units);
    if (!s.free.compare_exchange_weak(free, left, std::memory_order_acq_rel,
                                      std::memory_order_acquire))
      continue;
    s.idle_age.store(0, std::memory_order_relaxed);
    if (order == Order::kRotating)
      s.rotated.store(static_cast<std::uint8_t>((at + units) % kUnitsPerSuperslab),
                      std::memory_order_relaxed);
    free = left;
    *out = {first_unit_of(i).value + at};
    taken = true;
    break;
  }
  if (free == 0) {
    // No unit is left, so the partial bit goes. Another thread may release a unit at this moment.
    // It sets the unit's bit first and the partial bit second. So this thread clears the partial
    // bit first, looks at the units second, and sets the partial bit again when one is free.
    partial_.clear(i);
    if (s.free.load(std::memory_order_acquire) != 0) partial_.set(i);
  }
  return taken;
}

Result<SlabIndex> UnitMap::take_fresh(std::uint32_t units, SuperslabIndex hint) {
  const Move move(*this);
  const std::uint32_t words = fresh_.word_count();
  for (std::uint32_t k = 0; k < words; ++k) {
    const std::uint32_t w = (hint.value / 64 + k) % words;
    for (std::uint64_t bits = fresh_.word(w).load(std::memory_order_relaxed); bits != 0;
         bits &= bits - 1) {
      const SuperslabIndex i = Bits::lowest(w, bits);
      if (!claim_fresh(i)) continue;
      if (const Error e = commit(i, 1); e != Error::kNone) {
        put_back(i, true);
        return e;
      }
      state(i).idle_age.store(0, std::memory_order_relaxed);
      const std::uint32_t left = ~run_mask(0, units);
      state(i).free.store(left, std::memory_order_release);
      if (left != 0) partial_.set(i);
      return first_unit_of(i);
    }
  }
  return Error::kArenaFull;
}

// The answer to a caller who may have committed memory only, and found none. Memory may be fresh,
// or out of reach for a moment: another thread then sorts it out, and waits where it must.
Error UnitMap::none_left(std::uint64_t moves_ended_before) const {
  if (moves_begun_.load() != moves_ended_before) return Error::kCommitNeeded;
  for (std::uint32_t w = 0; w < fresh_.word_count(); ++w)
    if (fresh_.word(w).load(std::memory_order_relaxed) != 0) return Error::kCommitNeeded;
  return moves_begun_.load() != moves_ended_before ? Error::kCommitNeeded : Error::kArenaFull;
}

Result<SlabIndex> UnitMap::take_run(std::uint32_t units, SuperslabIndex hint, Order order,
                                    Memory memory) {
  const auto run = claim_run(units, hint, order, memory);
  if (run.ok()) take_claimed(units);
  return run;
}

Result<SlabIndex> UnitMap::claim_run(std::uint32_t units, SuperslabIndex hint, Order order,
                                     Memory memory) {
  const std::uint64_t moves_ended = moves_ended_.load();
  const std::uint32_t words = partial_.word_count();
  // The search goes round once. The hint's word comes twice: first its superslabs from the hint on,
  // at last those below the hint.
  const std::uint64_t from_hint = ~std::uint64_t{0} << (hint.value % 64);
  for (std::uint32_t k = 0; k <= words; ++k) {
    const std::uint32_t w = (hint.value / 64 + k) % words;
    std::uint64_t bits = partial_.word(w).load(std::memory_order_acquire);
    if (k == 0) bits &= from_hint;
    if (k == words) bits &= ~from_hint;
    for (; bits != 0; bits &= bits - 1) {
      SlabIndex run;
      if (try_take(Bits::lowest(w, bits), units, order, &run)) return run;
    }
  }
  if (memory == Memory::kCommitted) return none_left(moves_ended);
  return take_fresh(units, hint);
}

void UnitMap::release_run(SlabIndex first, std::uint32_t units) {
  taken_.fetch_sub(units, std::memory_order_relaxed);
  drop_run(first, units);
}

void UnitMap::drop_run(SlabIndex first, std::uint32_t units) {
  const SuperslabIndex i = superslab_of(first);
  state(i).free.fetch_or(run_mask(first.value % kUnitsPerSuperslab, units),
                         std::memory_order_acq_rel);
  partial_.set(i);
}

// Claims superslab i as a whole: a fresh one, or a committed one that is wholly free.
bool UnitMap::take_whole(SuperslabIndex i, Memory memory) {
  if (memory == Memory::kAny && claim_fresh(i)) return true;
  std::uint32_t all = kAllUnits;
  if (!state(i).free.compare_exchange_strong(all, 0, std::memory_order_acq_rel)) return false;
  state(i).idle_age.store(0, std::memory_order_relaxed);
  return true;
}

// Whether superslabs i .. i + count - 1 are all wholly free, or fresh where that will do, at this
// moment.
bool UnitMap::looks_whole(SuperslabIndex i, std::uint32_t count, Memory memory) const {
  if (count > superslabs_ - i.value) return false;
  for (SuperslabIndex j = i; j.value < i.value + count; ++j.value)
    if (state(j).free.load(std::memory_order_relaxed) != kAllUnits &&
        (memory == Memory::kCommitted || !fresh_.test(j)))
      return false;
  return true;
}

void UnitMap::put_back(SuperslabIndex i, bool fresh) {
  if (fresh) {
    fresh_.set(i);
  } else {
    state(i).free.store(kAllUnits, std::memory_order_release);
    partial_.set(i);
  }
}

// For superslabs that take_whole claimed. One that has no memory becomes fresh again.
void UnitMap::put_back_whole(SuperslabIndex first, std::uint32_t count) {
  for (SuperslabIndex i = first; i.value < first.value + count; ++i.value)
    put_back(i, !state(i).committed.load(std::memory_order_relaxed));
}

// Commits those of the superslabs that have no memory yet, each stretch of them in one call.
Error UnitMap::commit_missing(SuperslabIndex first, std::uint32_t count) {
  const std::uint32_t end = first.value + count;
  for (SuperslabIndex i = first; i.value < end;) {
    SuperslabIndex stretch_end = i;
    while (stretch_end.value < end && !state(stretch_end).committed.load(std::memory_order_relaxed))
      ++stretch_end.value;
    if (stretch_end != i)
      if (const Error e = commit(i, stretch_end.value - i.value); e != Error::kNone) return e;
    i = {stretch_end.value + 1};
  }
  return Error::kNone;
}

Result<SlabIndex> UnitMap::take_superslabs(std::uint32_t count, Memory memory) {
  const auto run = claim_superslabs(count, memory);
  if (run.ok()) take_claimed(count * kUnitsPerSuperslab);
  return run;
}

Result<SlabIndex> UnitMap::claim_superslabs(std::uint32_t count, Memory memory) {
  if (count == 0 || count > superslabs_) return Error::kArenaFull;
  const std::uint64_t moves_ended = moves_ended_.load();
  std::optional<Move> move;
  if (memory == Memory::kAny) move.emplace(*this);
  std::uint32_t have = 0;  // superslabs below i that this call has claimed, all neighbours
  for (SuperslabIndex i{0}; i.value < superslabs_; ++i.value) {
    // The map is looked at before anything is claimed. A claim that must be put back makes the
    // arena look full to another heap for a moment.
    if ((have == 0 && !looks_whole(i, count, memory)) || !take_whole(i, memory)) {
      put_back_whole({i.value - have}, have);
      have = 0;
      continue;
    }
    if (++have < count) continue;
    const SuperslabIndex first{i.value + 1 - count};
    if (const Error e = commit_missing(first, count); e != Error::kNone) {
      put_back_whole(first, count);
      return e;
    }
    return first_unit_of(first);
  }
  put_back_whole({superslabs_ - have}, have);
  return memory == Memory::kCommitted ? none_left(moves_ended) : Error::kArenaFull;
}

void UnitMap::release_superslabs(SlabIndex first, std::uint32_t count) {
  taken_.fetch_sub(std::uint64_t{count} * kUnitsPerSuperslab, std::memory_order_relaxed);
  drop_superslabs(first, count);
}

void UnitMap::drop_superslabs(SlabIndex first, std::uint32_t count) {
  const SuperslabIndex lowest = superslab_of(first);
  for (SuperslabIndex i = lowest; i.value < lowest.value + count; ++i.value) put_back(i, false);
}

Result<std::uint32_t> UnitMap::commit_ahead(std::uint32_t spare) {
  std::uint32_t done = 0;
  std::uint32_t have = wholly_free();
  const Move move(*this);
  for (SuperslabIndex i{0}; i.value < superslabs_ && have < spare; ++i.value) {
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
  const Move move(*this);
  for (SuperslabIndex i{superslabs_}; i.value-- > 0 && spare > keep;) {
    State& s = state(i);
    if (s.free.load(std::memory_order_relaxed) != kAllUnits) continue;
    if (s.idle_age.load(std::memory_order_relaxed) == 0) {  // a take sets the age back to 0
      s.idle_age.store(1, std::memory_order_relaxed);
      continue;
    }
    std::uint32_t all = kAllUnits;
    if (!s.free.compare_exchange_strong(all, 0, std::memory_order_acq_rel)) continue;
    s.committed.store(false, std::memory_order_release);
    partial_.clear(i);
    give_back_(i);
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
  for (SuperslabIndex i{0}; i.value < superslabs_; ++i.value)
    n += state(i).free.load(std::memory_order_relaxed) == kAllUnits;
  return n;
}

}  // namespace arenad
