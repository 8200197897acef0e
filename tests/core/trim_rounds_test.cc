// TrimRounds by itself: parked requests are served or failed, and peers are asked once.
#include "server/core/control/trim_rounds.h"

#include <gtest/gtest.h>

#include "tests/core/control_bench.h"
#include "tests/core/daemon.h"

namespace arenad::server {
namespace {

// Passes on what shards ask for, as Control does.
class RoundsLink final : public ControlLink {
 public:
  RoundsLink(ControlThread& thread, TrimRounds& rounds) : thread_(thread), rounds_(rounds) {}
  void need_memory(ArenaId arena, ShardId shard, std::uint64_t ticket) override {
    thread_.post([=, this] { rounds_.shard_needs_memory(arena, shard, ticket); });
  }
  void need_free_round(ArenaId, ShardId, std::uint64_t) override {}
  void memory_returned(ArenaId arena) override {
    thread_.post([=, this] { rounds_.memory_returned(arena); });
  }
  void need_commit(std::shared_ptr<ArenaState>, ShardId, std::uint64_t, CommitNeed) override {
  }  // arenas of the bench commit at once
  void kick_maintenance(ArenaId) override {}

 private:
  ControlThread& thread_;
  TrimRounds& rounds_;
};

constexpr std::uint64_t kCapacity = 4 << 20;

class TrimRoundsTest : public testing::Test {
 protected:
  TrimRoundsTest() { bench_.shared().control = &link_; }
  ~TrimRoundsTest() override { bench_.stop(); }

  // Fills the arena with blocks of 64 KiB, all of them from shard 0.
  std::vector<AllocatedBlocks> fill(SessionKey key, ArenaId arena) {
    std::vector<AllocatedBlocks> blocks;
    for (;;) {
      auto block = bench_.allocate(0, key, arena, 64 << 10);
      if (!block.ok()) {
        EXPECT_EQ(block.error().error, Error::kArenaFull) << block.error().message;
        return blocks;
      }
      blocks.push_back(std::move(*block));
    }
  }
  void free(std::size_t shard, SessionKey key, ArenaId arena, const AllocatedBlocks& blocks) {
    bench_.loop(shard).run(
        [&](ShardApi& api) { return api.free(key, arena, refs_of(blocks), FreeScope::kAll).ok(); });
  }

