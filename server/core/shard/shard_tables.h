// ShardTables: what one shard knows of sessions and arenas, and its heap in each arena.
//
// Purpose: the data path looks sessions, attachments and heaps up here on each call. A lookup is by
//   index, takes no lock and shares no cache line with another shard.
// Invariants: only messages of the control thread add and remove entries. While such a message
//   travels, some shards know a session or an attachment and others do not yet.
// Threads: the shard's own.
// Crash: private; the block words are the truth.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "allocator/arena/footprint.h"
#include "allocator/heap/heap.h"
#include "server/core/api/data_plane.h"
#include "server/core/shard/arena_state.h"
#include "server/core/shard/parked_call.h"
#include "server/core/shard/shares.h"

namespace arenad::server {

struct Attached {
  ArenaId arena;
  AttachMode mode = AttachMode::kNone;
  HeldShare held;
  Footprint footprint;   // where this shard gave the session blocks; made at the first block
  bool leaving = false;  // being detached: the session may give, and gets nothing
};

struct SessionSlot {
  bool live = false;
  bool evicted = false;            // the session with the secret below was the last one here
  std::uint64_t secret = 0;        // stays when an evicted session has ended
  std::uint32_t uid = 0;           // of who opened it
  bool of_admin = false;           // an administrator opened it
  std::vector<Attached> attached;  // few: searched in order

  Attached* find(ArenaId arena) {
    for (Attached& a : attached)
      if (a.arena == arena) return &a;
    return nullptr;
  }
};

struct ArenaSlot {
  ArenaSlot(std::shared_ptr<ArenaState> s, HeapId heap_id)
      : state(std::move(s)),
        arena(*state->arena),
        id(arena.id()),
        heap(arena, heap_id, kReaperSession, HeapUse::kServesOthers) {}
  const std::string& name() const { return arena.options().name; }
  bool counts_from_words() const {
    return state->counts_from_words.load(std::memory_order_relaxed);
  }

  std::shared_ptr<ArenaState> state;
  Arena& arena;
  ArenaId id;
  Heap heap;             // belongs to the daemon: no session's end reaps it
  HeldShare held;        // of all sessions
  bool in_turn = false;  // Turn has it in its list
  bool freed = false;    // blocks came back in this turn
  bool in_use = false;   // ShardTables has it in its list of arenas with slabs
  bool waited = false;   // WaitQueue has it in its list of arenas in which calls wait
  std::deque<ParkedCall> parked;
  SuperslabIndex lease_hint{0};  // where the last lease came from
  UsageSummary last_usage;       // of the last trim round
};

// What an admitted call may work on.
struct Access {
  SessionSlot* session = nullptr;
  Attached* attached = nullptr;
  ArenaSlot* slot = nullptr;

  // Notes that the session holds a block in this slab from here on.
  void note(SlabIndex slab) const { footprint().add(slab); }
  void note(std::span<const Allocation> blocks) const {
    Footprint& all = footprint();
    SlabIndex last{~0u};
    for (const Allocation& block : blocks) {
      const SlabIndex slab = slot->arena.refs().slab_of(block.ref);
      if (slab != last) all.add(slab);  // most neighbours lie in one slab
      last = slab;
    }
  }

 private:
  Footprint& footprint() const {
    Footprint& footprint = attached->footprint;
    if (footprint.words().empty()) [[unlikely]]
      footprint = Footprint(slot->arena.unit_count());
    return footprint;
  }
};

// What a call wants to do in an arena: look, give blocks back, get blocks or get leases.
enum class Need : std::uint8_t { kLook, kGive, kChange, kPeer };

class ShardTables {
 public:
  explicit ShardTables(ShardId shard) : shard_(shard) {}
  ShardTables(const ShardTables&) = delete;  // heaps call back
  ShardTables& operator=(const ShardTables&) = delete;

