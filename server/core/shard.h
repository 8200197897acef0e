// Shard: one thread's data plane. Its heaps in every arena, its inbox, its private tables.
//
// Purpose: serves allocate, free, acquire and describe on the shard's own thread, and what the control thread asks of all
//   shards. Where: shard.cc (data path), shard_waits.cc (full arenas: park, trim, retry, wait), shard_visits.cc (control).
// Invariants: the data path takes no lock and blocks on nothing. The heap of shard i has HeapId i in every arena.
// Threads: everything on the shard's own thread, but post and set_waker (any). Who drives that thread is not its business:
//   run_inbox, end_turn and tick are called by the gRPC loop, or by a test's.
// Crash: the daemon's death is the arenas'; a client's death is handled by the control thread (control.h).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "server/core/api.h"
#include "server/core/inbox.h"
#include "server/core/shard_tables.h"

namespace arenad::server {

class QuietRound;

class Shard final : public ShardApi {
 public:
  Shard(std::uint32_t index, std::uint32_t shard_count, SharedState& shared);

  // --- ShardApi -----------------------------------------------------------------------------------------------------------
  std::uint32_t index() const override { return index_; }
  void allocate(const AllocateArgs& args, Done<AllocatedBlocks> done) override;
  Answer<PerRefAnswer> free(SessionKey session, std::uint32_t arena_id, std::span<const std::uint64_t> refs) override;
  Answer<PerRefAnswer> acquire(SessionKey session, std::uint32_t arena_id, std::span<const std::uint64_t> refs,
                               std::uint32_t tag) override;
  Answer<std::vector<BlockInfo>> describe(SessionKey session, std::uint32_t arena_id,
                                          std::span<const std::uint64_t> refs) override;
  void post(std::function<void()> f) override { inbox_.push(std::move(f)); }
  void run_inbox() override { inbox_messages_ += inbox_.run(); }
  void end_turn() override;
  std::uint64_t tick(std::uint64_t now) override;
  void count_call() override { ++calls_; }
  void count_turn() override { ++turns_; }

  // The waker must stay valid until it is replaced by nullptr after Engine::stop.
  void set_waker(Waker* waker) { inbox_.set_waker(waker); }

  // --- what the control thread asks for; each on this thread, by a posted message -------------------------------------------
  void add_arena(std::shared_ptr<ArenaState> state);
  void remove_arena(std::uint16_t arena_id);
  void add_session(std::uint16_t id, std::uint64_t secret);
  // From here on nothing acts for the session on this shard; its frees so far are published.
  void remove_session(std::uint16_t id);
  void attach(std::uint16_t session, std::uint16_t arena_id, AttachMode mode);

  void publish();                                    // gathered remote frees of all arenas
  void drain(std::uint16_t arena_id);                // takes back what others freed
  void trim(std::uint16_t arena_id);                 // gives back all that can be
  // A trim round is over: retries what is parked; what was parked up to `ticket` and does not wait fails now.
  void memory_round(std::uint16_t arena_id, std::uint64_t ticket, const UsageSummary& usage);
  void fail_parked(Error why);                       // all of them: the daemon stops
  void retime();                                     // a tunable changed: forget when the next tick was due

  HeldShare held(std::uint16_t arena_id);
  // By session, this shard's share in one arena.
  std::vector<std::pair<std::uint16_t, HeldShare>> held_by_session(std::uint16_t arena_id);
  // By arena, this shard's share of one session.
  std::vector<std::pair<std::uint16_t, HeldShare>> held_by_arena(std::uint16_t session);
  // arena_id 0: all arenas, those that were deleted included.
  ShardFacts facts(std::uint16_t arena_id);
  std::vector<std::pair<std::uint16_t, ClassUsage>> usage(std::uint16_t arena_id);
  // (session << 32 | tag) -> what the words of this shard's blocks say. 0: all arenas.
  std::map<std::uint64_t, HeldShare> holders(std::uint16_t arena_id);
  void take_part(QuietRound& round);

 private:
  // What a call may work on, once it was admitted.
  struct Access {
    SessionSlot* session = nullptr;
    Attached* attached = nullptr;
    ArenaSlot* slot = nullptr;
  };
  enum class Need : std::uint8_t { kLook, kChange };

  Error admit(SessionKey key, std::uint32_t arena_id, Need need, Access& out);
  Failure refuse_slow(Error e, SessionKey key, std::uint32_t arena_id);
  void touch(ArenaSlot& slot) {
    if (slot.touched) return;
    slot.touched = true;
    tables_.touched.push_back(&slot);
  }

  Failure check_request(const AllocateArgs& args, const ArenaSlot& slot) const;
  Error try_allocate(const Access& access, const AllocateArgs& args, AllocatedBlocks& out);
  Error try_allocate_sizes(const Access& access, const AllocateArgs& args, AllocatedBlocks& out);
  Failure allocate_failure_slow(Error e, const AllocateArgs& args, ArenaSlot& slot, SessionKey key);
  void account_free(ArenaSlot& slot, std::uint16_t holder, std::int64_t blocks, std::int64_t bytes);
  void add_heap_facts(const Heap& heap, ShardFacts& facts) const;

  void park_slow(ArenaSlot& slot, const AllocateArgs& args, Done<AllocatedBlocks> done, Error why);
  void serve_parked(ArenaSlot& slot, std::uint64_t ticket, std::uint64_t now);
  Failure full_failure(const ArenaSlot& slot, const ParkedAllocate& parked, bool waited) const;
  void fail_parked_if(ArenaSlot& slot, const std::function<bool(const ParkedAllocate&)>& which, Error why);
  void wake_by(std::uint64_t deadline_ns);
  std::uint64_t waits_tick(std::uint64_t now);

  const std::uint32_t index_;
  const std::uint32_t shard_count_;
  SharedState& shared_;
  Inbox inbox_;
  ShardTables tables_;
  std::uint64_t next_ticket_ = 0;
  std::uint64_t next_tick_ns_ = 0;
  std::uint64_t next_idle_ns_ = 0;
  std::uint64_t next_round_ns_ = 0;     // when waiters ask for a trim round of their own accord
  std::uint64_t calls_ = 0;
  std::uint64_t turns_ = 0;
  std::uint64_t inbox_messages_ = 0;
  std::uint64_t idle_drains_ = 0;
  ShardFacts retired_;                  // counters of deleted arenas, so that the daemon's stay monotonic
};

}  // namespace arenad::server
