// Peers of a real daemon: the same calls as in any mode, served in this process.
#include <sys/syscall.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "tests/client/client_fixture.h"
#include "tests/support/forbid_syscall.h"

namespace arenad::client {
namespace {

class PeerTest : public ClientTest {};

TEST_F(PeerTest, AllocatesWritesAndFreesLikeAnyOther) {
  auto a = attach(AttachMode::kPeer);
  EXPECT_EQ(a.arena.mode(), AttachMode::kPeer);
  // Keeps the slab, which may go back to the daemon when it is empty. Refs into it are stale then.
  const Block neighbour = must(a.arena.allocate(1000));
  Block block = must(a.arena.allocate(1000, {.tag = 5}));
  ASSERT_NE(block.data(), nullptr);
  EXPECT_GE(block.size_bytes(), 1000u);
  std::memset(block.data(), 1, block.size_bytes());
  const Ref ref = block.ref();
  const auto info = must(a.arena.describe(std::span(&ref, 1))).at(0);
  EXPECT_EQ(info.state, BlockState::kHeld);
  EXPECT_EQ(info.holder, a.session.id());
  EXPECT_EQ(info.tag, 5u);
  EXPECT_EQ(info.usable_bytes, block.size_bytes());
  EXPECT_EQ(must(a.arena.ref_at(block.data())), ref);
  EXPECT_TRUE(block.free().ok());
  EXPECT_EQ(a.arena.free(ref).reason, Error::kDoubleFree);
  EXPECT_EQ(must(a.arena.describe(std::span(&ref, 1))).at(0).state, BlockState::kStale);
}

TEST_F(PeerTest, LargeBlocksAreSpansAndAlignmentIsKept) {
  auto a = attach(AttachMode::kPeer);
  const Block span = must(a.arena.allocate(5 << 20));
  std::memset(span.data(), 1, span.size_bytes());
  const Block aligned = must(a.arena.allocate(100, {.align_bytes = 4096}));
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(aligned.data()) % 4096, 0u);
  EXPECT_EQ(a.arena.allocate(0).error().reason, Error::kInvalidSize);
  EXPECT_EQ(a.arena.allocate(8, {.align_bytes = 24}).error().reason, Error::kInvalidAlignment);
  EXPECT_EQ(a.arena.try_allocate(std::uint64_t{1} << 50).error(), Error::kInvalidSize);
}

// A tag has 24 bits in a block's word. What is above would name another session.
TEST_F(PeerTest, TagOfTooManyBitsIsRefusedByEveryCallInEveryMode) {
  for (const AttachMode mode : {AttachMode::kPeer, AttachMode::kWriter}) {
    auto a = attach(mode);
    constexpr std::uint32_t kTooLarge = kMaxTag + 1;
    const Block block = must(a.arena.allocate(64, {.tag = kMaxTag}));
    const Ref ref = block.ref();
    const std::uint64_t sizes[] = {64, 128};
    EXPECT_EQ(must(a.arena.describe(std::span(&ref, 1))).at(0).tag, kMaxTag);
    EXPECT_EQ(a.arena.allocate(64, {.tag = kTooLarge}).error().reason, Error::kInvalidTag);
    EXPECT_EQ(a.arena.allocate(64, {.align_bytes = 64, .tag = kTooLarge}).error().reason,
              Error::kInvalidTag);
    EXPECT_EQ(a.arena.try_allocate(64, kTooLarge).error(), Error::kInvalidTag);
    EXPECT_EQ(a.arena.allocate_many(64, 2, {.tag = kTooLarge}).error().reason, Error::kInvalidTag);
    EXPECT_EQ(a.arena.allocate_sizes(sizes, {.tag = kTooLarge}).error().reason, Error::kInvalidTag);
    EXPECT_EQ(a.arena.acquire(std::span(&ref, 1), kTooLarge).error().reason, Error::kInvalidTag);
    EXPECT_EQ(a.arena.take(ref, kTooLarge).error().reason, Error::kInvalidTag);
    const auto after = must(a.arena.describe(std::span(&ref, 1))).at(0);
    EXPECT_EQ(after.holder, a.session.id());
    EXPECT_EQ(after.tag, kMaxTag);
  }
}

TEST_F(PeerTest, LeanCallsAndBatches) {
  auto a = attach(AttachMode::kPeer);
  const Block neighbour = must(a.arena.allocate(64));  // keeps the slab, as above
  const auto one = a.arena.try_allocate(64, 3);
  ASSERT_TRUE(one.ok());
  EXPECT_EQ(a.arena.bytes(*one).size(), 64u);
  EXPECT_EQ(a.arena.try_free(one->ref), Error::kNone);
  EXPECT_EQ(a.arena.try_free(one->ref), Error::kDoubleFree);
  const Block neighbour_of_many = must(a.arena.allocate(256));
  const auto many = must(a.arena.allocate_many(256, 3000));
  std::vector<Ref> refs;
  for (const AllocatedBlock& b : many) refs.push_back(b.ref);
  refs.push_back(refs[7]);
  const BatchAnswer freed = must(a.arena.free(refs));
  EXPECT_EQ(freed.done, 3000u);
  ASSERT_EQ(freed.errors.size(), 1u);
  EXPECT_EQ(freed.errors[0].index, 3000u);
  EXPECT_EQ(freed.errors[0].status.reason, Error::kDoubleFree);
  const std::uint64_t sizes[] = {8, 4096, 200'000};
  for (const AllocatedBlock& b : must(a.arena.allocate_sizes(sizes)))
    EXPECT_TRUE(a.arena.free(b.ref).ok());
  EXPECT_EQ(a.arena.allocate_many(8, kMaxBlocksPerCall + 1).error().reason, Error::kInvalidCount);
}

TEST_F(PeerTest, SteadyStateMakesNoCall) {
  auto a = attach(AttachMode::kPeer);
  auto b = attach(AttachMode::kPeer, 1);
  const auto round = [&] {
    std::vector<Block> blocks;
    for (int i = 0; i < 2000; ++i) blocks.push_back(must(a.arena.allocate(8 + i)));
    for (Block& block : blocks) block = must(b.arena.take(block.release()));
    std::vector<Ref> refs;
    for (Block& block : blocks) refs.push_back(block.ref());
    EXPECT_EQ(must(b.arena.describe(refs)).size(), refs.size());
  };
  // At first slabs are leased, and the lease thread returns what was leased ahead too far. Then
  // there is a hundred rounds without a call.
  EXPECT_TRUE(eventually([&] {
    const std::uint64_t before = client.calls_made();
    for (int i = 0; i < 100; ++i) round();
    return client.calls_made() == before;
  }));
}

TEST_F(PeerTest, ThreadsHaveHeapsAndTheNextThreadTakesOver) {
  auto a = attach(AttachMode::kPeer);
  std::vector<Block> blocks;
  in_another_thread([&] { blocks.push_back(must(a.arena.allocate(64))); });
  const std::uint64_t before = client.calls_made();
  in_another_thread([&] { blocks.push_back(must(a.arena.allocate(64))); });
  EXPECT_EQ(client.calls_made(), before);
  Ref refs[] = {blocks[0].ref(), blocks[1].ref()};
  const auto infos = must(a.arena.describe(refs));
  EXPECT_EQ(infos[0].heap, infos[1].heap);
}

TEST_F(PeerTest, BlocksFreedByAnotherThreadComeHome) {
  auto a = attach(AttachMode::kPeer);
  std::vector<Block> blocks;
  for (int i = 0; i < 1000; ++i) blocks.push_back(must(a.arena.allocate(100)));
  const Ref last = blocks.back().ref();
  in_another_thread([&] { blocks.clear(); });
  EXPECT_TRUE(eventually([&] {
    const auto info = must(a.arena.describe(std::span(&last, 1))).at(0);
    return info.state == BlockState::kStale && facts().held_blocks == 0;
  }));
}

TEST_F(PeerTest, TwoSessionsOfOneProcessHandBlocksOver) {
  auto a = attach(AttachMode::kPeer);
  auto b = attach(AttachMode::kPeer, 1);
  ASSERT_NE(a.arena.data().data(), b.arena.data().data());
  Block block = must(a.arena.allocate(4096));
  std::strcpy(reinterpret_cast<char*>(block.data()), "handed over");
  Block taken = must(b.arena.take(block.release(), 9));
  EXPECT_STREQ(reinterpret_cast<const char*>(taken.data()), "handed over");
  must(a.session.close());
  const Ref ref = taken.ref();
  const auto info = must(b.arena.describe(std::span(&ref, 1))).at(0);
  EXPECT_EQ(info.holder, b.session.id());
  EXPECT_LT(info.heap, HeapId{256});  // a shard adopted the slab
  EXPECT_TRUE(taken.free().ok());
}

TEST_F(PeerTest, SharedBlockLivesUntilItsLastSharerReleasesIt) {
  auto a = attach(AttachMode::kPeer);
  auto b = attach(AttachMode::kPeer, 1);
  const Ref ref = must(a.arena.allocate(100)).release();
  EXPECT_EQ(must(b.arena.share(std::span(&ref, 1))).errors.at(0).status.reason, Error::kNotHolder);
  EXPECT_TRUE(must(a.arena.share(std::span(&ref, 1))).all());
  EXPECT_TRUE(must(b.arena.share(std::span(&ref, 1))).all());
  EXPECT_EQ(a.arena.free(ref).reason, Error::kNotHolder);
  EXPECT_TRUE(must(a.arena.release(std::span(&ref, 1))).all());
  EXPECT_EQ(must(b.arena.describe(std::span(&ref, 1))).at(0).state, BlockState::kShared);
  EXPECT_EQ(must(a.arena.release(std::span(&ref, 1))).errors.at(0).status.reason,
            Error::kNotHolder);
  EXPECT_TRUE(must(b.arena.release(std::span(&ref, 1))).all());
  EXPECT_EQ(must(b.arena.release(std::span(&ref, 1))).done, 0u);
}

TEST_F(PeerTest, ReserveOfASessionIsShown) {
  const Session session = must(Session::open(client, {.name = "mine", .reserve_bytes = 4 << 20}));
  for (const SessionInfo& s : must(Admin(client).sessions()))
    EXPECT_EQ(s.reserve_bytes, s.id == session.id() ? 4u << 20 : 0) << s.name;
  const Stats stats = must(Admin(client).stats());
  EXPECT_EQ(stats.reserved_bytes, 4u << 20);
  EXPECT_EQ(stats.set_aside_bytes, 4u << 20);
  EXPECT_EQ(Session::open(client, {.limit_bytes = 1, .reserve_bytes = 2}).error().reason,
            Error::kInvalidOption);
}

// The bits for sharers lie in memory that peers write. The library asks the daemon for the first.
TEST_F(PeerTest, PeersAreHeldToTheLimitOfSharersOfTheirUser) {
  constexpr std::size_t kMaxUserSharers = 32;
  std::vector<Attached> peers;
  std::vector<Ref> refs;
  for (std::size_t i = 0; i <= kMaxUserSharers; ++i) {
    peers.push_back(attach(AttachMode::kPeer));
    refs.push_back(must(peers[i].arena.allocate(100)).release());
    const auto shared = must(peers[i].arena.share(std::span(&refs[i], 1)));
    if (i < kMaxUserSharers) {
      ASSERT_TRUE(shared.all()) << i << ": " << shared.errors.at(0).status.text();
      continue;
    }
    EXPECT_EQ(shared.errors.at(0).status.reason, Error::kQuotaUser);
    EXPECT_TRUE(peers[i].arena.free(refs[i]).ok()) << "it is the peer's alone still";
  }
  for (std::size_t i = 0; i < kMaxUserSharers; ++i)
    EXPECT_TRUE(must(peers[i].arena.release(std::span(&refs[i], 1))).all());
}

TEST_F(PeerTest, DeathOfASharerReleases) {
  auto b = attach(AttachMode::kPeer, 1);
  Ref ref;
  {
    auto a = attach(AttachMode::kPeer);
    ref = must(a.arena.allocate(100)).release();
    EXPECT_TRUE(must(a.arena.share(std::span(&ref, 1))).all());
    EXPECT_TRUE(must(b.arena.share(std::span(&ref, 1))).all());
  }
  EXPECT_EQ(must(b.arena.describe(std::span(&ref, 1))).at(0).state, BlockState::kShared);
  EXPECT_TRUE(must(b.arena.release(std::span(&ref, 1))).all());
}

TEST_F(PeerTest, BlocksAndHandlesOutliveTheSession) {
  auto a = attach(AttachMode::kPeer);
  Block block = must(a.arena.allocate(64));
  std::strcpy(reinterpret_cast<char*>(block.data()), "still here");
  Block moved;
  {
    const ArenaHandle copy = a.arena;
    must(a.session.close());
    EXPECT_EQ(copy.allocate(64).error().reason, Error::kUnknownSession);
    EXPECT_EQ(copy.try_allocate(64).error(), Error::kUnknownSession);
    EXPECT_EQ(copy.try_free(block.ref()), Error::kUnknownSession);
    a.arena = {};
  }
  moved = std::move(block);
  EXPECT_STREQ(reinterpret_cast<const char*>(moved.data()), "still here");
  EXPECT_EQ(moved.free().reason, Error::kUnknownSession);
}

TEST_F(PeerTest, SecondAttachmentIsTheFirstAndNoOtherModeReplacesIt) {
  auto a = attach(AttachMode::kPeer);
  const auto again = must(a.session.attach(arena_name, AttachMode::kPeer));
  EXPECT_EQ(again.data().data(), a.arena.data().data());
  EXPECT_EQ(a.session.attach(arena_name, AttachMode::kWriter).error().code,
            Code::kFailedPrecondition);
}

TEST_F(PeerTest, LimitOfTheSessionCountsLeases) {
  Session session = must(Session::open(client, {.name = "small", .limit_bytes = 4 << 20}));
  const auto arena = must(session.attach(arena_name, AttachMode::kPeer));
  for (const SessionInfo& s : must(Admin(client).sessions()))
    EXPECT_EQ(s.limit_bytes, s.id == session.id() ? 4u << 20 : 0) << s.name;
  std::vector<Block> blocks;
  Status refused;
  while (refused.ok() && blocks.size() < 10'000) {
    auto block = arena.allocate(4096);
    if (block)
      blocks.push_back(std::move(*block));
    else
      refused = block.error();
  }
  EXPECT_EQ(refused.reason, Error::kQuotaSession);
  EXPECT_FALSE(refused.message.empty());
  EXPECT_GE(blocks.size(), 900u);  // what is leased ahead of it was given back before the refusal
  EXPECT_LE(blocks.size(), 1024u);
  blocks.clear();
  EXPECT_TRUE(arena.allocate(1 << 20).ok());  // of another shape, from what the blocks gave back
}

TEST_F(PeerTest, FullArenaTakesBackWhatOtherPeersDoNotNeed) {
  auto a = attach(AttachMode::kPeer);
  auto b = attach(AttachMode::kPeer, 1);
  {
    std::vector<Block> blocks;
    for (;;) {
      auto block = a.arena.allocate(50'000);
      if (!block) {
        EXPECT_EQ(block.error().reason, Error::kArenaFull);
        break;
      }
      blocks.push_back(std::move(*block));
    }
    EXPECT_GT(blocks.size(), 1000u);
  }
  // All of it is cached in a's heap, or was just returned. The daemon asks for it, and b gets it.
  const Block large = must(b.arena.allocate(50 << 20, {.wait_ms = 30'000}));
  EXPECT_EQ(a.arena.allocate(40 << 20, {.wait_ms = 20}).error().reason, Error::kWaitExpired);
}

TEST_F(PeerTest, AllocationWaitsForMemoryThatAnotherGivesBack) {
  auto a = attach(AttachMode::kPeer);
  Block most = must(a.arena.allocate(40 << 20));
  Workers other;
  other.start(
      [&] { EXPECT_TRUE(must(a.arena.allocate(40 << 20, {.wait_ms = 600'000})).free().ok()); });
  EXPECT_TRUE(most.free().ok());
  other.join();
}

// A process whose seccomp profile forbids membarrier.
class ConfinedPeerDeathTest : public ClientTest {
 protected:
  void SetUp() override {
    testing::FLAGS_gtest_death_test_style = "threadsafe";
    ClientTest::SetUp();
  }
};

TEST_F(ConfinedPeerDeathTest, IsToldWhyItCannotBeAPeerAndMayBeAWriter) {
  EXPECT_EXIT(
      {
        EXPECT_TRUE(test::forbid_syscall(SYS_membarrier));
        Session session = open(client);
        const Status refused = session.attach(arena_name, AttachMode::kPeer).error();
        EXPECT_EQ(refused.reason, Error::kModeUnavailable);
        EXPECT_NE(refused.message.find("membarrier"), std::string::npos) << refused.text();
        EXPECT_TRUE(must(session.attach(arena_name, AttachMode::kWriter)).allocate(64).ok());
        std::_Exit(HasFailure() ? 1 : 0);
      },
      testing::ExitedWithCode(0), "");
}

class HolderOnlyPeerTest : public PeerTest {
 protected:
  HolderOnlyPeerTest() { arena_options.holder_only = true; }
};

TEST_F(HolderOnlyPeerTest, OnlyTheHolderFrees) {
  auto a = attach(AttachMode::kPeer, 0);
  auto b = attach(AttachMode::kPeer, 1);
  Block block = must(a.arena.allocate(64));
  const Ref ref = block.ref();
  EXPECT_EQ(b.arena.try_free(ref), Error::kNotHolder);
  EXPECT_EQ(b.arena.free(ref).reason, Error::kNotHolder);
  Block taken = must(b.arena.take(block.release()));
  EXPECT_EQ(a.arena.try_free(ref), Error::kNotHolder);
  EXPECT_TRUE(taken.free().ok());
}

class DebugPeerTest : public PeerTest {
 protected:
  DebugPeerTest() { arena_options.debug = "FZPU"; }
};

TEST_F(DebugPeerTest, BlocksOfArenasWithDebugFlagsWorkToo) {
  auto a = attach(AttachMode::kPeer);
  std::vector<Block> blocks;
  for (int i = 0; i < 1000; ++i) {
    blocks.push_back(must(a.arena.allocate(100 + i)));
    std::memset(blocks.back().data(), 1, blocks.back().size_bytes());
  }
  for (Block& block : blocks) EXPECT_TRUE(block.free().ok());
}

}  // namespace
}  // namespace arenad::client
