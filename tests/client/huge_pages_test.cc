// Arenas with `huge_pages` and `numa`, through the daemon: each mapping of the library has the huge
// pages that the daemon reports.
#include <span>
#include <string>

#include "arenad/arenad.h"
#include "tests/client/client_fixture.h"
#include "tests/support/huge_mapped.h"
#include "tests/support/sizes.h"
#include "tests/support/text.h"

namespace arenad::client {
namespace {

class HugePagesTest : public ClientTest, public testing::WithParamInterface<AttachMode> {
 protected:
  HugePagesTest() {
    arena_options.capacity_bytes = 16 * kMiB;
    arena_options.pinned = true;  // so that all memory is there at once
    arena_options.huge_pages = true;
  }
};

std::string huge_mode(const testing::TestParamInfo<AttachMode>& test) {
  return test.param == AttachMode::kReader   ? "Reader"
         : test.param == AttachMode::kWriter ? "Writer"
                                             : "Peer";
}
INSTANTIATE_TEST_SUITE_P(Modes, HugePagesTest,
                         testing::Values(AttachMode::kReader, AttachMode::kWriter,
                                         AttachMode::kPeer),
                         huge_mode);

TEST_P(HugePagesTest, MappingHasWhatTheDaemonReports) {
  EXPECT_TRUE(facts().huge_pages);
  EXPECT_EQ(facts().committed_bytes, 16 * kMiB);
  EXPECT_EQ(facts().huge_page_fallback.empty(), facts().huge_page_bytes == 16 * kMiB);
  const Attached mine = attach(GetParam());
  test::touch_all(mine.arena.data());
  EXPECT_EQ(test::huge_mapped_bytes(mine.arena.data()), facts().huge_page_bytes);
}

class NumaTest : public ClientTest {
 protected:
  NumaTest() { arena_options.numa = "interleave"; }
};

TEST_F(NumaTest, PolicyAndWhatCameOfItAreFacts) {
  EXPECT_EQ(facts().numa, "interleave");
  EXPECT_FALSE(facts().huge_pages);
  ArenaOptions options;
  options.capacity_bytes = 2 * kMiB;
  options.numa = "61";
  const auto refused = client.create_arena("nowhere", options);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().reason, Error::kInvalidOption);
  EXPECT_TRUE(has(refused.error().message, "nodes with memory for arenad are"))
      << refused.error().message;
}

TEST_F(NumaTest, TopologySaysWhereShardsAre) {
  ASSERT_FALSE(client.topology().shards.empty());
  for (const Shard& shard : client.topology().shards) {
    EXPECT_GE(shard.cpu, 0);
    EXPECT_GE(shard.numa_node, 0);
  }
}

}  // namespace
}  // namespace arenad::client
