// The shard's data path: allocate, free, acquire, describe.
#include <algorithm>
#include <set>

#include "tests/core/daemon.h"
#include "tests/support/refs.h"

namespace arenad::server {
namespace {

class DataPath : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto made = daemon.create("a", 64 * kMiB);
    ASSERT_TRUE(made.ok()) << made.error().message;
    arena = made->id;
    key = daemon.open_attached("a", "alice");
  }
  Daemon daemon{2};
  ArenaId arena;
  SessionKey key;
};

TEST_F(DataPath, AllocatedBlockIsHeldAndItsFreeGivesItBack) {
  const auto got = daemon.allocate(0, key, arena, 256);
  ASSERT_TRUE(got.ok()) << got.error().message;
  ASSERT_EQ(got->blocks.size(), 1u);
  EXPECT_EQ(got->usable_bytes, (std::vector<std::uint64_t>{256}));
  EXPECT_EQ(daemon.stats()->held_blocks, 1u);
  EXPECT_EQ(daemon.stats()->held_bytes, 256u);
  expect_exact(daemon, 1);
  const auto freed = daemon.free(0, key, arena, refs_of(*got));
  ASSERT_TRUE(freed.ok()) << freed.error().message;
  EXPECT_EQ(freed->done, 1u);
  EXPECT_EQ(daemon.stats()->held_blocks, 0u);
  EXPECT_EQ(daemon.stats()->held_bytes, 0u);
  expect_exact(daemon, 0);
}

TEST_F(DataPath, LargestBatchIsServedWithDistinctBlocks) {
  const auto got = daemon.allocate(0, key, arena, 512, kMaxBlocksPerCall);
  ASSERT_TRUE(got.ok()) << got.error().message;
  std::set<std::uint64_t> offsets;
  for (const Allocation& block : got->blocks) offsets.insert(block.offset);
  EXPECT_EQ(offsets.size(), kMaxBlocksPerCall);
  const auto freed = daemon.free(0, key, arena, refs_of(*got));
  EXPECT_EQ(freed->done, kMaxBlocksPerCall);
  expect_exact(daemon, 0);
}

TEST_F(DataPath, RemoteFreeTravelsToTheOwningShardAndIsCounted) {
  const auto got = daemon.allocate(0, key, arena, 128, 1000);
  ASSERT_TRUE(got.ok());
  EXPECT_EQ(daemon.free(1, key, arena, refs_of(*got))->done, 1000u);
  const auto stats = daemon.stats("a");
  EXPECT_EQ(stats->held_blocks, 0u);
  EXPECT_EQ(stats->shards[1].remote_frees_to[0], 1000u);
  EXPECT_EQ(stats->shards[1].heap.remote_frees, 1000u);
  expect_exact(daemon, 0);  // drains on the way
  EXPECT_EQ(daemon.stats("a")->shards[0].heap.drained_blocks, 1000u);
}

