// Arena: one shared-memory region, its two memory files and what all heaps of it share.
//
// Purpose: creates, maps and seals the data and control files; hands 64 KiB units to heaps; looks
// refs up; takes over,
//   shares, reaps and describes blocks. Heaps (heap.h) allocate and free.
// Three ways to have one: create (memfds, or files of a directory), open (files that a dead daemon
// left), attach (a peer, from
//   the descriptors that the daemon handed it). Only the first two own the arena: they have the
//   unit map and the ledger.
// Invariants: unit ownership is decided in private memory (UnitMap, Ledger), never by what control
// memory says; control
//   memory is what peers see and write.
// Threads: everything here may be called by any thread at any time, without locks, unless it says
// otherwise. Crash: memfds vanish with their last holder, files stay. A process killed inside any
// call leaves legal block words, and a
//   ledger that open() completes.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "allocator/arena/footprint.h"
#include "allocator/arena/ledger.h"
#include "allocator/arena/slab_source.h"
#include "allocator/arena/unit_map.h"
#include "allocator/base/crash_point.h"
#include "allocator/base/error.h"
#include "allocator/format/block_word.h"
#include "allocator/format/control_layout.h"
#include "allocator/format/geometry.h"
#include "allocator/format/ids.h"
#include "allocator/format/memory_file.h"

namespace arenad {

struct ArenaConfig {
  ArenaId id{1};               // 1..1023; part of every ref. Living arenas of one owner must differ
  std::string name = "arena";  // shown in logs and as the memfd's name
  std::uint64_t capacity_bytes = 0;  // rounded up to 2 MiB; at most kMaxArenaBytes
  Layout layout = Layout::plain();
  bool holder_only = false;       // a free must name the holder
  bool map_data = true;           // map the data file here (needed by canaries and by embedders)
  std::uint32_t max_heaps = 256;  // heap ids 0..max_heaps-1, at most 4096
};

// Where an arena's three files lie that is to outlive its daemon. Data may lie on hugetlbfs, the
// others on tmpfs.
struct ArenaFiles {
  std::string data_path;
  std::string control_path;
  std::string ledger_path;
};

inline constexpr std::uint64_t kMaxArenaBytes = std::uint64_t{1} << 42;  // 4 TiB

// What Describe knows about a ref.
struct BlockFacts {
  enum class State : std::uint8_t { kInvalid, kFree, kHeld, kReturning, kShared, kStale };
  State state = State::kInvalid;
  std::uint64_t offset_bytes = 0;  // payload, in the data file
  std::uint64_t usable_bytes = 0;
  std::uint64_t stride_bytes = 0;  // for spans: units * 64 KiB
  Holder holder;                   // when held or returning (then: the freer)
  HeapId heap = kNoHeap;           // owner of the slab
  std::uint16_t generation = 0;
  std::uint8_t cls = kSpanClass;
};

struct ReapResult {
  std::uint64_t blocks = 0;  // HELD(dead) turned into RETURNING or FREE; of shared ones those whose
                             // last sharer was dead
  std::uint64_t bytes = 0;   // sum of their strides
  std::uint64_t announced = 0;  // returned bits set again
  std::uint64_t adopted_slabs =
      0;  // runs taken over, those among them that were given back at once included
  ReapResult& operator+=(const ReapResult& o) {
    blocks += o.blocks;
    bytes += o.bytes;
    announced += o.announced;
    adopted_slabs += o.adopted_slabs;
    return *this;
  }
};

class Arena final : private SlabSource {
 public:
  using Made = Result<std::unique_ptr<Arena>, Failure>;
  // Creates a new arena on two fresh memfds, or in three new files. The ledger's header says
  // kCreating until the caller has filled in what is its own (access) and calls finish_creation().
  // Errors: kInvalidCapacity, kInvalidOption (id, max_heaps, or a file cannot be made),
  // kMachineFull.
  static Made create(const ArenaConfig& options, const ArenaFiles* files = nullptr);
  void finish_creation();
  // Opens what a daemon that died has left; `ledger` was opened and its header believed by the
  // caller. Runs and heaps are as the ledger says; nothing is adopted or reaped yet. Errors:
  // kInvalidOption with what is damaged, kMachineFull.
  static Made open(const ArenaFiles& files, Ledger ledger, bool map_data);
  // A peer's view, from the descriptors that the daemon sent; both are mapped read-write and closed
  // with the arena. `session` is whose touched bits it keeps. Errors: kInvalidOption (not arenad's
  // files, or another layout version), kMachineFull.
  static Made attach(int data_fd, int control_fd, SessionId session);
  ~Arena() override;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  const ArenaConfig& options() const { return options_; }
  ArenaId id() const { return options_.id; }
  const Geometry& geometry() const { return geometry_; }
  std::uint64_t capacity_bytes() const { return options_.capacity_bytes; }
  std::uint32_t unit_count() const {
    return static_cast<std::uint32_t>(options_.capacity_bytes / kSlabUnitBytes);
  }
  std::uint32_t superslab_count() const {
    return static_cast<std::uint32_t>(options_.capacity_bytes / kSuperslabBytes);
  }
  bool attached() const { return peer_.value != 0; }  // a peer's view: no unit map, no ledger
  int data_fd() const { return data_.fd(); }          // sealed SHRINK|GROW|SEAL, O_RDWR
  int control_fd() const { return control_.fd(); }
  std::uint64_t control_bytes() const { return control_.bytes(); }
  std::byte* data() const { return data_.base(); }  // null when map_data is false
  std::uint64_t committed_bytes() const { return units_.committed_bytes(); }

