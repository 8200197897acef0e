// Shard: one thread's data plane. Its heaps in every arena, its inbox, its private tables.
//
// Purpose: wires the parts of a shard together, and is what others know of them: ShardApi for the
//   gRPC layer, and the visits of the control thread. Each part has one job and a file of its own:
//     shard_tables.h   sessions, attachments, one heap an arena
//     shard_account.h  who is charged for what
//     allocate_call.h  blocks: allocate
//     block_calls.h    blocks: free, acquire, share, release, describe
//     lease_grant.h    peers: lease
//     lease_returns.h  peers: return, resume
//     payer_changes.h  blocks that somebody else pays for from here on
//     adoption.h       runs of the dead
//     wait_queue.h     calls that wait for memory
//     turn.h, idle_drain.h, alarm.h  the end of a turn, and timers
//     shard_counters.h facts
// Invariants: the data path takes no lock and blocks on nothing. The heap of shard i has HeapId i
//   in every arena.
// Threads: everything on the shard's own thread, except post and set_waker (any thread). Before the
//   shard's thread runs, the thread that starts the engine stands for it. The gRPC loop, or a
//   test's loop, drives the thread by run_inbox, end_turn and tick.
// Crash: the daemon's death is the arenas'. The control thread handles a client's death
//   (control.h).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "server/core/api/api.h"
#include "server/core/shard/adoption.h"
#include "server/core/shard/alarm.h"
#include "server/core/shard/allocate_call.h"
#include "server/core/shard/block_calls.h"
#include "server/core/shard/idle_drain.h"
#include "server/core/shard/inbox.h"
#include "server/core/shard/lease_grant.h"
#include "server/core/shard/lease_returns.h"
#include "server/core/shard/payer_changes.h"
#include "server/core/shard/shard_account.h"
#include "server/core/shard/shard_counters.h"
#include "server/core/shard/shard_tables.h"
#include "server/core/shard/shared_state.h"
#include "server/core/shard/turn.h"
#include "server/core/shard/wait_queue.h"

namespace arenad::server {

class Standstill;

class Shard final : public ShardApi {
 public:
  Shard(ShardId index, std::uint32_t shard_count, SharedState& shared);
  Shard(const Shard&) = delete;  // the parts refer to each other
  Shard& operator=(const Shard&) = delete;

  // --- ShardApi ---
  ShardId index() const override { return index_; }
  void allocate(const AllocateArgs& args, Done<AllocatedBlocks> done) override {
    waits_.serve(allocate_call_, args, std::move(done));
  }
  Answer<PerRefAnswer> free(SessionKey session, ArenaId arena_id, UntrustedRefs refs,
                            FreeScope scope) override {
    return blocks_.free(session, arena_id, refs, scope);
  }
  Answer<PerRefAnswer> acquire(SessionKey session, ArenaId arena_id, UntrustedRefs refs,
                               std::uint32_t tag) override {
    return blocks_.acquire(session, arena_id, refs, tag);
  }
  Answer<PerRefAnswer> share(SessionKey session, ArenaId arena_id, UntrustedRefs refs) override {
    return blocks_.share(session, arena_id, refs);
  }
  Answer<PerRefAnswer> release(SessionKey session, ArenaId arena_id, UntrustedRefs refs) override {
    return blocks_.release(session, arena_id, refs);
  }
  Answer<std::vector<BlockFacts>> describe(SessionKey session, ArenaId arena_id,
                                           UntrustedRefs refs) override {
    return blocks_.describe(session, arena_id, refs);
  }
  Answer<HeapId> open_heap(const LeaseCaller& caller) override {
    return lease_grant_.open_heap(caller);
  }
  void lease_slabs(const LeaseArgs& args, Done<LeasedSlabs> done) override {
    waits_.serve(lease_grant_, args, std::move(done));
  }
  Answer<ReturnedSlabs> return_slabs(const LeaseCaller& caller,
                                     std::span<const SlabIndex> slabs) override {
    return lease_returns_.return_slabs(caller, slabs);
  }
  Answer<ResumedLeases> resume(const LeaseCaller& caller, const ResumeArgs& known) override {
    return lease_returns_.resume(caller, known);
  }
  void post(std::function<void()> f) override { inbox_.push(std::move(f)); }
  void run_inbox() override { counters_.count_messages(inbox_.run()); }
  void end_turn() override;
  std::uint64_t tick(std::uint64_t now) override;
  void count_call() override { counters_.count_call(); }
  void count_turn() override { counters_.count_turn(); }

  // The waker must stay valid until it is replaced by nullptr after Engine::stop.
  void set_waker(Waker* waker) { inbox_.set_waker(waker); }

