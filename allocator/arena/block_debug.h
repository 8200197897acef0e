// BlockDebug: finds what users of blocks do wrong, in arenas with debug flags, and reports it.
//
// Purpose: redzones (Z), poison (P) and tracking (U) of blocks in the data file, and the one line
//   that each finding leaves in the log. SlabChecks (heap/slab_checks.h) has the checks of F.
// Invariants:
// * From its carving on a block has intact redzones, unless somebody wrote there. Who finds them
//   damaged reports it and mends them.
// * With poison, the payload of a block of a slab is full of kPoisonHome while the block is at
//   home. PayloadWipe fills it in. Here it is only compared.
// * A redzone's bytes depend on the block's place. So a neighbour's redzone does not pass.
// * Whoever writes to the data file can forge all of this. So a finding decides nothing: it is
//   counted and reported, and the block goes its way.
// Threads: whoever has the block just then: who hands it out, and who frees it. The counter and the
//   limit of the log are atomic.
// Crash: the redzones are written before a block is carved. A kill between a free and its record
//   leaves the record of the free before.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "../base/error.h"
#include "../base/export.h"
#include "../base/log.h"
#include "../format/block_word.h"
#include "../format/debug_flags.h"
#include "../format/ids.h"

namespace arenad {

class ArenaView;

// Where a block lies. By private memory, or by shared memory within the data file's bounds.
struct BlockPlace {
  Slot slot;
  std::uint64_t offset = 0;  // of the payload, in the data file
  std::uint64_t usable_bytes = 0;
};

class ARENAD_API BlockDebug {
 public:
  explicit BlockDebug(const ArenaView& arena);

  bool on() const { return flags_.any(); }
  DebugFlags flags() const { return flags_; }
  // A block whose slab is known by shared memory only. None when the slab's shape makes no sense.
  std::optional<BlockPlace> place_of(Slot slot) const;

  // --- the life of a block
  // It will be handed out for the first time in its slab's life. Nobody has it.
  void prepare(const BlockPlace& block) const;
  // The same for a span, which is never at home: only its redzones are written.
  void prepare_span(const BlockPlace& span) const;
  // It comes from home, and `ref` is its next one. `last` had it before, as far as the heap knows.
  // What is found is reported under the ref that `last` had.
  void check_home(const BlockPlace& block, Ref ref, Holder last) const;
  // It goes to `holder`.
  void handed_out(const BlockPlace& block, Holder holder) const;
  // `by` frees it, and its word is or was `replaced`. Nobody else can get the block's slab yet.
  void freed(const BlockPlace& block, BlockWord replaced, SessionId by) const;
  void freed(Slot slot, BlockWord replaced, SessionId by) const {
    if (const auto block = place_of(slot)) freed(*block, replaced, by);
  }

  // --- reports
  // `by` freed or released a block that was free already, or by a ref that is over. For F.
  void refused(Ref ref, Error why, SessionId by) const;
  // A finding of F. `what` is said about the block.
  void found(Ref ref, const std::string& what) const;

 private:
  // Counts a finding. Whether it may also be logged.
  bool counts() const;
  void log(char flag, Ref ref, const std::optional<BlockPlace>& block,
           const std::string& what) const;
  void write_redzones(const BlockPlace& block) const;
  // What is wrong with the redzones; empty when they are intact. `at` tells where.
  std::string redzone_damage(const BlockPlace& block) const;
  std::byte* payload(const BlockPlace& block) const;

  const ArenaView& arena_;
  const DebugFlags flags_;
  mutable RateLimit limit_{20};
};

// Who has a block, by its word: "held by session 3, tag 7".
std::string state_text(BlockWord word);

// What tracking knows of the block whose payload is at `offset`. Only for arenas with U.
BlockTrack track_of(const ArenaView& arena, std::uint64_t offset);

}  // namespace arenad
