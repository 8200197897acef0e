// Canaries: known bytes around each payload, written at allocation and compared at free.
//
// Purpose: find writes past a payload in arenas whose layout has canaries. The value depends on the
// block's place, so a neighbour's canary that was copied over does not pass.
// Invariants: a layout with canaries has 16 bytes in front of each payload and 8 behind it.
// Threads: whoever holds or frees the block. Crash: the bytes are written again at each allocation.
#pragma once

#include <cstdint>

#include "../base/export.h"
#include "../format/ids.h"

namespace arenad {

class ArenaView;

class ARENAD_API Canaries {
 public:
  explicit Canaries(const ArenaView& arena);

  // Whether the arena's layout has canaries. Nothing else may be called when it has none.
  bool on() const { return on_; }
  // `offset` is the payload's in the data file, `usable` its size in bytes.
  void write(std::uint64_t offset, std::uint64_t usable) const;
  bool intact(std::uint64_t offset, std::uint64_t usable) const;
  // The same for a block of another heap, whose slab is known by shared memory only. True when the
  // slab's shape makes no sense: then nothing is looked at.
  bool intact_at(Slot slot) const;

 private:
  const ArenaView& arena_;
  const bool on_;
};

}  // namespace arenad