  // --- refs
  // -----------------------------------------------------------------------------------------------------------
  // Bounds only: the ref's arena and slab exist and its slab has carved that block. Errors:
  // kForeignRef, kStaleRef (the slab has been given back since).
  Result<Ref> validate(UntrustedRef ref) const;
  // What is known of a ref, without failing.
  BlockFacts describe(UntrustedRef ref) const;
  // Why a free or take-over of `ref` failed, from its word: kDoubleFree, kStaleRef, kNotHolder.
  Error refusal(Ref ref, SessionId required_holder) const;
  // Take-over (pulled): HELD(any) -> HELD(to). Errors: kForeignRef, kStaleRef, kDoubleFree. On
  // success the holder before.
  Result<Holder> acquire(UntrustedRef ref, Holder to);
  // Makes `session` a sharer: HELD(session) -> SHARED{session}, SHARED{..} -> SHARED{.., session};
  // being one already is fine. Errors: kForeignRef, kStaleRef, kDoubleFree, kNotHolder (held by
  // another session, who must share it first), kSharersFull. Giving up a share is Heap::release.
  Error share(UntrustedRef ref, SessionId session);
  // The ref of the block that lies at this payload offset, with its current generation; for
  // embedders that free by address. Errors: kForeignRef when no carved block starts there.
  Result<Ref> ref_at(std::uint64_t payload_offset) const;

  // --- recovery
  // -------------------------------------------------------------------------------------------------------
  // Gives back what `dead` held outside the runs that are leased to it (those are adopted,
  // Heap::adopt): HELD(dead) -> RETURNING(reaper), its sharer bits cleared, bits set,
  // RETURNING(dead) and all returned words announced again. Looks only where `touched` says,
  // everywhere without one. The owner heaps take the blocks back at their next drain. Idempotent;
  // any thread. The caller has made sure that nobody acts for `dead` any more.
  ReapResult reap(SessionId dead, const Footprint* touched = nullptr);
  // What the peer `session` touched, by its own account in control memory.
  Footprint footprint_of(SessionId session) const;
  // The last step of a session's end: its heap ids, sharer bit, touched bits and entry are free
  // again.
  void forget_session(SessionId session);
  // Calls f(first unit, record) for each run that there is; any thread, owners only.
  void for_each_run(const std::function<void(SlabIndex, RunRecord)>& f) const;
  // Whether all words of a run are FREE and no bit of it waits, so that it may be reclaimed. Owners
  // only.
  bool run_is_free(SlabIndex first) const;

  // --- runs: owners only
  // ------------------------------------------------------------------------------------------------
  // Claims a run of units for `owner` and readies it for `heap` (prepare_run). Errors: kArenaFull,
  // kMachineFull.
  Result<SlabIndex> grant(HeapId heap, RunOwner owner, const RunRequest& request,
                          SuperslabIndex hint);
  // Takes a run back of which nothing is out.
  void reclaim(SlabIndex first);
  Ledger& ledger() { return ledger_; }
  const Ledger& ledger() const { return ledger_; }

  // --- memory
  // ---------------------------------------------------------------------------------------------------------
  // Commits superslabs until `spare` committed ones are wholly free (or all are committed). Call it
  // off the heaps' threads. Returns how many it committed. Errors: kMachineFull.
  Result<std::uint32_t> commit_ahead(std::uint32_t spare);
  // Gives wholly free superslabs beyond `keep` back to the system that were free at the call before
  // too (hysteresis). One thread at a time. Returns how many.
  std::uint32_t decommit_idle(std::uint32_t keep);

