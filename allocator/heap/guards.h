// Guards: whether an address is a block of a slab. Carve and splice ask.
//
// Purpose: the fail-fast checks and their lines, under the predecessor's tags: [TRC_GUARD],
// [BATCH_CARVE], [LINEAR_CARVE], [SPLICE_TO_SLL], [SPLICE_CORRUPT].
// Invariants: (address - base) % stride == 0, and
// (address - base) / stride < carved <= capacity == floor(slab_bytes / stride).
// An absolute address is never tested against the stride: a slab's base need not be a multiple of
// the stride, so a good block may fail such a test. The predecessor's guard did.
// Threads: pure functions. Crash: nothing is shared.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "../base/export.h"
#include "../format/geometry.h"

namespace arenad {

// A slab as the guards see it. Addresses and base are both absolute, or both offsets in the data
// file.
struct SlabView {
  ClassId cls;
  SlabIndex slab;
  std::uint64_t base = 0;
  std::uint64_t slab_bytes = kSlabUnitBytes;
  std::uint32_t stride = 0;
  std::uint32_t capacity = 0;
  std::uint32_t carved = 0;
  std::uint32_t used = 0;
};

enum class GuardVerdict : std::uint8_t {
  kOk,
  kMisaligned,    // offset % stride != 0
  kBeyondCarved,  // offset / stride >= carved
  kOtherSlab,     // below the base, or past the slab's end
  kTwiceInBatch,
  kBadCapacity,     // not floor(slab_bytes / stride)
  kBeyondCapacity,  // a carve that would pass the capacity
  kWordNotFree,     // the block's word says that somebody has it
};

ARENAD_API const char* verdict_name(GuardVerdict v);

ARENAD_API GuardVerdict check_slab(const SlabView& slab);
ARENAD_API GuardVerdict check_block(const SlabView& slab, std::uint64_t address);
// Carving blocks carved .. carved + batch - 1.
ARENAD_API GuardVerdict check_carve(const SlabView& slab, std::uint32_t batch);
// A batch on its way into a magazine. `offender` gets the address that was refused.
ARENAD_API GuardVerdict check_splice(const SlabView& slab, std::span<const std::uint64_t> addresses,
                                     std::uint64_t* offender);

ARENAD_API std::string batch_carve_line(const SlabView& slab, std::uint32_t batch);
ARENAD_API std::string linear_carve_line(const SlabView& slab, std::uint32_t batch);
ARENAD_API std::string splice_line(const SlabView& slab, std::uint64_t head, std::uint64_t tail,
                                   std::uint32_t count);
ARENAD_API std::string splice_corrupt_line(const SlabView& slab, std::uint64_t address,
                                           GuardVerdict v);
ARENAD_API std::string guard_mode_line();

// Prints the guard's lines and aborts. For private state, where going on would spread the damage.
ARENAD_API [[noreturn]] void guard_abort(const SlabView& slab, const std::string& what,
                                         std::uint64_t address, GuardVerdict v);

}  // namespace arenad
