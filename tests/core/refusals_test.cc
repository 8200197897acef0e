// Every refusal of the data path: its error, and a message with the particulars and what to do.
#include "tests/core/daemon.h"

namespace arenad::server {
namespace {

template <class T>
void expect_refused(const Answer<T>& answer, Error error, const std::string& particular) {
  ASSERT_FALSE(answer.ok());
  EXPECT_EQ(answer.error().error, error)
      << error_name(answer.error().error) << ": " << answer.error().message;
  EXPECT_NE(answer.error().message.find(particular), std::string::npos) << answer.error().message;
  EXPECT_NE(answer.error().message.find(error_advice(error)), std::string::npos)
      << answer.error().message;
}

class Refusals : public ::testing::Test {
 protected:
  void SetUp() override {
    arena = daemon.create("a", 8 * kMiB)->id;
    key = daemon.open_attached("a", "alice");
  }
  Answer<AllocatedBlocks> allocate(const std::function<void(AllocateArgs&)>& change) {
    AllocateArgs args;
    args.session = key;
    args.arena_id = arena;
    args.size_bytes = 64;
    change(args);
    return daemon.allocate_later(1, args).get();
  }
  Daemon daemon{2};
  ArenaId arena;
  SessionKey key;
};

TEST_F(Refusals, SizeZero) {
  expect_refused(allocate([](auto& a) { a.size_bytes = 0; }), Error::kInvalidSize,
                 "size is 0 bytes");
}
TEST_F(Refusals, SizeAboveTheCapacityNamesTheLimit) {
  expect_refused(allocate([](auto& a) { a.size_bytes = 8 * kMiB + 1; }), Error::kInvalidSize,
                 "8388608 bytes");
  expect_refused(allocate([](auto& a) { a.size_bytes = ~std::uint64_t{0}; }), Error::kInvalidSize,
                 "8388608 bytes");
}
TEST_F(Refusals, CountAboveTheLimitAndCountZero) {
  expect_refused(allocate([](auto& a) { a.count = kMaxBlocksPerCall + 1; }), Error::kInvalidCount,
                 "16385");
  expect_refused(allocate([](auto& a) { a.count = 0; }), Error::kInvalidCount, "0 blocks");
}
TEST_F(Refusals, MoreBlocksThanTheArenaCouldEverHoldFailAtOnceEvenWhenTheyMayWait) {
  expect_refused(allocate([](auto& a) { a.size_bytes = kMiB, a.count = 9, a.wait_ms = 60'000; }),
                 Error::kArenaFull, "more than the capacity");
}
TEST_F(Refusals, AlignmentThatIsNoPowerOfTwoOrTooLarge) {
  expect_refused(allocate([](auto& a) { a.align_bytes = 24; }), Error::kInvalidAlignment, "24");
  expect_refused(allocate([](auto& a) { a.align_bytes = 8192; }), Error::kInvalidAlignment, "8192");
}
TEST_F(Refusals, BadSizesNameTheFirst) {
  expect_refused(allocate([](auto& a) {
                   a.size_bytes = 0, a.sizes = {1, 2, 0};
                 }),
                 Error::kInvalidSize, "sizes[2]");
  expect_refused(allocate([](auto& a) { a.sizes = {1}; }), Error::kInvalidSize, "both");
  expect_refused(
      allocate([](auto& a) { a.size_bytes = 0, a.sizes.assign(kMaxBlocksPerCall + 1, 8); }),
      Error::kInvalidCount, "16385");
}
TEST_F(Refusals, UnknownArena) {
  for (const ArenaId absent : {daemon.absent_id(), ArenaId{65535}}) {
    expect_refused(allocate([&](auto& a) { a.arena_id = absent; }), Error::kUnknownArena,
                   std::to_string(absent.value));
  }
}
TEST_F(Refusals, UnknownSessionOrAnotherSecret) {
  expect_refused(allocate([](auto& a) { a.session.id = {4000}; }), Error::kUnknownSession, "4000");
  expect_refused(allocate([](auto& a) { a.session.secret ^= 1; }), Error::kUnknownSession,
                 "secret");
}
TEST_F(Refusals, EndedSessionIsUnknownOnEveryShard) {
  ASSERT_TRUE(daemon.close(key).ok());
  for (const std::uint32_t shard : {0u, 1u}) {
    expect_refused(daemon.allocate(shard, key, arena, 64), Error::kUnknownSession,
                   std::to_string(key.id.value));
    expect_refused(daemon.free(shard, key, arena, {1}), Error::kUnknownSession,
                   std::to_string(key.id.value));
    expect_refused(daemon.acquire(shard, key, arena, {1}), Error::kUnknownSession,
                   std::to_string(key.id.value));
    expect_refused(daemon.describe(shard, key, arena, {1}), Error::kUnknownSession,
                   std::to_string(key.id.value));
  }
  expect_refused(daemon.close(key), Error::kUnknownSession, std::to_string(key.id.value));
}
TEST_F(Refusals, NotAttached) {
  const auto other = daemon.create("b", kMiB);
  expect_refused(daemon.allocate(0, key, other->id, 64), Error::kNotAttached, "'b'");
  expect_refused(daemon.free(0, key, other->id, {1}), Error::kNotAttached, "'b'");
  expect_refused(daemon.describe(0, key, other->id, {1}), Error::kNotAttached, "'b'");
}
TEST_F(Refusals, ReaderNeitherAllocatesNorFreesNorTakesOverButDescribes) {
  const auto got = daemon.allocate(0, key, arena, 64);
  const SessionKey reader = daemon.open_kept("reader");
  ASSERT_TRUE(daemon.attach(reader, "a", AttachMode::kReader).ok());
  expect_refused(daemon.allocate(0, reader, arena, 64), Error::kReadOnly, "reader");
  expect_refused(daemon.free(1, reader, arena, refs_of(*got)), Error::kReadOnly, "reader");
  expect_refused(daemon.acquire(1, reader, arena, refs_of(*got)), Error::kReadOnly, "reader");
  EXPECT_EQ((*daemon.describe(1, reader, arena, refs_of(*got)))[0].state, BlockFacts::State::kHeld);
}
TEST_F(Refusals, TooManyRefs) {
  const std::vector<std::uint64_t> refs(kMaxBlocksPerCall + 1);
  expect_refused(daemon.free(0, key, arena, refs), Error::kInvalidCount, "16385");
  expect_refused(daemon.acquire(0, key, arena, refs), Error::kInvalidCount, "16385");
  expect_refused(daemon.describe(0, key, arena, refs), Error::kInvalidCount, "16385");
}
TEST_F(Refusals, NoAttachMode) {
  expect_refused(daemon.attach(key, "a", AttachMode::kNone), Error::kModeUnavailable,
                 "no attach mode");
}

TEST(SessionQuota, CountsOverShardsAndArenasAndFollowsTakeOver) {
  EngineOptions options;
  options.limits.max_session_bytes = 10 * 1024;
  Daemon daemon(2, options);
  const auto a = daemon.create("a", 4 * kMiB), b = daemon.create("b", 4 * kMiB);
  const SessionKey alice = daemon.open_attached("a", "alice");
  ASSERT_TRUE(daemon.attach(alice, "b").ok());
  const auto first = daemon.allocate(0, alice, a->id, 1024, 6);
  ASSERT_TRUE(first.ok());
  const auto second = daemon.allocate(1, alice, b->id, 1024, 4);
  ASSERT_TRUE(second.ok());
  expect_refused(daemon.allocate(1, alice, a->id, 8), Error::kQuotaSession, "10 KiB");
  // Another session is not concerned, and a take-over is charged to who takes.
  const SessionKey bob = daemon.open_attached("a", "bob");
  const auto bobs = daemon.allocate(0, bob, a->id, 1024, 5);
  ASSERT_TRUE(bobs.ok());
  const auto taken = daemon.acquire(0, bob, a->id, refs_of(*first));
  EXPECT_EQ(taken->done, 5u);
  ASSERT_EQ(taken->errors.size(), 1u);
  EXPECT_EQ(taken->errors[0].error, Error::kQuotaSession);
  EXPECT_TRUE(daemon.allocate(1, alice, a->id, 1024, 5).ok());  // alice is rid of five
  EXPECT_FALSE(daemon.allocate(1, alice, a->id, 1024, 1).ok());
  EXPECT_EQ(daemon.free(0, bob, b->id, {1}).error().error, Error::kNotAttached);
  ASSERT_EQ(daemon.free(0, alice, b->id, refs_of(*second))->done, 4u);
  EXPECT_TRUE(daemon.allocate(1, alice, a->id, 1024, 4).ok());
}

}  // namespace
}  // namespace arenad::server