  // --- quarantine
  // -----------------------------------------------------------------------------------------------------
  bool quarantined() const { return quarantined_.load(std::memory_order_relaxed); }
  // First reason wins. From then on a heap's magazines are not refilled: allocation fails with
  // kQuarantined, at the latest when what they hold is gone (who must stop at once asks
  // quarantined() first); frees are still accepted.
  void quarantine(const std::string& reason);
  std::string quarantine_reason() const;

  // --- for heaps, recovery and verify
  // ---------------------------------------------------------------------------------
  SlabSource& source() { return *this; }  // grants to the heap that asks
  bool committed(SuperslabIndex i) const {
    return attached() ? view_.superslab(i).committed.load(std::memory_order_acquire) != 0
                      : units_.committed(i);
  }
  // What a run is: by the ledger, or in a peer's view by its header (whose class may then be none
  // that there is).
  SlabShape shape_of(SlabIndex first) const;
  // Begins the life of a run in `heap`: header, and what late returned bits of the life before have
  // left is cleared. By the owner of the units before anything of them is out.
  void prepare_run(SlabIndex first, HeapId heap, const RunRequest& request);
  // Ends it: nothing of it is out.
  void retire_run(SlabIndex first);
  // A peer's touched bit of a slab, before it changes a word of it that is another's. Cheap when
  // set already.
  void touch(SlabIndex slab) {
    const std::uint32_t bit = slab.value >> footprint_shift_;
    std::atomic<std::uint64_t>& word = view_.touched(peer_)[bit / 64];
    const std::uint64_t mask = std::uint64_t{1} << (bit % 64);
    // The CAS that follows is a full barrier on x86 and acq_rel elsewhere: the bit is in memory
    // before the word changes.
    if ((word.load(std::memory_order_relaxed) & mask) != 0) return;
    CRASH_POINT("touch.bit");
    word.fetch_or(mask);
  }
  // Announces a run as if every shortcut of publish_returned were wrong: where a returned word is
  // not 0, or the superslab's bit of the run stands, whoever set it may have died before he told
  // the heap.
  void announce(SlabIndex first, std::uint32_t capacity);
  // The same one level up, for a heap or for all: sets the summary bit of each pending word that is
  // not 0.
  void raise_summary(HeapId id);
  void raise_summaries();
  // The bit that a session has in SHARED words (two, when two of its threads claimed at once); 0
  // when it has none.
  std::uint64_t sharer_bits(SessionId session) const;
  ControlView& control() { return view_; }
  const ControlView& control() const { return view_; }
  UnitMap& units() { return units_; }
  const UnitMap& units() const { return units_; }
  AtomicWord& word(Slot slot) const { return view_.words()[slot.value]; }
  // Commits a heap's control pages and writes its entry. Called by the heap's constructor.
  void enlist_heap(HeapId id, SessionId owner);
  // Publishes a session's state in the control file's session table, for recovery.
  void mark_session(SessionId session, SessionEntry::State state);
  // Sets returned bits of other heaps' blocks and announces them: returned word, superslab pending,
  // heap pending. `key` is slot / 64. With `force` it announces even where the word was not 0
  // before (reap, which trusts no earlier freer). Returns the heap that was named in the slab
  // header.
  HeapId publish_returned(std::uint64_t key, std::uint64_t bits, bool force);
  // Commits the control pages that a slab of `capacity` blocks at `slab` needs. Errors:
  // kMachineFull. Owners only.
  Error commit_control(SlabIndex slab, std::uint32_t capacity);

 private:
  explicit Arena(const ArenaConfig& options);
  Result<SlabIndex> take(HeapId heap, const RunRequest& request, SuperslabIndex hint) override;
  void give_back(HeapId heap, SlabIndex first, std::uint32_t units) override;
  void init_units();
  void announce_leases();
  Error commit_superslabs(SuperslabIndex first, std::uint32_t count);
  void decommit_superslab(SuperslabIndex i);
  std::uint64_t claim_sharer_bits(SessionId session);

  ArenaConfig options_;
  Geometry geometry_;
  MemoryFile data_;
  MemoryFile control_;
  ControlView view_;
  Ledger ledger_;
  SessionId peer_ = kNoSession;  // of a peer's view
  std::uint32_t footprint_shift_ = 0;
  UnitMap units_;
  std::unique_ptr<std::atomic<std::uint64_t>[]>
      enlisted_;  // bit per heap that was ever enlisted here
  std::unique_ptr<std::atomic<std::uint8_t>[]>
      word_pages_;  // committed word pages per group of eight units
  std::atomic<bool> quarantined_{false};
  std::atomic<const std::string*> reason_{nullptr};  // owned; set once by CAS
};

}  // namespace arenad
