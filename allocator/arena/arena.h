// Arena: the owner's view of an arena: of the daemon, or of a program that embeds the allocator.
//
// Purpose: creates and opens arenas; grants runs of units and takes them back; ends sessions. Peers
// have a PeerArena.
// Invariants: who owns a unit is decided in private memory (UnitMap, Ledger) and never by what
// control memory says.
// Threads: any thread may call every function at any time, without locks, unless the function says
// otherwise.
// Crash: memfds vanish with their last holder, files stay. A process that is killed inside any call
// leaves legal block words, and a ledger that open() completes.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>

#include "../base/export.h"
#include "arena_view.h"
#include "committer.h"
#include "footprint.h"
#include "ledger.h"
#include "reap_result.h"
#include "run_claims.h"
#include "session_set.h"
#include "slab_source.h"
#include "unit_map.h"

namespace arenad {

class ARENAD_API Arena final : public ArenaView, private SlabSource {
 public:
  using Made = Result<std::unique_ptr<Arena>, Failure>;
  // Creates an arena on two new memfds, or in three new files. The ledger of an arena in files says
  // kCreating until the caller has filled in the access fields and calls finish_creation(). Errors:
  // kInvalidCapacity; kInvalidOption for id, max_heaps, or a file that cannot be made;
  // kInvalidName; kMachineFull.
  static Made create(const ArenaConfig& wanted, const ArenaFiles* files = nullptr);
  void finish_creation();
  // The step after create() for a pinned arena, before anybody else has the arena: commits all of
  // its data, and locks it where that is wanted. Waits for the kernel. Errors: kMachineFull with
  // the limit that was hit; the caller drops the arena then.
  Failure commit_whole();
  // Opens what a dead daemon has left. The caller has opened the ledger and believes its header.
  // Afterwards runs and heaps are as the ledger says. Nothing is adopted or reaped yet. An arena
  // that lacks data, and for which there is no memory, is quarantined. One that cannot be locked
  // again is served unlocked. Errors: kInvalidOption with what is damaged, kMachineFull.
  static Made open(const ArenaFiles& files, Ledger ledger, bool map_data,
                   MemoryBudget* budget = nullptr);

  // --- runs

  // Claims a run of units for `owner` and begins its life in `heap`. Errors: kArenaFull,
  // kMachineFull; kCommitNeeded after commit_elsewhere.
  Result<SlabIndex> grant(HeapId heap, RunOwner owner, const RunShape& shape, SuperslabIndex hint);
  // Takes a run back. No block of the run is out.
  void reclaim(SlabIndex first);
  // Overwrites all of a run, in an arena with `scrub`. For runs that come back from others, before
  // reclaim().
  void scrub_run(SlabIndex first);
  // Where a heap of this process gets its slabs: the arena grants them to that heap.
  SlabSource& source() { return *this; }
  // Calls f(first unit, record) for each run. Looks only at superslabs that have memory.
  void for_each_run(const std::function<void(SlabIndex, RunRecord)>& f) const;
  // The same for runs that begin in [first, end).
  void for_each_run_in(SlabIndex first, SlabIndex end,
                       const std::function<void(SlabIndex, RunRecord)>& f) const;
  // Whether all words of a run are FREE, so that the run may be reclaimed.
  bool run_is_free(SlabIndex first) const;
  Ledger& ledger() { return ledger_; }
  const Ledger& ledger() const { return ledger_; }
  UnitMap& units() { return units_; }
  const UnitMap& units() const { return units_; }
  // From private memory: a peer cannot change what the owner believes.
  bool committed(SuperslabIndex i) const override { return units_.committed(i); }
  SlabShape shape_of(SlabIndex first) const override;

  // --- sessions