  // Fills in what the call may work on. Errors: kUnknownSession, kEvicted, kUnknownArena,
  // kNotAttached, kReadOnly.
  Error admit(SessionKey key, ArenaId arena_id, Need need, Access& out) {
    out.session = session(key.id);
    if (out.session == nullptr || out.session->secret != key.secret) [[unlikely]]
      return no_session(key);
    out.slot = arena(arena_id);
    if (out.slot == nullptr) return Error::kUnknownArena;
    out.attached = out.session->find(arena_id);
    if (out.attached == nullptr) return Error::kNotAttached;
    if (need != Need::kLook && out.attached->mode == AttachMode::kReader) return Error::kReadOnly;
    if (need == Need::kPeer && out.attached->mode != AttachMode::kPeer) return Error::kReadOnly;
    if (need >= Need::kChange && out.attached->leaving) return Error::kNotAttached;
    return Error::kNone;
  }
  // admit for a call that names its epoch. Errors: those of admit; kStaleEpoch.
  Answer<Nothing> admit_lease(const LeaseCaller& caller, Access& out);
  // An error of admit, or another one about a session in an arena, with the particulars.
  Failure refusal(Error e, SessionKey key, ArenaId arena_id);

  SessionSlot* session(SessionId id) {
    return id.value < sessions_.size() && sessions_[id.value].live ? &sessions_[id.value] : nullptr;
  }
  ArenaSlot* arena(ArenaId id) {
    return id.value <= kMaxArenaId ? by_id_[id.value].get() : nullptr;
  }
  const std::vector<ArenaSlot*>& arenas() const { return arenas_; }
  // Calls f(slot) for the arena, or for all of them.
  template <class F>
  void for_arenas(ArenaId scope, F&& f) {
    if (scope != kAllArenas) {
      if (ArenaSlot* slot = arena(scope)) f(*slot);
      return;
    }
    for (ArenaSlot* slot : arenas_) f(*slot);
  }
  // Calls f(slot) for each arena in which this shard's heap has slabs. All other heaps have nothing
  // that could be drained, flushed or given back. f may make a heap give its slabs back, and must
  // not make one take any.
  template <class F>
  void for_arenas_in_use(F&& f) {
    std::erase_if(in_use_, [&f](ArenaSlot* slot) {
      f(*slot);
      slot->in_use = !slot->heap.slabs().all().empty();
      return !slot->in_use;
    });
  }
  // Calls f(session id, attachment) for each session that is attached to the arena.
  template <class F>
  void for_attached(ArenaId arena_id, F&& f) {
    for (std::size_t id = 0; id < sessions_.size(); ++id) {
      if (!sessions_[id].live) continue;
      if (const Attached* attached = sessions_[id].find(arena_id))
        f(SessionId{static_cast<std::uint16_t>(id)}, *attached);
    }
  }

  void add_arena(std::shared_ptr<ArenaState> state);
  // Takes the arena and all attachments to it out. Null when the arena is not there.
  std::unique_ptr<ArenaSlot> remove_arena(ArenaId id);
  void add_session(SessionId id, std::uint64_t secret, std::uint32_t uid, bool of_admin = false);
  // Nobody's key is the session's from here on. Answers its attachments. `why`: what calls with the
  // key answer, kUnknownSession or kEvicted, until the id is another session's.
  std::vector<Attached> remove_session(SessionId id, Error why = Error::kUnknownSession);
  // Null when the session or this life of the arena has ended meanwhile, or is not attached.
  Attached* attachment(SessionId session_id, const ArenaState& state);
  // Takes the attachment out, and answers where this shard gave the session blocks.
  Footprint detach(SessionId session_id, const ArenaState& state);
  // Does nothing when the session or the arena has ended meanwhile.
  void attach(SessionId session_id, ArenaId arena_id, AttachMode mode);
  // As attach, for a session that an earlier daemon served: it may hold blocks in every slab.
  void attach_again(SessionId session_id, ArenaId arena_id, AttachMode mode);

 private:
  // Why no session has this key.
  Error no_session(SessionKey key) const;

  const ShardId shard_;
  std::vector<SessionSlot> sessions_;  // by id
  std::array<std::unique_ptr<ArenaSlot>, kMaxArenaId + 1> by_id_;
  std::vector<ArenaSlot*> arenas_;  // the ones that there are
  // Those in which the heap has slabs, or had some at the last for_arenas_in_use. The heap itself
  // says when it has its first slab. So none is missed, whoever made the heap take the slab.
  std::vector<ArenaSlot*> in_use_;
  // Names of arenas that were deleted, by the id that they had: for messages.
  std::map<ArenaId, std::string> deleted_;
};

}  // namespace arenad::server
