// A shard's private tables: sessions, their attachments, and its heaps.
//
// Purpose: what the data path looks up on each call, by index, without a lock and without sharing a
// cache line. Invariants: a session or an attachment is in the tables of all shards or (while a
// message travels) of some; the control
//   thread alone adds and removes them, by messages. Held counts are this shard's share: a block
//   allocated here and freed on another shard leaves +1 here and -1 there, so only the sum over
//   shards says anything.
// Threads: the shard's own.
// Crash: private; the block words are the truth.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "allocator/arena/footprint.h"
#include "allocator/heap/heap.h"
#include "server/core/api/api.h"
#include "server/core/shard/shared_state.h"

namespace arenad::server {

// This shard's share of what somebody holds.
struct HeldShare {
  std::int64_t blocks = 0;
  std::int64_t bytes = 0;  // sum of strides
  void add(std::int64_t b, std::int64_t n) {
    blocks += b;
    bytes += n;
  }
  HeldShare& operator+=(const HeldShare& o) {
    add(o.blocks, o.bytes);
    return *this;
  }
};

// This shard's share of each session in one arena, or in each arena of one session.
using SharesBySession = std::vector<std::pair<SessionId, HeldShare>>;
using SharesByArena = std::vector<std::pair<ArenaId, HeldShare>>;

struct Attached {
  ArenaId arena;
  AttachMode mode = AttachMode::kNone;
  HeldShare held;
  Footprint touched;  // where this shard gave it blocks; made at the first
};

struct SessionSlot {
  bool live = false;
  std::uint64_t secret = 0;
  std::vector<Attached> attached;  // few: searched in order
  std::uint64_t recounted_ns = 0;  // when its bytes were last counted anew for this shard

  Attached* find(ArenaId arena) {
    for (Attached& a : attached)
      if (a.arena == arena) return &a;
    return nullptr;
  }
};

// Sums over all shards that a trim round brought together, for messages.
struct UsageSummary {
  std::uint64_t held_bytes = 0;
  std::uint64_t committed_bytes = 0;
  std::uint64_t leased_bytes = 0;
  std::string biggest_holders;  // "session 3 'cam' 40 MiB in 40 blocks, ..."; empty when nobody
                                // holds anything
};

struct ArenaSlot;

// What a call may work on, once it was admitted.
struct Access {
  SessionSlot* session = nullptr;
  Attached* attached = nullptr;
  ArenaSlot* slot = nullptr;
};

// A call that found its arena full, or its session at a limit that must be counted anew.
struct Parked {
  SessionKey session;
  std::uint32_t wait_ms = 0;
  bool for_peer = false;                        // only a peer may make it
  std::function<Error(const Access&)> attempt;  // kNone: `answer` has something to say
  std::function<void()> answer;
  std::function<void(Failure)> fail;
  std::function<Failure(Error, const ArenaSlot&)> refusal;  // of what is no matter of memory
  std::function<std::string()> asked_for;                   // "3 blocks of 64 bytes"
  std::uint64_t ticket = 0;       // of the round that must be over before it may fail
  std::uint64_t deadline_ns = 0;  // of its wait; 0 when it does not wait
  bool recounted = false;
  Error last = Error::kArenaFull;
};

struct ArenaSlot {
  ArenaSlot(std::shared_ptr<ArenaState> s, HeapId heap_id)
      : state(std::move(s)),
        arena(*state->arena),
        id(arena.id()),
        heap(arena, heap_id, kReaperSession) {}
  std::shared_ptr<ArenaState> state;
  Arena& arena;
  ArenaId id;
  Heap heap;             // owned by the daemon: it is nobody's to reap
  HeldShare held;        // of all sessions
  bool touched = false;  // worked on in this turn: publish at its end
  bool freed = false;    // and blocks came back
  std::deque<Parked> parked;
  SuperslabIndex lease_hint{0};  // where the last lease came from
  UsageSummary last_usage;       // of the last trim round
};

struct ShardTables {
  std::vector<SessionSlot> sessions;  // by id
  std::array<std::unique_ptr<ArenaSlot>, kMaxArenaId + 1> by_id;
  std::vector<ArenaSlot*> arenas;  // the ones there are
  std::vector<ArenaSlot*> touched;

  SessionSlot* session(SessionId id) {
    return id.value < sessions.size() && sessions[id.value].live ? &sessions[id.value] : nullptr;
  }
  ArenaSlot* arena(ArenaId id) { return id.value <= kMaxArenaId ? by_id[id.value].get() : nullptr; }
};

}  // namespace arenad::server