TEST_F(DataPath, SizesGetOneBlockEachWithItsOwnUsableSize) {
  AllocateArgs args;
  args.session = key;
  args.arena_id = arena;
  args.sizes = {8, 100, 4096, 200'000, 3 * kMiB};
  const auto got = daemon.allocate_later(0, args).get();
  ASSERT_TRUE(got.ok()) << got.error().message;
  ASSERT_EQ(got->usable_bytes.size(), 5u);
  const auto infos = daemon.describe(1, key, arena, refs_of(*got));
  for (std::size_t i = 0; i < 5; ++i) {
    EXPECT_GE(got->usable_bytes[i], args.sizes[i]);
    EXPECT_EQ((*infos)[i].usable_bytes, got->usable_bytes[i]);
    EXPECT_EQ((*infos)[i].offset_bytes, got->blocks[i].offset);
  }
  EXPECT_EQ(daemon.free(1, key, arena, refs_of(*got))->done, 5u);
  EXPECT_EQ(daemon.stats()->held_bytes, 0u);
  expect_exact(daemon, 0);
}

TEST_F(DataPath, SizesAreAllOrNothing) {
  AllocateArgs args;
  args.session = key;
  args.arena_id = arena;
  args.sizes = {100, 40 * kMiB, 100, 23 * kMiB,
                200'000};  // fits by its sum, not in whole superslabs
  args.sizes.resize(40, 30'000);
  const auto got = daemon.allocate_later(0, args).get();
  ASSERT_FALSE(got.ok());
  EXPECT_EQ(got.error().error, Error::kArenaFull);
  EXPECT_EQ(daemon.stats()->held_bytes, 0u);
  expect_exact(daemon, 0);
}

// Every size and alignment, in every layout: what a block is charged at its allocation is what its
// free takes off again.
TEST(DataPathAccounting, ChargeOfAnAllocationEqualsThatOfItsFree) {
  Daemon daemon(2);
  for (const char* const letters : {"", "Z", "FZPU"}) {
    const std::string name = std::string("arena-") + letters;
    const auto arena = daemon.create(name, 64 * kMiB, false, *parse_debug(letters));
    ASSERT_TRUE(arena.ok()) << arena.error().message;
    const SessionKey key = daemon.open_attached(name);
    for (const std::uint64_t size : {1ul, 8ul, 9ul, 511ul, 4096ul, 65'536ul, 131'072ul, 131'073ul,
                                     1'000'000ul, 2'097'152ul, 5'000'000ul}) {
      for (const std::uint32_t align : {0u, 16u, 64u, 4096u}) {
        if (*letters != 0 && align > 16) continue;
        AllocateArgs args;
        args.session = key;
        args.arena_id = arena->id;
        args.size_bytes = size;
        args.count = 3;
        args.align_bytes = align;
        const auto got = daemon.allocate_later(0, args).get();
        ASSERT_TRUE(got.ok()) << got.error().message;
        const auto infos = daemon.describe(0, key, arena->id, refs_of(*got));
        std::uint64_t strides = 0;
        for (const BlockFacts& info : *infos) {
          strides += info.stride_bytes;
          EXPECT_EQ(info.usable_bytes, got->usable_bytes[0]) << size << " aligned " << align;
          EXPECT_EQ(info.offset_bytes % (align == 0 ? 1 : align), 0u);
        }
        EXPECT_EQ(daemon.stats(name)->held_bytes, strides)
            << size << " aligned " << align << " in " << name;
        EXPECT_EQ(daemon.free(1, key, arena->id, refs_of(*got))->done, 3u);
        EXPECT_EQ(daemon.stats(name)->held_bytes, 0u)
            << size << " aligned " << align << " in " << name;
      }
    }
  }
  expect_exact(daemon, 0);
}

TEST_F(DataPath, ThousandRefsOfWhichThreeAreBadFree997AndNameTheThree) {
  const auto got = daemon.allocate(0, key, arena, 64, 1000);
  auto refs = refs_of(*got);
  ASSERT_EQ(daemon.free(0, key, arena, {refs[10]})->done, 1u);  // a double free later
  refs[500] = refs[499];           // the same twice in one call: the second is bad
  refs[900] = 0xdeadbeefdeadbeef;  // no ref of this arena
  const std::uint64_t kept = refs_of(*got)[500], lost = refs_of(*got)[900];
  const auto freed = daemon.free(0, key, arena, refs);
  ASSERT_TRUE(freed.ok());
  EXPECT_EQ(freed->done, 997u);
  ASSERT_EQ(freed->errors.size(), 3u);
  EXPECT_EQ(freed->errors[0].index, 10u);
  EXPECT_EQ(freed->errors[1].index, 500u);
  EXPECT_EQ(freed->errors[2].index, 900u);
  EXPECT_TRUE(freed->errors[0].error == Error::kDoubleFree ||
              freed->errors[0].error == Error::kStaleRef);
  EXPECT_EQ(freed->errors[2].error, Error::kForeignRef);
  EXPECT_NE(freed->errors[2].message.find("0xdeadbeefdeadbeef"), std::string::npos)
      << freed->errors[2].message;
  EXPECT_NE(freed->errors[2].message.find(error_advice(Error::kForeignRef)), std::string::npos);
  expect_exact(daemon, 2);
  EXPECT_EQ(daemon.free(1, key, arena, {kept, lost})->done, 2u);
  expect_exact(daemon, 0);
}

TEST_F(DataPath, SecondFreeFailsOnTheOwnersShardAndOnAnother) {
  const auto got = daemon.allocate(0, key, arena, 64, 2);
  const auto refs = refs_of(*got);
  EXPECT_EQ(daemon.free(0, key, arena, {refs[0]})->done, 1u);
  EXPECT_EQ(daemon.free(1, key, arena, {refs[1]})->done, 1u);
  for (const std::uint32_t shard : {0u, 1u}) {
    const auto again = daemon.free(shard, key, arena, refs);
    EXPECT_EQ(again->done, 0u);
    ASSERT_EQ(again->errors.size(), 2u);
    for (const RefFailure& e : again->errors) {
      EXPECT_TRUE(e.error == Error::kDoubleFree || e.error == Error::kStaleRef)
          << error_name(e.error);
    }
  }
  expect_exact(daemon, 0);
}

TEST_F(DataPath, StaleRefIsRefusedWhenItsBlockHasANewHolder) {
  const auto first = daemon.allocate(0, key, arena, 64);
  const std::uint64_t stale = first->blocks[0].ref.value;
  EXPECT_EQ(daemon.free(0, key, arena, {stale})->done, 1u);
  // The block is somewhere in the magazine: it comes out again.
  const auto many = daemon.allocate(0, key, arena, 64, 2000);
  const auto refs = refs_of(*many);
  const bool reused =
      std::any_of(many->blocks.begin(), many->blocks.end(),
                  [&](const Allocation& b) { return b.offset == first->blocks[0].offset; });
  ASSERT_TRUE(reused);
  const auto freed = daemon.free(0, key, arena, {stale});
  EXPECT_EQ(freed->done, 0u);
  EXPECT_EQ(freed->errors[0].error, Error::kStaleRef);
  EXPECT_EQ(daemon.free(0, key, arena, refs)->done, 2000u);
  expect_exact(daemon, 0);
}

TEST_F(DataPath, RefOfAnotherArenaIsForeign) {
  const auto other = daemon.create("b", 4 * kMiB);
  ASSERT_TRUE(daemon.attach(key, "b").ok());
  const auto got = daemon.allocate(0, key, other->id, 64);
  const auto freed = daemon.free(0, key, arena, refs_of(*got));
  EXPECT_EQ(freed->done, 0u);
  EXPECT_EQ(freed->errors[0].error, Error::kForeignRef);
  EXPECT_EQ(daemon.free(0, key, other->id, refs_of(*got))->done, 1u);
  expect_exact(daemon, 0);
}

TEST_F(DataPath, WhoHasTheRefMayFreeAndTheHolderIsDischarged) {
  const SessionKey bob = daemon.open_attached("a", "bob");
  const auto got = daemon.allocate(0, key, arena, 1024, 10);
  EXPECT_EQ(daemon.free(1, bob, arena, refs_of(*got))->done, 10u);
  for (const SessionFacts& session : daemon.sessions()) {
    ASSERT_EQ(session.attachments.size(), 1u);
    EXPECT_EQ(session.attachments[0].held_blocks, 0u) << session.name;
  }
}

TEST_F(DataPath, TakeOverMovesTheBlocksToTheNewHolder) {
  const SessionKey bob = daemon.open_attached("a", "bob");
  const auto got = daemon.allocate(0, key, arena, 1024, 10);
  const auto taken = daemon.acquire(1, bob, arena, refs_of(*got), 77);
  ASSERT_TRUE(taken.ok());
  EXPECT_EQ(taken->done, 10u);
  for (const SessionFacts& session : daemon.sessions()) {
    EXPECT_EQ(session.attachments[0].held_blocks, session.name == "bob" ? 10u : 0u) << session.name;
    EXPECT_EQ(session.attachments[0].held_bytes, session.name == "bob" ? 10240u : 0u)
        << session.name;
  }
  const auto infos = daemon.describe(0, key, arena, refs_of(*got));
  EXPECT_EQ((*infos)[0].holder.session(), bob.id);
  EXPECT_EQ((*infos)[0].holder.tag(), 77u);
  // The end of the producer no longer matters.
  EXPECT_EQ(daemon.close(key)->blocks, 0u);
  expect_exact(daemon, 10);
  EXPECT_EQ(daemon.free(0, bob, arena, refs_of(*got))->done, 10u);
  const auto again = daemon.acquire(0, bob, arena, refs_of(*got));
  EXPECT_EQ(again->done, 0u);
  EXPECT_EQ(again->errors.size(), 10u);
  EXPECT_EQ(daemon.stats()->held_bytes, 0u);
  expect_exact(daemon, 0);
}

TEST_F(DataPath, HolderOnlyArenaLetsTheHolderAloneFree) {
  const auto strict = daemon.create("strict", 4 * kMiB, true);
  ASSERT_TRUE(daemon.attach(key, "strict").ok());
  const SessionKey bob = daemon.open_attached("strict", "bob");
  const auto got = daemon.allocate(0, key, strict->id, 64, 2);
  const auto refused = daemon.free(1, bob, strict->id, refs_of(*got));
  EXPECT_EQ(refused->done, 0u);
  ASSERT_EQ(refused->errors.size(), 2u);
  EXPECT_EQ(refused->errors[0].error, Error::kNotHolder);
  EXPECT_NE(refused->errors[0].message.find("Acquire"), std::string::npos)
      << refused->errors[0].message;
  EXPECT_EQ(daemon.acquire(1, bob, strict->id, refs_of(*got))->done, 2u);
  EXPECT_EQ(daemon.free(0, key, strict->id, refs_of(*got))->done, 0u);
  EXPECT_EQ(daemon.free(1, bob, strict->id, refs_of(*got))->done, 2u);
  expect_exact(daemon, 0);
}

TEST_F(DataPath, DescribeNeverFailsForABadRef) {
  const auto got = daemon.allocate(0, key, arena, 64);
  const std::uint64_t good = got->blocks[0].ref.value;
  const std::uint64_t stale =
      ref_of(generation_of(Ref{good}) ^ 1, Ref{good}.arena(), slot_of(Ref{good})).value;
  const auto infos = daemon.describe(1, key, arena, {good, stale, 0, ~std::uint64_t{0}});
  ASSERT_TRUE(infos.ok());
  EXPECT_EQ((*infos)[0].state, BlockFacts::State::kHeld);
  EXPECT_EQ((*infos)[0].holder.session(), key.id);
  EXPECT_EQ((*infos)[0].heap.value, 0u);
  EXPECT_EQ((*infos)[1].state, BlockFacts::State::kStale);
  EXPECT_EQ((*infos)[2].state, BlockFacts::State::kInvalid);
  EXPECT_EQ((*infos)[3].state, BlockFacts::State::kInvalid);
  EXPECT_EQ(daemon.free(0, key, arena, {good})->done, 1u);
}

TEST_F(DataPath, HoldersAreListedBySessionAndTagLargestFirst) {
  const SessionKey bob = daemon.open_attached("a", "bob");
  AllocateArgs args;
  args.arena_id = arena;
  args.session = key;
  args.size_bytes = 1024;
  args.count = 5;
  args.tag = 1;
  const auto small = daemon.allocate_later(0, args).get();
  args.tag = 2;
  args.count = 50;
  const auto large = daemon.allocate_later(1, args).get();
  args.session = bob;
  args.count = 20;
  const auto bobs = daemon.allocate_later(0, args).get();
  const auto holders = wait_for<Holders>(
      [&](auto done) { daemon.control().list_holders(daemon_itself(), "a", 2, done); });
  ASSERT_TRUE(holders.ok());
  EXPECT_EQ(holders->total_blocks, 75u);
  EXPECT_EQ(holders->total_bytes, 75u * 1024);
  ASSERT_EQ(holders->rows.size(), 2u);
  EXPECT_EQ(holders->rows[0].blocks, 50u);
  EXPECT_EQ(holders->rows[0].tag, 2u);
  EXPECT_EQ(holders->rows[0].session_name, "alice");
  EXPECT_EQ(holders->rows[1].session_name, "bob");
}

TEST_F(DataPath, SlabInfoAddsUpToWhatIsHeld) {
  const auto got = daemon.allocate(1, key, arena, 512, 300);
  const auto rows = wait_for<std::vector<SlabInfoRow>>(
      [&](auto done) { daemon.control().slab_info(daemon_itself(), "a", done); });
  ASSERT_TRUE(rows.ok());
  bool found = false;
  for (const SlabInfoRow& row : *rows) {
    const ClassUsage& u = row.usage;
    EXPECT_EQ(u.active_blocks + u.free_blocks + u.uncarved_blocks, u.capacity_blocks);
    if (row.usable_bytes != 512) continue;
    found = true;
    EXPECT_EQ(row.shard, ShardId{1});
    EXPECT_EQ(u.active_blocks - u.cached_blocks, 300u);
    EXPECT_EQ(row.blocks_per_slab, row.slab_bytes / row.stride_bytes);
  }
  EXPECT_TRUE(found);
  EXPECT_EQ(daemon.free(1, key, arena, refs_of(*got))->done, 300u);
}

}  // namespace
}  // namespace arenad::server
