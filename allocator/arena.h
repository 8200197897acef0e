// Arena: one shared-memory region, its two memory files and what all heaps of it share.
//
// Purpose: creates, maps and seals the data and control files; hands 64 KiB units to heaps; looks refs up; takes over,
//   reaps and describes blocks. Heaps (heap.h) allocate and free.
// Invariants: unit ownership is decided in private memory (UnitMap), never by what control memory says; control memory
//   is what recovery, peers and readers see.
// Threads: everything here may be called by any thread at any time, without locks, unless it says otherwise.
// Crash: memfds vanish with their last holder. A process killed inside any call leaves legal block words.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "allocator/block_word.h"
#include "allocator/control_layout.h"
#include "allocator/error.h"
#include "allocator/geometry.h"
#include "allocator/ids.h"
#include "allocator/memory_file.h"
#include "allocator/unit_map.h"

namespace arenad {

struct ArenaOptions {
  ArenaId id{1};                        // 1..1023; part of every ref. Living arenas of one owner must differ
  std::string name = "arena";           // shown in logs and as the memfd's name
  std::uint64_t capacity_bytes = 0;     // rounded up to 2 MiB; at most kMaxArenaBytes
  Layout layout = Layout::plain();
  bool holder_only = false;             // a free must name the holder
  bool map_data = true;                 // map the data file here (needed by canaries and by embedders)
  std::uint32_t max_heaps = 256;        // heap ids 0..max_heaps-1, at most 4096
};

inline constexpr std::uint64_t kMaxArenaBytes = std::uint64_t{1} << 42;  // 4 TiB

// What Describe knows about a ref.
struct BlockInfo {
  enum class State : std::uint8_t { kInvalid, kFree, kHeld, kReturning, kShared, kStale };
  State state = State::kInvalid;
  std::uint64_t offset_bytes = 0;   // payload, in the data file
  std::uint64_t usable_bytes = 0;
  std::uint64_t stride_bytes = 0;   // for spans: units * 64 KiB
  Holder holder;                    // when held or returning (then: the freer)
  HeapId heap = kNoHeap;            // owner of the slab
  std::uint16_t generation = 0;
  std::uint8_t cls = kSpanClass;
};

struct ReapResult {
  std::uint64_t blocks = 0;       // HELD(dead) turned into RETURNING
  std::uint64_t bytes = 0;        // sum of their strides
  std::uint64_t announced = 0;    // returned bits set again
};

class Arena {
 public:
  // Creates a new arena on two fresh memfds. Errors: kInvalidCapacity, kInvalidOption (id, max_heaps), kMachineFull.
  static Result<std::unique_ptr<Arena>, Failure> create(const ArenaOptions& options);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  const ArenaOptions& options() const { return options_; }
  ArenaId id() const { return options_.id; }
  const Geometry& geometry() const { return geometry_; }
  std::uint64_t capacity_bytes() const { return options_.capacity_bytes; }
  std::uint32_t unit_count() const { return units_.unit_count(); }
  int data_fd() const { return data_.fd(); }        // sealed SHRINK|GROW|SEAL, O_RDWR
  int control_fd() const { return control_.fd(); }
  std::byte* data() const { return data_.base(); }  // null when map_data is false
  std::uint64_t committed_bytes() const { return units_.committed_bytes(); }

  // --- refs -----------------------------------------------------------------------------------------------------------
  // Bounds only: the ref's arena and slab exist and its slab has carved that block. Errors: kForeignRef, kStaleRef (the
  // slab has been given back since).
  Result<Ref> validate(UntrustedRef ref) const;
  // What is known of a ref, without failing.
  BlockInfo describe(UntrustedRef ref) const;
  // Why a free or take-over of `ref` failed, from its word: kDoubleFree, kStaleRef, kNotHolder.
  Error refusal(Ref ref, SessionId required_holder) const;
  // Take-over (pulled): HELD(any) -> HELD(to). Errors: kForeignRef, kStaleRef, kDoubleFree. On success the holder before.
  Result<Holder> acquire(UntrustedRef ref, Holder to);
  // The ref of the block that lies at this payload offset, with its current generation; for embedders that free by
  // address. Errors: kForeignRef when no carved block starts there.
  Result<Ref> ref_at(std::uint64_t payload_offset) const;

  // --- recovery -------------------------------------------------------------------------------------------------------
  // Gives back everything `dead` held: HELD(dead) -> RETURNING(reaper), bits set, RETURNING(dead) and all returned words
  // announced again. The owner heaps take the blocks back at their next drain. Idempotent; any thread. The caller has
  // made sure that nobody acts for `dead` any more.
  ReapResult reap(SessionId dead);

  // --- memory ---------------------------------------------------------------------------------------------------------
  // Commits superslabs until `spare` committed ones are wholly free (or all are committed). Call it off the heaps'
  // threads. Returns how many it committed. Errors: kMachineFull.
  Result<std::uint32_t> commit_ahead(std::uint32_t spare);
  // Gives wholly free superslabs beyond `keep` back to the system that were free at the call before too (hysteresis).
  // One thread at a time. Returns how many.
  std::uint32_t decommit_idle(std::uint32_t keep);

  // --- quarantine -----------------------------------------------------------------------------------------------------
  bool quarantined() const { return quarantined_.load(std::memory_order_relaxed); }
  // First reason wins. From then on a heap's magazines are not refilled: allocation fails with kQuarantined, at the latest when
  // what they hold is gone (who must stop at once asks quarantined() first); frees are still accepted.
  void quarantine(const std::string& reason);
  std::string quarantine_reason() const;

  // --- for heaps, recovery and verify ---------------------------------------------------------------------------------
  ControlView& control() { return view_; }
  const ControlView& control() const { return view_; }
  UnitMap& units() { return units_; }
  const UnitMap& units() const { return units_; }
  AtomicWord& word(Slot slot) const { return view_.words()[slot.value]; }
  // Commits a heap's control pages and writes its entry. Called by the heap's constructor.
  void enlist_heap(HeapId id, SessionId owner);
  // Publishes a session's state in the control file's session table, for recovery.
  void mark_session(SessionId session, SessionEntry::State state);
  // Sets returned bits of other heaps' blocks and announces them: returned word, superslab pending, heap pending. `key` is
  // slot / 64. With `force` it announces even where the word was not 0 before (reap, which trusts no earlier freer).
  // Returns the heap that was named in the slab header.
  HeapId publish_returned(std::uint64_t key, std::uint64_t bits, bool force);
  // Commits the control pages that a slab of `capacity` blocks at `slab` needs. Errors: kMachineFull.
  Error commit_control(SlabIndex slab, std::uint32_t capacity);

 private:
  explicit Arena(const ArenaOptions& options);

  ArenaOptions options_;
  Geometry geometry_;
  MemoryFile data_;
  MemoryFile control_;
  ControlView view_;
  UnitMap units_;
  std::unique_ptr<std::atomic<std::uint8_t>[]> word_pages_;  // committed word pages per group of eight units
  std::atomic<bool> quarantined_{false};
  std::atomic<const std::string*> reason_{nullptr};          // owned; set once by CAS
};

}  // namespace arenad