  // --- visits of the control thread: each on this thread, by a posted message ---
  void add_arena(std::shared_ptr<ArenaState> state);
  void remove_arena(ArenaId arena_id);
  void add_session(SessionId id, std::uint64_t secret, std::uint32_t uid, bool of_admin = false) {
    tables_.add_session(id, secret, uid, of_admin);
  }
  // From here on nothing acts for the session on this shard, and its frees so far are published.
  // Answers where this shard gave the session blocks, by arena. `why` is what later calls with the
  // session's key answer: kUnknownSession or kEvicted.
  std::vector<std::pair<ArenaId, Footprint>> remove_session(SessionId id, Error why);
  void attach(SessionId session, ArenaId arena_id, AttachMode mode) {
    tables_.attach(session, arena_id, mode);
  }
  // As attach, for a session that an earlier daemon served.
  void attach_again(SessionId session, ArenaId arena_id, AttachMode mode) {
    tables_.attach_again(session, arena_id, mode);
  }

  // DetachArena, in two steps. From begin_leaving on the session gets no block and no lease in the
  // arena. Answers this shard's share of what the session holds there.
  HeldShare begin_leaving(SessionId session, const ArenaState& state);
  // The detach was refused after all.
  void stay(SessionId session, const ArenaState& state);
  // From here on nothing acts for the session in the arena. Answers as remove_session.
  Footprint leave(SessionId session, const ArenaState& state);

  void publish();                // gathered remote frees of this turn, in all arenas
  void drain(ArenaId arena_id);  // takes back what others freed
  void trim(ArenaId arena_id);   // gives back all that can be
  // See WaitQueue for these four.
  void retry_parked(ArenaId arena_id) { waits_.retry(arena_id); }
  void trim_round(ArenaId arena_id, std::uint64_t ticket, const UsageSummary& usage) {
    waits_.trim_round(arena_id, ticket, usage);
  }
  void free_round_over(ArenaId arena_id, std::uint64_t ticket) {
    waits_.free_round_over(arena_id, ticket);
  }
  // Drops what nobody took of the claims. `draw`: with which they were made, or null.
  void committed(const std::shared_ptr<ArenaState>& state, std::uint64_t ticket,
                 const RunClaims::Outcome& got, HostBudget::Draw* draw = nullptr) {
    // First, so that what is committed counts once: when it is charged.
    if (draw != nullptr) draw->commits_over();
    waits_.committed(state->arena->id(), ticket, got);
    state->arena->drop_claims(got.ticket);
  }
  void fail_parked(Error why) { waits_.fail_all(why); }
  // See Adoptions::begin.
  void adopt(std::shared_ptr<ArenaState> state, SessionId dead, PaidBy paid_by,
             std::vector<SlabIndex> runs, Adoptions::Done done) {
    adoptions_.begin(std::move(state), dead, paid_by, std::move(runs), std::move(done));
  }
  // See PayerChanges::pass_on.
  void pass_on(std::shared_ptr<ArenaState> state, std::shared_ptr<const Footprint> where,
               SessionId from, SessionId to, std::function<void()> done) {
    payer_changes_.pass_on(std::move(state), std::move(where), from, to, std::move(done));
  }
  // A tunable changed, or there is a new arena: the next tick runs all timers.
  void retime();

  // See ShardCounters for these five.
  HeldShare held(ArenaId arena_id) const { return counters_.held(arena_id); }
  SharesBySession held_by_session(ArenaId arena_id) const {
    return counters_.held_by_session(arena_id);
  }
  SharesByArena held_by_arena(SessionId session) const { return counters_.held_by_arena(session); }
  ShardFacts facts(ArenaId arena_id) const {
    return counters_.facts(arena_id, idle_drain_.count());
  }
  UsageByArena usage(ArenaId arena_id) const { return counters_.usage(arena_id); }
  void take_part(Standstill& standstill);

 private:
  const ShardId index_;
  SharedState& shared_;
  Inbox inbox_;
  Alarm alarm_{inbox_};
  ShardTables tables_{index_};
  Turn turn_;
  ShardAccount account_{tables_, shared_.account};
  WaitQueue waits_{index_, tables_, shared_, alarm_};
  AllocateCall allocate_call_{tables_, account_, turn_};
  LeaseGrant lease_grant_{tables_, account_, turn_, shared_};
  PayerChanges payer_changes_{index_, tables_, account_, inbox_, shared_};
  BlockCalls blocks_{tables_, account_, payer_changes_, turn_, shared_};
  LeaseReturns lease_returns_{tables_, account_, turn_};
  Adoptions adoptions_{tables_, account_, inbox_};
  IdleDrain idle_drain_{tables_, account_, shared_.tunables};
  ShardCounters counters_;
};

}  // namespace arenad::server
