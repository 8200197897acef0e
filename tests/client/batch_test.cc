#include <algorithm>
#include <vector>

#include "tests/client/client_fixture.h"

namespace arenad::client {
namespace {

class BatchTest : public ClientTest {};

TEST_F(BatchTest, FreeOfThousandWithThreeBadFreesTheRestAndNamesTheThree) {
  auto a = attach(AttachMode::kWriter);
  std::vector<Ref> refs = refs_of(must(a.arena.allocate_many(256, 1000)));
  ASSERT_TRUE(a.arena.free(refs[17]).ok());  // a double free, in what comes
  refs[500] = refs[499];                     // another one, inside of the batch
  const Ref lost = refs_of(must(a.arena.allocate_many(256, 1)))[0];
  refs[999] = Ref{~std::uint64_t{0}};  // no ref at all
  const BatchAnswer answer = must(a.arena.free(refs));
  EXPECT_EQ(answer.done, 997u);
  ASSERT_EQ(answer.errors.size(), 3u);
  EXPECT_EQ(answer.errors[0].index, 17u);
  EXPECT_EQ(answer.errors[1].index, 500u);
  EXPECT_EQ(answer.errors[1].ref, refs[499]);
  EXPECT_EQ(answer.errors[1].status.code, Code::kFailedPrecondition);
  EXPECT_EQ(answer.errors[2].index, 999u);
  EXPECT_EQ(answer.errors[2].status.reason, Error::kForeignRef);
  for (const RefError& error : answer.errors) EXPECT_FALSE(error.status.message.empty());
  EXPECT_EQ(facts().held_blocks,
            3u);  // the one kept on purpose and those whose refs were overwritten
  EXPECT_TRUE(a.arena.free(lost).ok());
}

TEST_F(BatchTest, BlocksOfOneBatchAreDistinctAndDoNotOverlap) {
  auto a = attach(AttachMode::kWriter);
  auto blocks = must(a.arena.allocate_many(200, 5000));
  std::sort(blocks.begin(), blocks.end(),
            [](const auto& x, const auto& y) { return x.offset_bytes < y.offset_bytes; });
  for (std::size_t i = 1; i < blocks.size(); ++i)
    ASSERT_LE(blocks[i - 1].offset_bytes + blocks[i - 1].usable_bytes, blocks[i].offset_bytes);
  EXPECT_TRUE(must(a.arena.free(refs_of(blocks))).all());
}

TEST_F(BatchTest, OneBlockOfEachSize) {
  auto a = attach(AttachMode::kRemote);
  const std::vector<std::uint64_t> sizes{8, 1, 513, 100'000, 3 << 20, 64};
  const auto blocks = must(a.arena.allocate_sizes(sizes));
  ASSERT_EQ(blocks.size(), sizes.size());
  for (std::size_t i = 0; i < sizes.size(); ++i) EXPECT_GE(blocks[i].usable_bytes, sizes[i]);
  EXPECT_TRUE(must(a.arena.free(refs_of(blocks))).all());
}

TEST_F(BatchTest, AllocateIsAllOrNothing) {
  auto a = attach(AttachMode::kRemote);
  const auto refused = a.arena.allocate_many(8 << 20, 100);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().reason, Error::kArenaFull);
  EXPECT_EQ(facts().held_blocks, 0u);
}

TEST_F(BatchTest, MoreThanOneCallsWorthOfRefsGoesInSeveral) {
  auto a = attach(AttachMode::kRemote);
  std::vector<Ref> refs;
  for (int i = 0; i < 3; ++i) {
    const auto some = refs_of(must(a.arena.allocate_many(16, 10'000)));
    refs.insert(refs.end(), some.begin(), some.end());
  }
  refs.push_back(refs.front());
  const BatchAnswer answer = must(a.arena.free(refs));
  EXPECT_EQ(answer.done, 30'000u);
  ASSERT_EQ(answer.errors.size(), 1u);
  EXPECT_EQ(answer.errors[0].index, 30'000u);  // in the caller's list, not in the second call's
}

TEST_F(BatchTest, DescribeKnowsHeldFreedAndForeign) {
  auto a = attach(AttachMode::kRemote);
  auto refs = refs_of(must(a.arena.allocate_many(512, 2, {.tag = 77})));
  ASSERT_TRUE(a.arena.free(refs[1]).ok());
  refs.push_back(Ref{~std::uint64_t{0}});
  const auto infos = must(a.arena.describe(refs));
  ASSERT_EQ(infos.size(), 3u);
  EXPECT_EQ(infos[0].state, BlockState::kHeld);
  EXPECT_EQ(infos[0].holder, a.session.id());
  EXPECT_EQ(infos[0].tag, 77u);
  EXPECT_EQ(infos[0].heap.value, a.arena.shard().value);  // a shard's heap has its number
  EXPECT_GE(infos[0].usable_bytes, 512u);
  EXPECT_EQ(infos[1].state, BlockState::kStale);
  EXPECT_EQ(infos[2].state, BlockState::kInvalid);
}

}  // namespace
}  // namespace arenad::client
