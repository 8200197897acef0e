#include "allocator/arena/unit_map.h"

#include <algorithm>
#include <bit>
#include <optional>
#include <utility>
#include <vector>

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

UnitMap::UnitMap(std::uint64_t capacity_bytes, Commit commit, GiveBack give_back)
    : superslabs_(static_cast<std::uint32_t>(capacity_bytes / kSuperslabBytes)),
      commit_(std::move(commit)),
      give_back_(std::move(give_back)),
      state_(superslabs_),
      partial_(superslabs_),
      used_(superslabs_) {}

void UnitMap::restore(SuperslabIndex i, std::uint32_t free_units) {
  used_.set(i.value);
  state(i).committed.store(true, std::memory_order_relaxed);
  state(i).free.store(free_units, std::memory_order_release);
  if (free_units != 0) partial_.set(i.value);
  committed_count_.fetch_add(1, std::memory_order_relaxed);
  taken_.fetch_add(kUnitsPerSuperslab - static_cast<unsigned>(std::popcount(free_units)),
                   std::memory_order_relaxed);
}

bool UnitMap::claim_fresh(SuperslabIndex i) { return !used_.test(i.value) && used_.set(i.value); }

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
    partial_.clear(i.value);
    if (s.free.load(std::memory_order_acquire) != 0) partial_.set(i.value);
  }
  return taken;
}

Result<SlabIndex> UnitMap::take_fresh(std::uint32_t units, SuperslabIndex hint) {
  const Move move(*this);
  // From the hint's neighbours on, and then from the first superslab on.
  for (const std::uint32_t from : {hint.value / 64 * 64, 0U}) {
    for (SuperslabIndex i{used_.next_clear(from)}; i.value < superslabs_;
         i = {used_.next_clear(i.value + 1)}) {
      if (!claim_fresh(i)) continue;
      if (const Error e = commit(i, 1); e != Error::kNone) {
        put_back(i, true);
        return e;
      }
      state(i).idle_age.store(0, std::memory_order_relaxed);
      const std::uint32_t left = ~run_mask(0, units);
      state(i).free.store(left, std::memory_order_release);
      if (left != 0) partial_.set(i.value);
      return first_unit_of(i);
    }
  }
  return Error::kArenaFull;
}

// The answer to a caller who may have committed memory only, and found none. Memory may be fresh,
// or out of reach for a moment: another thread then sorts it out, and waits where it must.
Error UnitMap::none_left(std::uint64_t moves_ended_before) const {
  if (moves_begun_.load() != moves_ended_before) return Error::kCommitNeeded;
  if (used_.next_clear(0) != superslabs_) return Error::kCommitNeeded;
  return moves_begun_.load() != moves_ended_before ? Error::kCommitNeeded : Error::kArenaFull;
}

Result<SlabIndex> UnitMap::take_run(std::uint32_t units, SuperslabIndex hint, Order order,
                                    Memory memory) {
  const auto run = claim_run(units, hint, order, memory);
  if (run.ok()) take_claimed(units);
  return run;
}

bool UnitMap::take_from_committed(SuperslabIndex from, std::uint32_t end, std::uint32_t units,
                                  Order order, SlabIndex* out) {
  for (std::uint32_t i = partial_.next(from.value); i < end; i = partial_.next(i + 1))
    if (try_take({i}, units, order, out)) return true;
  return false;
}

Result<SlabIndex> UnitMap::claim_run(std::uint32_t units, SuperslabIndex hint, Order order,
                                     Memory memory) {
  const std::uint64_t moves_ended = moves_ended_.load();
  // The search goes round once.
  SlabIndex run;
  if (take_from_committed(hint, superslabs_, units, order, &run) ||
      take_from_committed({0}, std::min(hint.value, superslabs_), units, order, &run))
    return run;
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
  partial_.set(i.value);
}

// Claims superslab i as a whole: a fresh one, or a committed one that is wholly free.
bool UnitMap::take_whole(SuperslabIndex i, Memory memory) {
  if (memory == Memory::kAny && claim_fresh(i)) return true;
  std::uint32_t all = kAllUnits;
  if (!state(i).free.compare_exchange_strong(all, 0, std::memory_order_acq_rel)) return false;
  state(i).idle_age.store(0, std::memory_order_relaxed);
  return true;
}

bool UnitMap::is_wholly_free(SuperslabIndex i) const {
  return state(i).free.load(std::memory_order_relaxed) == kAllUnits;
}

// The first of `count` superslabs in a row, from `from` on, that are all wholly free at this
// moment, or fresh where that will do. superslab_count() when there are none.
SuperslabIndex UnitMap::find_whole(SuperslabIndex from, std::uint32_t count, Memory memory) const {
  std::uint32_t row = 0;
  for (SuperslabIndex i = from; i.value < superslabs_; ++i.value) {
    if (row == 0 && memory == Memory::kCommitted) {
      i = next_used(i);
      if (i.value == superslabs_) break;
    }
    const bool whole = is_wholly_free(i) || (memory == Memory::kAny && !used_.test(i.value));
    row = whole ? row + 1 : 0;
    if (row == count) return {i.value + 1 - count};
  }
  return {superslabs_};
}

void UnitMap::put_back(SuperslabIndex i, bool fresh) {
  if (fresh) {
    used_.clear(i.value);
  } else {
    state(i).free.store(kAllUnits, std::memory_order_release);
    partial_.set(i.value);
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
  // The map is looked at before anything is claimed. A claim that must be put back makes the arena
  // look full to another heap for a moment.
  for (SuperslabIndex i = find_whole({0}, count, memory); i.value < superslabs_;) {
    if (!take_whole(i, memory)) {
      put_back_whole({i.value - have}, have);
      have = 0;
      i = find_whole({i.value + 1}, count, memory);
      continue;
    }
    ++i.value;
    if (++have < count) continue;
    const SuperslabIndex first{i.value - count};
    if (const Error e = commit_missing(first, count); e != Error::kNone) {
      put_back_whole(first, count);
      return e;
    }
    return first_unit_of(first);
  }
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
  for (SuperslabIndex i{used_.next_clear(0)}; i.value < superslabs_ && have < spare;
       i = {used_.next_clear(i.value + 1)}) {
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
  std::vector<SuperslabIndex> free;
  for (SuperslabIndex i = next_used({0}); i.value < superslabs_; i = next_used({i.value + 1}))
    if (is_wholly_free(i)) free.push_back(i);
  auto spare = static_cast<std::uint32_t>(free.size());
  std::uint32_t done = 0;
  const Move move(*this);
  // The highest first.
  for (; !free.empty() && spare > keep; free.pop_back()) {
    const SuperslabIndex i = free.back();
    State& s = state(i);
    if (!is_wholly_free(i)) continue;
    if (s.idle_age.load(std::memory_order_relaxed) == 0) {  // a take sets the age back to 0
      s.idle_age.store(1, std::memory_order_relaxed);
      continue;
    }
    std::uint32_t all = kAllUnits;
    if (!s.free.compare_exchange_strong(all, 0, std::memory_order_acq_rel)) continue;
    s.committed.store(false, std::memory_order_release);
    partial_.clear(i.value);
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
  for (SuperslabIndex i = next_used({0}); i.value < superslabs_; i = next_used({i.value + 1}))
    n += is_wholly_free(i);
  return n;
}

}  // namespace arenad
