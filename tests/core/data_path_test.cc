// The shard's data path: allocate, free, acquire, describe, and every refusal with its message.
#include <set>

#include "tests/core/daemon.h"

namespace arenad::server {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;

TEST(DataPath, AllocatedBlockIsHeldAndItsFreeGivesItBack) {
  Daemon daemon(1);
  const auto arena = daemon.create("a", 64 * kMiB);
  ASSERT_TRUE(arena.ok()) << arena.error().message;
  const SessionKey key = daemon.open_attached("a");
  const auto got = daemon.allocate(0, key, arena->id, 256);
  ASSERT_TRUE(got.ok()) << got.error().message;
  ASSERT_EQ(got->blocks.size(), 1u);
  EXPECT_EQ(got->usable_bytes, (std::vector<std::uint64_t>{256}));
  EXPECT_EQ(daemon.stats()->held_blocks, 1u);
  EXPECT_EQ(daemon.stats()->held_bytes, 256u);
  expect_exact(daemon, 1);
  const auto freed = daemon.free(0, key, arena->id, refs_of(*got));
  ASSERT_TRUE(freed.ok()) << freed.error().message;
  EXPECT_EQ(freed->done, 1u);
  EXPECT_EQ(daemon.stats()->held_blocks, 0u);
  EXPECT_EQ(daemon.stats()->held_bytes, 0u);
  expect_exact(daemon, 0);
}

}  // namespace
}  // namespace arenad::server
