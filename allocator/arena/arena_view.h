// ArenaView: what every view of an arena can do, whoever has it.
//
// Purpose: looks refs up; describes blocks; passes them on (acquire) and shares them; announces
// frees to the heaps that own the blocks. Heaps (heap.h) allocate and free through a view. The two
// views are Arena (arena.h), which owns the arena, and PeerArena (peer_arena.h), which does not.
// Invariants: control memory is shared with peers. Whatever is read from there is checked against
// bounds and never followed.
// Threads: any thread may call every function at any time, without locks.
// Crash: a process that is killed inside any call leaves legal block words.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "../base/error.h"
#include "../base/export.h"
#include "../format/block_word.h"
#include "../format/control_layout.h"
#include "../format/debug_flags.h"
#include "../format/geometry.h"
#include "../format/ids.h"
#include "../format/memory_file.h"
#include "../format/ref_layout.h"
#include "arena_config.h"
#include "footprint_marker.h"
#include "quarantine.h"
#include "sharers.h"

namespace arenad {

// What describe() knows about a ref.
struct BlockFacts {
  enum class State : std::uint8_t { kInvalid, kFree, kHeld, kReturning, kShared, kStale };
  State state = State::kInvalid;
  std::uint64_t offset_bytes = 0;  // payload, in the data file
  std::uint64_t usable_bytes = 0;
  std::uint64_t stride_bytes = 0;  // of a span: units * 64 KiB
  Holder holder;                   // of a held block; of a returning one, whoever freed it
  HeapId heap = kNoHeap;           // owner of the slab
  std::uint32_t generation = 0;    // frees of the block, modulo RefLayout::generations
  ClassId cls = kSpanClass;
  std::optional<BlockTrack> track;  // in arenas with debug flag U
};

class ARENAD_API ArenaView {
 public:
  ArenaView(const ArenaView&) = delete;
  ArenaView& operator=(const ArenaView&) = delete;
  virtual ~ArenaView() = default;

  const ArenaConfig& options() const { return config_; }
  ArenaId id() const { return config_.id; }
  const Geometry& geometry() const { return geometry_; }
  std::uint64_t capacity_bytes() const { return config_.capacity_bytes; }
  std::uint32_t unit_count() const {
    return static_cast<std::uint32_t>(config_.capacity_bytes / kSlabUnitBytes);
  }
  std::uint32_t superslab_count() const {
    return static_cast<std::uint32_t>(config_.capacity_bytes / kSuperslabBytes);
  }
  // Slots of the arena: those of its units, each with room for kMaxBlocksPerSlab.
  std::uint64_t slot_limit() const { return std::uint64_t{unit_count()} * kMaxBlocksPerSlab; }
  const RefLayout& refs() const { return refs_; }
  int data_fd() const { return data_.fd(); }
  int control_fd() const { return control_.fd(); }
  std::uint64_t control_bytes() const { return control_.bytes(); }
  std::byte* data() const { return data_.base(); }  // null when map_data is false

  // --- blocks by ref

  // Checks bounds only: the ref is of this arena, and its slab has carved that block. Errors:
  // kForeignRef; kStaleRef when the slab has been given back since.
  Result<Ref> validate(UntrustedRef ref) const;
  // What is known of a ref. Never fails.
  BlockFacts describe(UntrustedRef ref) const;
  // Why a free or a take-over of `ref` failed, by its word: kDoubleFree, kStaleRef, kNotHolder.
  Error refusal(Ref ref, SessionId required_holder) const;
  // Takes a block over from whoever holds it: HELD(any) -> HELD(to). Returns the holder before.
  // Errors: kForeignRef, kStaleRef, kDoubleFree.
  Result<Holder> acquire(UntrustedRef ref, Holder to);
  // Makes `session` a sharer: HELD(session) -> SHARED{session}, or SHARED{..} -> SHARED{..,
  // session}. Succeeds when `session` is a sharer already. Heap::release gives a share up, because
  // the last release frees. Errors: kForeignRef, kStaleRef, kDoubleFree; kNotHolder when another
  // session holds the block and has not shared it; kSharersFull.
  Error share(UntrustedRef ref, SessionId session);
  // The bits that stand for a session in SHARED words; 0 when it has none.
  std::uint64_t sharer_bits(SessionId session) const { return sharers_.bits_of(session); }
  // Whose the 40 bits are. Each bit that stands for a session counts; peers can forge them.
  const Sharers& sharers() const { return sharers_; }
  // The ref of the block that lies at this payload offset, with its present generation. For
  // embedders that free by address. Errors: kForeignRef when no carved block begins there.
  Result<Ref> ref_at(std::uint64_t payload_offset) const;

  // --- quarantine

  bool quarantined() const { return quarantine_.is_set(); }
  // From now on no magazine is refilled. So allocation fails with kQuarantined, at the latest when
  // the magazines are empty. Frees still succeed. The first reason is kept.
  void quarantine(const std::string& reason) { quarantine_.set(reason); }
  // `reason` makes the text, and is called only for the first reason.
  template <std::invocable Reason>
  void quarantine(const Reason& reason) {
    quarantine_.set(reason);
  }
  std::string quarantine_reason() const { return quarantine_.reason(); }

  // --- for heaps, recovery and verify

  AtomicWord& word(Slot slot) const { return control_view_.words()[slot.value]; }
  ControlView& control() { return control_view_; }
  const ControlView& control() const { return control_view_; }
  // Whether a superslab has memory.
  virtual bool committed(SuperslabIndex i) const = 0;
  // What the run is that begins at this unit; kind kNone when there is none. A peer's view reads it
  // from control memory, so its class may be one that does not exist.
  virtual SlabShape shape_of(SlabIndex first) const = 0;
  // The same with all that follows from it. Kind kNone also when there can be no such run.
  RunShape run_at(SlabIndex first) const;
  // Writes a heap's entry. The heap's constructor calls it.
  virtual Error enlist_heap(HeapId id, SessionId owner);
  // Begins the life of a run in `heap`: writes the header, and clears what late returned bits of
  // the life before have left. The owner of the units calls it before any block of the run is out.
  void prepare_run(SlabIndex first, HeapId heap, const RunShape& shape);
  // Marks what a peer may hold outside its own slabs; empty in an owner's view.
  const FootprintMarker& footprint_marker() const { return footprint_; }

  // Sets returned bits of another heap's blocks, then tells that heap: returned word, superslab's
  // pending bit, heap's pending bit. `key` is slot / 64. A level is skipped where the bit below it
  // was set already; with `force` no level is skipped. Returns the heap that the slab header names.
  HeapId publish_returned(std::uint64_t key, std::uint64_t bits, bool force);
  // Tells the owner heap of a run again, if any returned bit of the run is set or the run's bit in
  // its superslab is. Whoever set that bit may have died before it told the heap.
  void announce(SlabIndex first, std::uint32_t capacity);
  // Sets the summary bit of each pending word of a heap that is not 0.
  void raise_summary(HeapId id);

 protected:
  ArenaView(const ArenaConfig& config, MemoryFile data, MemoryFile control);

  const MemoryFile& data_file() const { return data_; }
  const MemoryFile& control_file() const { return control_; }
  Sharers& sharers() { return sharers_; }
  void set_footprint_marker(FootprintMarker marker) { footprint_ = marker; }

 private:
  const ArenaConfig config_;
  const Geometry geometry_;
  const RefLayout refs_;
  const MemoryFile data_;  // a memfd is sealed against a change of its size
  const MemoryFile control_;
  ControlView control_view_;
  Sharers sharers_;
  FootprintMarker footprint_;
  Quarantine quarantine_;
};

}  // namespace arenad
