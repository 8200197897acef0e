// Shard: one thread's data plane. Its heaps in every arena, its inbox, its private tables.
//
// Purpose: serves the data plane on the shard's own thread, and what the control thread asks of all
// shards. Where: shard.cc
//   (allocate, free, describe), shard_holding.cc (take over, share, release), shard_leases.cc
//   (peers: heaps, leases, adoption), shard_waits.cc (full arenas: park, trim, retry, wait),
//   shard_visits.cc (control).
// Invariants: the data path takes no lock and blocks on nothing. The heap of shard i has HeapId i
// in every arena. Threads: everything on the shard's own thread (before that runs: on the one that
// starts the engine), but post and set_waker (any). Who drives that thread is not its business:
//   run_inbox, end_turn and tick are called by the gRPC loop, or by a test's.
// Crash: the daemon's death is the arenas'; a client's death is handled by the control thread
// (control.h).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "server/core/api/api.h"
#include "server/core/shard/inbox.h"
#include "server/core/shard/shard_tables.h"

namespace arenad::server {

class Standstill;

class Shard final : public ShardApi {
 public:
  Shard(ShardId index, std::uint32_t shard_count, SharedState& shared);

  // --- ShardApi
  // -----------------------------------------------------------------------------------------------------------
  ShardId index() const override { return index_; }
  void allocate(const AllocateArgs& args, Done<AllocatedBlocks> done) override;
  Answer<PerRefAnswer> free(SessionKey session, ArenaId arena_id, UntrustedRefs refs) override;
  Answer<PerRefAnswer> acquire(SessionKey session, ArenaId arena_id, UntrustedRefs refs,
                               std::uint32_t tag) override;
  Answer<PerRefAnswer> share(SessionKey session, ArenaId arena_id, UntrustedRefs refs) override;
  Answer<PerRefAnswer> release(SessionKey session, ArenaId arena_id, UntrustedRefs refs) override;
  Answer<std::vector<BlockFacts>> describe(SessionKey session, ArenaId arena_id,
                                           UntrustedRefs refs) override;
  Answer<HeapId> open_heap(SessionKey session, ArenaId arena_id) override;
  void lease_slabs(const LeaseArgs& args, Done<LeasedSlabs> done) override;
  Answer<ReturnedSlabs> return_slabs(SessionKey session, ArenaId arena_id,
                                     std::span<const SlabIndex> slabs) override;
  Answer<ResumedLeases> resume(SessionKey session, ArenaId arena_id,
                               std::span<const SlabIndex> slabs,
                               std::span<const HeapId> heaps) override;
  void post(std::function<void()> f) override { inbox_.push(std::move(f)); }
  void run_inbox() override { inbox_messages_ += inbox_.run(); }
  void end_turn() override;
  std::uint64_t tick(std::uint64_t now) override;
  void count_call() override { ++calls_; }
  void count_turn() override { ++turns_; }

  // The waker must stay valid until it is replaced by nullptr after Engine::stop.
  void set_waker(Waker* waker) { inbox_.set_waker(waker); }

  // --- what the control thread asks for; each on this thread, by a posted message
  // -------------------------------------------
  void add_arena(std::shared_ptr<ArenaState> state);
  void remove_arena(ArenaId arena_id);
  void add_session(SessionId id, std::uint64_t secret);
  // From here on nothing acts for the session on this shard; its frees so far are published.
  // Answers where this shard gave it blocks, by arena.
  std::vector<std::pair<ArenaId, Footprint>> remove_session(SessionId id);
  void attach(SessionId session, ArenaId arena_id, AttachMode mode);
  // As attach, of a session that a daemon before served, nobody knows where.
  void attach_again(SessionId session, ArenaId arena_id, AttachMode mode);

  void publish();                // gathered remote frees of all arenas
  void drain(ArenaId arena_id);  // takes back what others freed
  void trim(ArenaId arena_id);   // gives back all that can be
  // Retries what is parked.
  void retry_parked(ArenaId arena_id);
  // A trim round is over: retries what is parked; what was parked up to `ticket` and does not wait
  // fails now.
  void trim_round(ArenaId arena_id, std::uint64_t ticket, const UsageSummary& usage);
  // The session of what is parked under `ticket` was counted anew.
  void recounted(ArenaId arena_id, std::uint64_t ticket);
  void fail_parked(Error why);  // all of them: the daemon stops
  // Takes over runs that were leased to a dead session, some at a time so that the shard stays
  // responsive; `done` runs here afterwards.
  void adopt(std::shared_ptr<ArenaState> state, SessionId dead, std::vector<SlabIndex> runs,
             std::function<void(const ReapResult&)> done);
  void retime();  // a tunable changed: forget when the next tick was due

  // As counted here; nothing for counts_from_words arenas, where that says nothing (see
  // ArenaState::counts_from_words).
  HeldShare held(ArenaId arena_id);
  // By session, this shard's share in one arena.
  SharesBySession held_by_session(ArenaId arena_id);
  // By arena, this shard's share of one session.
  SharesByArena held_by_arena(SessionId session);
  // kAllArenas: those that were deleted included.
  ShardFacts facts(ArenaId arena_id);
  std::vector<std::pair<ArenaId, ClassUsage>> usage(ArenaId arena_id);
  void take_part(Standstill& round);

 private:
  enum class Need : std::uint8_t { kLook, kChange, kPeer };
  struct Adoption;