  // Gives back what `dead` held outside the runs that are leased to it. (Those are adopted, see
  // Heap::adopt.) Looks only into slabs of the footprint, or into all slabs without one. The owner
  // heaps take the blocks back at their next drain. Idempotent. Nobody acts for `dead` any more.
  ReapResult reap(SessionId dead, const Footprint* footprint = nullptr);
  // The same for every session that is not in `living`, in one pass over all slabs: shared memory
  // may name as many holders as there are ids. By session; runs and announced blocks are counted at
  // kNoSession. Idempotent. No session begins meanwhile.
  std::map<SessionId, ReapResult> reap_all_but(const SessionSet& living);
  // What the peer `session` marked in control memory.
  Footprint footprint_of(SessionId session) const;
  // The last step of a session's end, or of its detach: its heap ids, sharer bits, footprint and
  // entry are free again. Then its attach mode in the ledger is 0.
  void forget_session(SessionId session);
  // Publishes a session's state in the control file's session table, for recovery, and commits
  // what a peer may touch there. Errors: kMachineFull; then nothing is published, and the session
  // must not become a peer.
  Error mark_session(SessionId session, SessionEntry::State state);
  // Commits a heap's control pages. Without them a heap dies at its first touch of them when the
  // machine is full. Errors: kMachineFull.
  Error commit_heap(HeapId id) { return committer_.commit_heap(id); }
  // commit_heap, and writes the heap's entry, also when kMachineFull is the answer.
  Error enlist_heap(HeapId id, SessionId owner) override;
  // Raises the summaries of all heaps (see raise_summary).
  void raise_summaries();

  // --- memory

  // From here on a grant commits no data, because its thread must not wait for the kernel. It
  // answers kCommitNeeded, and the owner has a claim made on another thread. Before heaps come.
  void commit_elsewhere() { memory_ = UnitMap::Memory::kCommitted; }
  // For a thread that may wait: claims runs and commits their data. The next grants of the same
  // sizes get them, until drop_claims.
  RunClaims::Outcome claim(std::span<const RunWish> wishes) { return claims_.claim(wishes); }
  void drop_claims(std::uint64_t ticket) { claims_.drop(ticket); }
  // Commits that are under way end soon, and later ones at once: the owner ends. Any thread.
  void stop_commits() { committer_.stop(); }
  std::uint64_t committed_bytes() const { return units_.committed_bytes(); }
  // Whether all data is locked into memory, by this process.
  bool locked() const { return locked_.load(std::memory_order_relaxed); }
  // Of the committed bytes, those in huge pages. 0 without the option huge_pages.
  std::uint64_t huge_bytes() const;
  // Why some of an arena with the option have none. Empty when all have, or nothing was refused.
  std::string huge_page_refusal() const;
  // Why the data does not lie as the option `numa` says. Empty when it does.
  const std::string& numa_refusal() const { return numa_refusal_; }
  // After kMachineFull, or without a lock that was wanted: which limit was hit, or what the kernel
  // said.
  std::string memory_refusal() const { return committer_.refusal(); }
  // Commits superslabs until `spare` committed ones are wholly free, or all are committed. Call it
  // off the heaps' threads. Returns how many it committed. Errors: kMachineFull.
  Result<std::uint32_t> commit_ahead(std::uint32_t spare) { return units_.commit_ahead(spare); }
  // Gives wholly free superslabs beyond `keep` back to the system, if they were free at the call
  // before too. One thread at a time. Returns how many; a pinned arena gives nothing back.
  std::uint32_t decommit_idle(std::uint32_t keep);
  // Memory that the arena's files have where nothing is committed. Clients make it by touching
  // their mappings, readers too. A commit that is under way counts.
  std::uint64_t touched_bytes() const;
  // Gives that memory back to the system. By the thread that commits.
  void drop_touched();

 private:
  Arena(const ArenaConfig& config, MemoryFile data, MemoryFile control, Ledger ledger);
  Result<SlabIndex> take(HeapId heap, const RunShape& shape, SuperslabIndex hint) override;
  void give_back(HeapId heap, SlabIndex first, std::uint32_t units) override;
  Result<SlabIndex> take_units(const RunShape& shape, SuperslabIndex hint);
  void release_units(SlabIndex first, const RunShape& shape);
  void retire_run(SlabIndex first);
  Failure lock_data();

  Ledger ledger_;
  Committer committer_;
  UnitMap units_;
  RunClaims claims_{units_};
  UnitMap::Memory memory_ = UnitMap::Memory::kAny;  // what a grant may have
  std::atomic<bool> locked_{false};                 // relaxed: set once, for those who ask
  std::string numa_refusal_;                        // set before anybody else has the arena
  // A bit for each heap that was enlisted in this process. Relaxed: only whether a look at the
  // heap's pages would give them memory hangs on it.
  std::unique_ptr<std::atomic<std::uint64_t>[]> enlisted_;
};

}  // namespace arenad
