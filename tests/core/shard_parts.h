// ShardParts: an arena and the parts of two shards, for tests that drive one part at a time.
//
// Threads: the test's own stands for both shards and the control thread. Crash: a test's.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "server/core/api/limits.h"
#include "server/core/shard/inbox.h"
#include "server/core/shard/payer_changes.h"
#include "server/core/shard/shard_account.h"
#include "server/core/shard/shard_tables.h"
#include "server/core/shard/shared_state.h"
#include "server/core/shard/turn.h"

namespace arenad::server {

// A control thread that only notes what it is told.
struct NotingControl final : ControlLink {
  void need_memory(ArenaId, ShardId, std::uint64_t ticket) override { tickets.push_back(ticket); }
  void need_free_round(ArenaId, ShardId, std::uint64_t ticket) override {
    free_rounds.push_back(ticket);
  }
  void memory_returned(ArenaId) override { ++returned; }
  void need_commit(std::shared_ptr<ArenaState>, ShardId, std::uint64_t ticket,
                   CommitNeed needed) override {
    commits.push_back(ticket);
    need = std::move(needed);
  }
  void kick_maintenance(ArenaId arena) override { kicks.push_back(arena); }

  std::vector<std::uint64_t> tickets;
  std::vector<std::uint64_t> free_rounds;
  std::vector<std::uint64_t> commits;
  CommitNeed need;  // of the last commit
  int returned = 0;
  std::vector<ArenaId> kicks;
};

constexpr std::uint64_t kPartsCapacity = 4 << 20;

inline std::shared_ptr<ArenaState> make_arena_state(ArenaId id) {
  ArenaConfig config;
  config.id = id;
  config.capacity_bytes = kPartsCapacity;
  config.max_heaps = kHeapIds;
  return std::make_shared<ArenaState>(std::move(*Arena::create(config)));
}

// What the parts of one shard share.
struct OneShard {
  OneShard(ShardId id, SharedState& shared_state)
      : shard(id), shared(shared_state), tables(id), account(tables, shared.account) {}
  void attach(SessionKey key, AttachMode mode, std::uint32_t uid = 0) {
    tables.add_session(key.id, key.secret, uid);
    tables.attach(key.id, kArena, mode);
  }
  ArenaSlot& slot() { return *tables.arena(kArena); }
  Access access(SessionKey key) {
    Access access;
    EXPECT_EQ(tables.admit(key, kArena, Need::kLook, access), Error::kNone);
    return access;
  }

  static constexpr ArenaId kArena{9};
  const ShardId shard;
  SharedState& shared;
  ShardTables tables;
  ShardAccount account;
  Turn turn;
  Inbox inbox;
  PayerChanges payer_changes{shard, tables, account, inbox, shared};
};

// Two shards of one arena; alice is attached to it on both.
class ShardParts : public ::testing::Test {
 protected:
  explicit ShardParts(AttachMode mode = AttachMode::kRemote, std::uint64_t limit_bytes = 0)
      : shared(limit_bytes) {
    shared.control = &control;
    for (OneShard* one_of : {&zero, &one}) one_of->tables.add_arena(state);
    attach(alice, mode);
  }
  void attach(SessionKey key, AttachMode mode, std::uint32_t uid = 0) {
    state->lease_epochs.begin(key.id, {});
    shared.account.open(key.id, 0);
    for (OneShard* one_of : {&zero, &one}) one_of->attach(key, mode, uid);
  }
  static AllocateArgs wants(SessionKey key, std::uint64_t size_bytes, std::uint32_t count) {
    AllocateArgs args;
    args.session = key;
    args.arena_id = OneShard::kArena;
    args.size_bytes = size_bytes;
    args.count = count;
    return args;
  }
  std::uint64_t charged(SessionKey key) const { return shared.account.charged_bytes(key.id); }

  const ArenaId arena = OneShard::kArena;
  const SessionKey alice{{5}, 12345};
  const SessionKey bob{{6}, 54321};
  NotingControl control;
  SharedState shared;
  const std::shared_ptr<ArenaState> state = make_arena_state(arena);
  OneShard zero{{0}, shared}, one{{1}, shared};
};

}  // namespace arenad::server
