// PrivateGuards: checks of a heap's private state, for triage (ARENAD_GUARDS_PRIVATE).
//
// Purpose: check each carve and each splice with the pure functions of guards.h. A violation ends
// the process with the predecessor's lines, because going on would spread the damage.
// Threads: the heap's owner. Crash: reads only.
#pragma once

#include <cstdint>
#include <span>

#include "../base/export.h"
#include "../format/block_word.h"
#include "guards.h"
#include "row_tables.h"
#include "slab.h"

namespace arenad {

class ARENAD_API PrivateGuards {
 public:
  // `words` are the arena's block words, by slot.
  PrivateGuards(const RowTables& rows, const AtomicWord* words, std::uint32_t header_bytes)
      : rows_(rows), words_(words), header_bytes_(header_bytes) {}

  // Whether the checks are asked for at all.
  static bool on();
  // Before `batch` blocks are carved.
  void check_carve(const SlabState& slab, std::uint32_t batch) const;
  // Entries that were just taken from `slab`, on their way into a magazine.
  void check_batch(const SlabState& slab, std::span<const std::uint64_t> entries,
                   bool carved) const;
  // Ends the process: the block of `entry` is free already.
  [[noreturn]] void freed_twice(const SlabState& slab, std::uint64_t entry) const;

 private:
  const RowTables& rows_;
  const AtomicWord* const words_;
  const std::uint32_t header_bytes_;
};

}  // namespace arenad
