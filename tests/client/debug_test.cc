// Arenas with debug flags, through the daemon and as a peer.
#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "arenad/arenad.h"
#include "tests/client/client_fixture.h"
#include "tests/support/sizes.h"

namespace arenad::client {
namespace {

std::string debug_mode(const testing::TestParamInfo<AttachMode>& test) {
  return test.param == AttachMode::kPeer ? "Peer" : "Writer";
}

class NoDebugTest : public ClientTest, public testing::WithParamInterface<AttachMode> {
 protected:
  // Writes behind a block, and into a block that was freed, which then is handed out again.
  void make_mistakes(const ArenaHandle& arena, std::uint64_t size = 100) {
    const AllocatedBlock over = must(arena.allocate_many(size, 1)).front();
    *(arena.bytes(over).data() + over.usable_bytes) ^= std::byte{1};
    EXPECT_TRUE(must(arena.free(std::vector{over.ref})).all());
    const AllocatedBlock freed = must(arena.allocate_many(size, 1)).front();
    EXPECT_TRUE(must(arena.free(std::vector{freed.ref})).all());
    arena.bytes(freed)[3] ^= std::byte{1};
    EXPECT_EQ(must(arena.free(std::vector{freed.ref})).errors.size(), 1u);
    for (bool again = false; !again;) {
      const auto blocks = must(arena.allocate_many(size, 100));
      again = std::ranges::any_of(
          blocks, [&](const AllocatedBlock& b) { return b.offset_bytes == freed.offset_bytes; });
    }
  }
};
class DebugArenaTest : public NoDebugTest {
 protected:
  DebugArenaTest() { arena_options.debug = "UPZF"; }
};
constexpr AttachMode kDebugModes[] = {AttachMode::kWriter, AttachMode::kPeer};
INSTANTIATE_TEST_SUITE_P(Modes, NoDebugTest, testing::ValuesIn(kDebugModes), debug_mode);
INSTANTIATE_TEST_SUITE_P(Modes, DebugArenaTest, testing::ValuesIn(kDebugModes), debug_mode);

TEST_P(DebugArenaTest, MistakesAreFoundWhoeverMadeThem) {
  EXPECT_EQ(facts().debug, "FZPU");
  EXPECT_EQ(facts().debug_findings, 0u);
  const Attached mine = attach(GetParam());
  make_mistakes(mine.arena);
  EXPECT_EQ(facts().debug_findings, 3u) << "a redzone, a poison and a second free";
}

TEST_P(NoDebugTest, WithoutFlagsNothingIsFound) {
  EXPECT_EQ(facts().debug, "");
  const Attached mine = attach(GetParam());
  make_mistakes(mine.arena);
  EXPECT_EQ(facts().debug_findings, 0u);
  const AllocatedBlock block = must(mine.arena.allocate_many(100, 1)).front();
  EXPECT_FALSE(must(mine.arena.describe(std::vector{block.ref})).front().track);
}

TEST_P(DebugArenaTest, DescribeTellsWhoAllocatedAndWhoFreed) {
  const Attached mine = attach(GetParam());
  const Attached other = attach(AttachMode::kWriter, 1);
  for (const std::uint64_t size : {8ul, 5000ul, 3 * kMiB}) {
    const AllocatedBlock block = must(mine.arena.allocate_many(size, 1, {.tag = 42})).front();
    const auto track = [&] {
      return must(mine.arena.describe(std::vector{block.ref})).front().track.value();
    };
    const BlockTrack held = track();
    EXPECT_EQ(held.allocated.session, mine.session.id());
    EXPECT_EQ(held.allocated.tag, 42u);
    EXPECT_NE(held.allocated.time_ns, 0u);
    EXPECT_TRUE(must(other.arena.free(std::vector{block.ref})).all());
    if (size == 3 * kMiB) continue;  // its memory may be another run's by now
    const BlockTrack freed = track();
    EXPECT_EQ(freed.freed.session, other.session.id());
    EXPECT_EQ(freed.freed.tag, 42u);
    EXPECT_GE(freed.freed.time_ns, held.allocated.time_ns);
  }
}

TEST_P(DebugArenaTest, WhatAnEndedSessionHasOverwrittenIsFound) {
  {
    const Attached mine = attach(GetParam());
    const AllocatedBlock over = must(mine.arena.allocate_many(100, 1)).front();
    *(mine.arena.bytes(over).data() + over.usable_bytes) ^= std::byte{1};
  }
  EXPECT_TRUE(eventually([&] { return facts().debug_findings == 1; }));
}

TEST_F(ClientTest, ImpossibleDebugFlagsAreRefused) {
  for (const char* wrong : {"X", "ff", "ZZ", "F,Z"}) {
    const auto made = client.create_arena("debugged", {.capacity_bytes = 2 * kMiB, .debug = wrong});
    ASSERT_FALSE(made) << wrong;
    EXPECT_EQ(made.error().reason, Error::kInvalidOption) << wrong;
    EXPECT_NE(made.error().message.find("some of the letters F, Z, P and U"), std::string::npos);
  }
  for (const bool zero : {true, false}) {
    const auto made = client.create_arena(
        "debugged", {.capacity_bytes = 2 * kMiB, .zero = zero, .scrub = !zero, .debug = "P"});
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().reason, Error::kInvalidOption);
    EXPECT_NE(made.error().message.find("leave out P, or zero and scrub"), std::string::npos);
  }
}

}  // namespace
}  // namespace arenad::client
