// Arenas with `zero` and with `scrub`, through the daemon and as a peer.
#include <algorithm>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "arenad/arenad.h"
#include "tests/client/client_fixture.h"
#include "tests/support/sizes.h"

namespace arenad::client {
namespace {

constexpr std::uint64_t kWipeSizes[] = {16, 256, 1000, 5000, 100'000, 3 * kMiB};
constexpr std::uint32_t kWipeEach = 4;

std::string wipe_mode(const testing::TestParamInfo<AttachMode>& test) {
  return test.param == AttachMode::kPeer ? "Peer" : "Writer";
}

class NoWipeTest : public ClientTest, public testing::WithParamInterface<AttachMode> {
 protected:
  static bool all_zero(std::span<const std::byte> bytes) {
    return bytes.empty() || (bytes[0] == std::byte{0} &&
                             std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
  }
  static std::vector<AllocatedBlock> fill(const ArenaHandle& arena, bool* read_zero = nullptr) {
    std::vector<AllocatedBlock> all;
    for (const std::uint64_t size : kWipeSizes)
      for (const AllocatedBlock& block : must(arena.allocate_many(size, kWipeEach))) {
        if (read_zero != nullptr) *read_zero &= all_zero(arena.bytes(block));
        std::ranges::fill(arena.bytes(block), std::byte{0xa5});
        all.push_back(block);
      }
    return all;
  }
  // A session fills blocks, frees some, and ends with the others.
  void use_and_end(bool* read_zero = nullptr) {
    const Attached mine = attach(GetParam());
    const std::vector<AllocatedBlock> blocks = fill(mine.arena, read_zero);
    std::vector<Ref> some = refs_of(blocks);
    some.resize(some.size() / 2);
    EXPECT_TRUE(must(mine.arena.free(some)).all());
  }
};
class ZeroArenaTest : public NoWipeTest {
 protected:
  ZeroArenaTest() { arena_options.zero = true; }
};
class ScrubArenaTest : public NoWipeTest {
 protected:
  ScrubArenaTest() { arena_options.scrub = true; }
};
constexpr AttachMode kModes[] = {AttachMode::kWriter, AttachMode::kPeer};
INSTANTIATE_TEST_SUITE_P(Modes, NoWipeTest, testing::ValuesIn(kModes), wipe_mode);
INSTANTIATE_TEST_SUITE_P(Modes, ZeroArenaTest, testing::ValuesIn(kModes), wipe_mode);
INSTANTIATE_TEST_SUITE_P(Modes, ScrubArenaTest, testing::ValuesIn(kModes), wipe_mode);

TEST_P(ZeroArenaTest, BlocksReadAsZerosWhoeverHadThemBefore) {
  EXPECT_TRUE(facts().zero);
  bool read_zero = true;
  for (int session = 0; session < 3; ++session) use_and_end(&read_zero);
  EXPECT_TRUE(read_zero);
}

TEST_P(ScrubArenaTest, NothingIsLeftOfASessionThatHasEnded) {
  EXPECT_TRUE(facts().scrub);
  use_and_end();
  const Attached reader = attach(AttachMode::kReader);
  EXPECT_TRUE(eventually([&] { return all_zero(reader.arena.data()); }));
}

TEST_P(NoWipeTest, BytesOfASessionStayInOtherArenas) {
  use_and_end();
  const Attached reader = attach(AttachMode::kReader);
  EXPECT_FALSE(all_zero(reader.arena.data()));
  bool read_zero = true;
  use_and_end(&read_zero);
  EXPECT_FALSE(read_zero);
}

}  // namespace
}  // namespace arenad::client