  Error admit(SessionKey key, ArenaId arena_id, Need need, Access& out);
  Failure refuse_slow(Error e, SessionKey key, ArenaId arena_id);
  // For calls that bring refs, which may change something; kInvalidCount when they are too many.
  Error admit_refs(SessionKey key, ArenaId arena_id, std::size_t refs, Access& out);
  Failure refuse_refs(Error e, SessionKey key, ArenaId arena_id, std::size_t refs);
  Failure refuse_quota(SessionKey key) const;
  void touch(ArenaSlot& slot) {
    if (slot.touched) return;
    slot.touched = true;
    tables_.touched.push_back(&slot);
  }

  // Where the session holds blocks from here on.
  static void remember(const Access& access, SlabIndex slab) { ready_touched(access).add(slab); }
  static void remember(const Access& access, std::span<const Allocation> blocks) {
    Footprint& touched = ready_touched(access);
    SlabIndex last{~0u};
    for (const Allocation& block : blocks) {
      const SlabIndex slab = block.ref.slot().slab();
      if (slab != last) touched.add(slab);  // neighbours mostly lie in one
      last = slab;
    }
  }
  static Footprint& ready_touched(const Access& access) {
    Footprint& touched = access.attached->touched;
    if (touched.words().empty()) [[unlikely]]
      touched = Footprint(access.slot->arena.unit_count());
    return touched;
  }
  // A block there is paid for by the session's lease.
  static bool in_own_lease(const ArenaSlot& slot, SlabIndex slab, SessionId session) {
    return slot.arena.ledger().run(slab).owner() == RunOwner::leased_to(session);
  }

  // shard.cc, shard_leases.cc: one of each for AllocateArgs and LeaseArgs.
  Failure check_request(const AllocateArgs& args, const ArenaSlot& slot) const;
  Failure check_request(const LeaseArgs& args, const ArenaSlot& slot) const;
  Error attempt(const Access& access, const AllocateArgs& args, AllocatedBlocks& out);
  Error attempt(const Access& access, const LeaseArgs& args, LeasedSlabs& out);
  Failure refusal(Error e, const AllocateArgs& args, const ArenaSlot& slot);
  Failure refusal(Error e, const LeaseArgs& args, const ArenaSlot& slot);
  static std::string asked_for(const AllocateArgs& args);
  static std::string asked_for(const LeaseArgs& args);
  template <class Args, class T>
  void serve(Need need, const Args& args, Done<T> done);

  Error attempt_sizes(const Access& access, const AllocateArgs& args, AllocatedBlocks& out);
  void account_free(ArenaSlot& slot, SessionId holder, std::int64_t blocks, std::int64_t bytes);
  RefFailure ref_failure(std::size_t index, UntrustedRef ref, Error e, const ArenaSlot& slot,
                         const char* what) const;
  // Takes a lease that is the session's back: to the arena, or when blocks of it are out, into this
  // shard's heap.
  void take_back(const Access& access, SessionId session, SlabIndex slab);
  void add_heap_facts(const Heap& heap, ShardFacts& facts) const;

  void park_slow(ArenaSlot& slot, Parked parked, Error why);
  bool worth_recounting(const SessionSlot& session) const;
  void serve_parked(ArenaSlot& slot, std::uint64_t ticket, std::uint64_t now);
  Failure full_failure(const ArenaSlot& slot, const Parked& parked, bool waited) const;
  void fail_parked_if(ArenaSlot& slot, const std::function<bool(const Parked&)>& which, Error why);
  void adopt_some(const std::shared_ptr<Adoption>& adoption);
  void wake_by(std::uint64_t deadline_ns);
  std::uint64_t waits_tick(std::uint64_t now);

  const ShardId index_;
  const std::uint32_t shard_count_;
  SharedState& shared_;
  Inbox inbox_;
  ShardTables tables_;
  std::uint64_t next_ticket_ = 0;
  std::uint64_t next_tick_ns_ = 0;
  std::uint64_t next_idle_ns_ = 0;
  std::uint64_t next_round_ns_ = 0;  // when waiters ask for a trim round of their own accord
  std::uint64_t calls_ = 0;
  std::uint64_t turns_ = 0;
  std::uint64_t inbox_messages_ = 0;
  std::uint64_t idle_drains_ = 0;
  ShardFacts retired_;  // counters of deleted arenas, so that the daemon's stay monotonic
};

// A call that may have to wait for memory.
template <class Args, class T>
void Shard::serve(Need need, const Args& args, Done<T> done) {
  Access access;
  if (const Error e = admit(args.session, args.arena_id, need, access); e != Error::kNone) {
    return done(refuse_slow(e, args.session, args.arena_id));
  }
  if (Failure f = check_request(args, *access.slot); f.error != Error::kNone)
    return done(std::move(f));
  ArenaSlot& slot = *access.slot;
  T out;
  // First come, first served: who may wait stands behind those who wait already.
  const bool queue = args.wait_ms != 0 && !slot.parked.empty();
  const Error e = queue ? Error::kArenaFull : attempt(access, args, out);
  if (e == Error::kNone) [[likely]]
    return done(std::move(out));
  if (e != Error::kArenaFull && e != Error::kMachineFull &&
      !(e == Error::kQuotaSession && worth_recounting(*access.session))) {
    return done(refusal(e, args, slot));
  }
  Parked parked;
  parked.session = args.session;
  parked.wait_ms = args.wait_ms;
  parked.for_peer = need == Need::kPeer;
  auto result = std::make_shared<T>();
  parked.attempt = [this, args, result](const Access& again) {
    return attempt(again, args, *result);
  };
  parked.answer = [done, result] { done(std::move(*result)); };
  parked.fail = [done](Failure failure) { done(std::move(failure)); };
  parked.refusal = [this, args](Error why, const ArenaSlot& in) { return refusal(why, args, in); };
  parked.asked_for = [args] { return asked_for(args); };
  park_slow(slot, std::move(parked), e);
}

}  // namespace arenad::server