  ControlBench bench_;
  TrimRounds rounds_{bench_.core()};
  RoundsLink link_{bench_.core().thread, rounds_};
};

TEST_F(TrimRoundsTest, RequestThatFindsNoRoomFailsWithTheBiggestHolders) {
  bench_.start();
  const ArenaId arena = bench_.add_arena("pool", kCapacity);
  const SessionKey key = bench_.add_session("hog");
  bench_.attach(key, arena);
  fill(key, arena);
  const auto refused = bench_.allocate(1, key, arena, 64 << 10);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message.find("'hog'"), std::string::npos) << refused.error().message;
}

TEST_F(TrimRoundsTest, WhatAnotherShardKeepsIsGivenUpForTheRequest) {
  bench_.start();
  const ArenaId arena = bench_.add_arena("pool", kCapacity);
  const SessionKey key = bench_.add_session("s");
  bench_.attach(key, arena);
  for (const AllocatedBlocks& block : fill(key, arena)) free(0, key, arena, block);
  // Shard 0 keeps free blocks and slabs until it is asked to trim.
  EXPECT_TRUE(bench_.allocate(1, key, arena, 2 << 20).ok());
}

class PeerRoundsTest : public TrimRoundsTest {
 protected:
  // A peer session whose stream notes requests to trim.
  SessionKey add_peer(ArenaId arena) {
    const SessionKey key = bench_.add_session("peer");
    bench_.attach(key, arena, AttachMode::kPeer);
    bench_.on_control([&] {
      bench_.core().sessions.find(key.id)->keepalives[1] = [this](const SessionEvent& event) {
        if (event.kind != SessionEvent::Kind::kTrim) return;
        number_ = event.round;
        ++asked_;
      };
    });
    return key;
  }
  bool slow(SessionKey key) {
    return bench_.on_control([&] { return bench_.core().sessions.find(key.id)->slow_to_trim; });
  }
  // Calls act() on the control thread until the request is refused. The round before the request's
  // may ask the peer first; then the request's own round asks it once more.
  template <class F>
  bool refused_after(F act, std::future<Answer<AllocatedBlocks>>& request) {
    return eventually([&] {
      bench_.on_control(act);
      return request.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
    });
  }
  std::atomic<int> asked_{0};
  std::atomic<std::uint64_t> number_{0};
};

TEST_F(PeerRoundsTest, RoundWaitsForThePeersAnswer) {
  bench_.start();
  bench_.shared().tunables.trim_patience_ms = 600'000;
  const ArenaId arena = bench_.add_arena("pool", kCapacity);
  const SessionKey key = bench_.add_session("s");
  bench_.attach(key, arena);
  fill(key, arena);
  const SessionKey peer = add_peer(arena);
  auto refused = bench_.allocate_later(1, key, arena, 64 << 10);
  ASSERT_TRUE(eventually([&] { return asked_ == 1; }));
  EXPECT_NE(refused.wait_for(std::chrono::seconds(0)), std::future_status::ready);
  bench_.on_control([&] { rounds_.peer_trimmed(peer.id, number_ + 1, arena); });  // another round's
  EXPECT_NE(refused.wait_for(std::chrono::seconds(0)), std::future_status::ready);
  const auto answer = [&] { rounds_.peer_trimmed(peer.id, number_, arena); };
  ASSERT_TRUE(refused_after(answer, refused));
  EXPECT_EQ(refused.get().error().error, Error::kArenaFull);
  EXPECT_FALSE(slow(peer));
}

TEST_F(PeerRoundsTest, PeerThatLeavesIsNotWaitedFor) {
  bench_.start();
  bench_.shared().tunables.trim_patience_ms = 600'000;
  const ArenaId arena = bench_.add_arena("pool", kCapacity);
  const SessionKey key = bench_.add_session("s");
  bench_.attach(key, arena);
  fill(key, arena);
  const SessionKey peer = add_peer(arena);
  auto refused = bench_.allocate_later(1, key, arena, 64 << 10);
  ASSERT_TRUE(eventually([&] { return asked_ == 1; }));
  ASSERT_TRUE(refused_after([&] { rounds_.peer_left(peer.id); }, refused));
  EXPECT_FALSE(refused.get().ok());
}

TEST_F(PeerRoundsTest, PeerThatDoesNotAnswerIsWaitedForOnce) {
  bench_.start();
  bench_.shared().tunables.trim_patience_ms = 1;
  const ArenaId arena = bench_.add_arena("pool", kCapacity);
  const SessionKey key = bench_.add_session("s");
  bench_.attach(key, arena);
  fill(key, arena);
  const SessionKey peer = add_peer(arena);
  EXPECT_FALSE(bench_.allocate(1, key, arena, 64 << 10).ok());
  EXPECT_TRUE(slow(peer));
  EXPECT_FALSE(bench_.allocate(1, key, arena, 64 << 10).ok());
  EXPECT_EQ(asked_, 1);
}

TEST_F(PeerRoundsTest, RoundOfADeletedArenaEnds) {
  bench_.start();
  bench_.shared().tunables.trim_patience_ms = 600'000;
  const ArenaId arena = bench_.add_arena("pool", kCapacity);
  const SessionKey key = bench_.add_session("s");
  bench_.attach(key, arena);
  fill(key, arena);
  add_peer(arena);
  auto refused = bench_.allocate_later(1, key, arena, 64 << 10);
  ASSERT_TRUE(eventually([&] { return asked_ == 1; }));
  for (std::size_t i = 0; i < 2; ++i) {
    bench_.loop(i).run([&](ShardApi& shard) {
      dynamic_cast<Shard&>(shard).remove_arena(arena);
      return 0;
    });
  }
  bench_.on_control([&] { rounds_.arena_removed(arena); });
  EXPECT_EQ(refused.get().error().error, Error::kUnknownArena);
}

}  // namespace
}  // namespace arenad::server
