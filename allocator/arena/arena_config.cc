#include "allocator/arena/arena_config.h"

#include "allocator/arena/ledger.h"
#include "allocator/base/format.h"
#include "allocator/format/control_layout.h"
#include "allocator/format/ref_layout.h"

namespace arenad {
namespace {

// How many generations blocks of the arena have.
std::uint32_t generations_of(const ArenaConfig& c) {
  return RefLayout(c.id, rounded_capacity(c.capacity_bytes) / kSlabUnitBytes * kMaxBlocksPerSlab)
      .generations();
}

}  // namespace

std::uint64_t rounded_capacity(std::uint64_t capacity_bytes) {
  return (capacity_bytes + kSuperslabBytes - 1) / kSuperslabBytes * kSuperslabBytes;
}

Failure check_config(const ArenaConfig& c) {
  if (c.capacity_bytes == 0 || c.capacity_bytes > kMaxArenaBytes)
    return {Error::kInvalidCapacity,
            fmt::format("capacity of {} bytes; {} and {} bytes in any case", c.capacity_bytes,
                        error_advice(Error::kInvalidCapacity), kMaxArenaBytes)};
  if (c.id.value == 0 || c.id.value > kMaxArenaId)
    return {Error::kInvalidOption,
            fmt::format("arena id {}; use 1 to {}", c.id.value, kMaxArenaId)};
  if (const std::uint32_t last = generations_of(c) - 1; c.first_generation > last)
    return {Error::kInvalidOption,
            fmt::format("first generation {}; use 1 to {}, or 0 for a random one",
                        c.first_generation, last)};
  if (c.max_heaps == 0 || c.max_heaps > kMaxHeaps)
    return {Error::kInvalidOption,
            fmt::format("max_heaps {}; use 1 to {}", c.max_heaps, kMaxHeaps)};
  if (!c.layout.fits(c.debug) && c.layout != Layout::plain())
    return {Error::kInvalidOption, "debug flags Z and U need the plain layout"};
  if (fills_twice(option_bits(c)))
    return {Error::kInvalidOption,
            "debug flag P fills blocks with bytes of its own: leave out P, or zero and scrub"};
  if (!possible_options(option_bits(c)))
    return {Error::kInvalidOption, "an arena that is locked must be pinned, too"};
  if (c.name.size() > kMaxNameBytes)
    return {Error::kInvalidName, fmt::format("a name of {} bytes; {}", c.name.size(),
                                             error_advice(Error::kInvalidName))};
  return {};
}

}  // namespace arenad
