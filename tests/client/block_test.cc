#include <cstring>

#include "tests/client/client_fixture.h"

namespace arenad::client {
namespace {

class BlockTest : public ClientTest {};

TEST_F(BlockTest, GoesBackWhenItsBlockGoesAway) {
  auto a = attach(AttachMode::kWriter);
  {
    const Block block = must(a.arena.allocate(1000));
    EXPECT_GE(block.size_bytes(), 1000u);
    EXPECT_EQ(facts().held_blocks, 1u);
  }
  EXPECT_EQ(facts().held_blocks, 0u);
}

TEST_F(BlockTest, MoveLeavesOneOwner) {
  auto a = attach(AttachMode::kWriter);
  Block first = must(a.arena.allocate(64));
  const Ref ref = first.ref();
  Block second = std::move(first);
  EXPECT_TRUE(first.empty());  // NOLINT: a moved-from Block is empty by contract
  EXPECT_EQ(first.data(), nullptr);
  EXPECT_EQ(second.ref(), ref);
  EXPECT_EQ(facts().held_blocks, 1u);
}

TEST_F(BlockTest, AssignmentFreesTheBlockThatWasThere) {
  auto a = attach(AttachMode::kWriter);
  Block block = must(a.arena.allocate(64));
  const Ref old = block.ref();
  block = must(a.arena.allocate(64));  // of the same slab, so that the slab stays
  EXPECT_EQ(facts().held_blocks, 1u);
  EXPECT_EQ(a.arena.free(old).reason, Error::kDoubleFree);
}

TEST_F(BlockTest, ReleasedRefIsTheCallersToFree) {
  auto a = attach(AttachMode::kWriter);
  Ref ref;
  {
    Block block = must(a.arena.allocate(64));
    ref = block.release();
    EXPECT_TRUE(block.empty());
  }
  EXPECT_EQ(facts().held_blocks, 1u);
  EXPECT_TRUE(a.arena.free(ref).ok());
  EXPECT_EQ(facts().held_blocks, 0u);
}

TEST_F(BlockTest, FreeSaysHowItWent) {
  auto a = attach(AttachMode::kWriter);
  // Keeps the slab. The daemon may reclaim an empty slab, and then the ref is stale.
  const Block neighbour = must(a.arena.allocate(64));
  Block block = must(a.arena.allocate(64));
  ASSERT_TRUE(a.arena.free(block.ref()).ok());
  const Status status = block.free();
  EXPECT_EQ(status.code, Code::kFailedPrecondition);
  EXPECT_EQ(status.reason, Error::kDoubleFree);
  EXPECT_FALSE(status.message.empty());
  EXPECT_TRUE(block.empty());
}

TEST_F(BlockTest, RemoteAttachmentAllocatesAndMapsNothing) {
  auto a = attach(AttachMode::kRemote);
  const Block block = must(a.arena.allocate(64));
  EXPECT_EQ(block.data(), nullptr);
  EXPECT_TRUE(block.bytes().empty());
  EXPECT_TRUE(a.arena.data().empty());
  EXPECT_NE(block.ref().value, 0u);
}

TEST_F(BlockTest, AlignmentIsKept) {
  auto a = attach(AttachMode::kWriter);
  const Block block = must(a.arena.allocate(100, {.align_bytes = 4096}));
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(block.data()) % 4096, 0u);
}

TEST_F(BlockTest, RefusedSizesSayWhatToDo) {
  auto a = attach(AttachMode::kWriter);
  for (const std::uint64_t size : {std::uint64_t{0}, std::uint64_t{1} << 40}) {
    const auto refused = a.arena.allocate(size);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code, Code::kInvalidArgument);
    EXPECT_EQ(refused.error().reason, Error::kInvalidSize);
    EXPECT_FALSE(refused.error().message.empty());
  }
  EXPECT_EQ(a.arena.allocate(8, {.align_bytes = 24}).error().reason, Error::kInvalidAlignment);
  EXPECT_EQ(a.arena.allocate_many(8, 0).error().reason, Error::kInvalidCount);
  EXPECT_EQ(a.arena.allocate_many(8, kMaxBlocksPerCall + 1).error().reason, Error::kInvalidCount);
}

TEST_F(BlockTest, FullArenaNamesTheBiggestHolder) {
  auto a = attach(AttachMode::kWriter);
  std::vector<Block> blocks;
  Status refused;
  while (refused.ok() && blocks.size() < 100) {
    auto block = a.arena.allocate(4 << 20);
    if (block)
      blocks.push_back(std::move(*block));
    else
      refused = block.error();
  }
  EXPECT_EQ(refused.code, Code::kResourceExhausted);
  EXPECT_EQ(refused.reason, Error::kArenaFull);
  EXPECT_NE(refused.message.find("test"), std::string::npos)
      << refused.message;  // the session's name
}

TEST_F(BlockTest, AllocationWaitsForMemoryThatAnotherGivesBack) {
  auto a = attach(AttachMode::kWriter);
  Block most = must(a.arena.allocate(40 << 20));
  EXPECT_EQ(a.arena.allocate(40 << 20, {.wait_ms = 20}).error().reason, Error::kWaitExpired);
  CallPump pump = must(CallPump::open(a.arena));
  pump.allocate(1, 40 << 20, 1, {.wait_ms = 30'000});
  EXPECT_EQ(pump.next(50), nullptr);  // it waits
  ASSERT_TRUE(most.free().ok());
  const CallPump::Completion* done = pump.next(40'000);
  ASSERT_NE(done, nullptr);
  ASSERT_TRUE(done->status.ok()) << done->status.text();
  EXPECT_TRUE(a.arena.own(done->blocks.at(0)).free().ok());
}

}  // namespace
}  // namespace arenad::client
