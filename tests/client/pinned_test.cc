// Pinned arenas: who keeps a block's pages by itself (io_uring, RDMA, cudaHostRegister) keeps those
// that the arena shows, whatever is freed and trimmed meanwhile.
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "arenad/arenad.h"
#include "tests/client/client_fixture.h"
#include "tests/support/kept_pages.h"
#include "tests/support/sizes.h"

namespace arenad::client {
namespace {

using test::FixedBuffer;
using test::kKeptBytes;
using test::SplicedPage;

constexpr std::uint64_t kSpanBytes = 2 * kMiB;  // a superslab: what a trim gives back as a whole
constexpr std::uint32_t kSpans = 16;

std::string page_of(char c) { return std::string(kKeptBytes, c); }

std::string page_at(const std::byte* at) { return {reinterpret_cast<const char*>(at), kKeptBytes}; }

class OrdinaryTest : public ClientTest, public testing::WithParamInterface<AttachMode> {
 protected:
  OrdinaryTest() { arena_options.capacity_bytes = kSpans * kSpanBytes; }

  static AllocatedBlock highest(const std::vector<AllocatedBlock>& blocks) {
    return *std::ranges::max_element(blocks, {}, &AllocatedBlock::offset_bytes);
  }
  // Takes all of the arena, gives it back and trims, so that an arena gives back what it may.
  void free_and_trim(const ArenaHandle& arena, const std::vector<AllocatedBlock>& blocks) {
    const std::vector<Ref> refs = refs_of(blocks);
    ASSERT_TRUE(must(arena.free(refs)).all());
    ASSERT_TRUE(admin.trim(arena_name).ok());
    for (int again = 0; again < 3; ++again) {
      const auto others = must(arena.allocate_many(kSpanBytes / 4, kSpans));
      ASSERT_TRUE(must(arena.free(refs_of(others))).all());
      ASSERT_TRUE(admin.trim(arena_name).ok());
    }
  }
  // Keeps a page of a block in both ways, frees the block and trims, and allocates the same place
  // again. Then the new holder writes there, and the kernel reads a file into the fixed buffer.
  struct Seen {
    std::string by_keeper;   // what the pipe shows of what the new holder has written
    std::string in_mapping;  // what the new holder sees of what the kernel has read; empty: refused
  };
  Seen keep_and_reuse() {
    const Attached mine = attach(GetParam());
    const auto blocks = must(mine.arena.allocate_many(kSpanBytes, kSpans));
    const std::uint64_t place = highest(blocks).offset_bytes;
    std::byte* const at = mine.arena.bytes(highest(blocks)).data();
    std::memset(at, 'o', kKeptBytes);
    SplicedPage spliced(at);
    FixedBuffer fixed(at);
    EXPECT_TRUE(spliced.kept());
    free_and_trim(mine.arena, blocks);

    const auto again = must(mine.arena.allocate_many(kSpanBytes, kSpans));
    EXPECT_EQ(highest(again).offset_bytes, place);
    std::memset(at, 'n', kKeptBytes);
    Seen seen{spliced.read(), {}};
    if (fixed.refusal().empty()) {
      const int file = ::memfd_create("test", MFD_CLOEXEC);
      const std::string wanted = page_of('r');
      EXPECT_EQ(::write(file, wanted.data(), wanted.size()), static_cast<ssize_t>(wanted.size()));
      EXPECT_TRUE(fixed.read_file(file));
      ::close(file);
      seen.in_mapping = page_at(at);
    } else {
      // The pipe has proven the same: it keeps the page just so.
      std::cerr << "without io_uring: " << fixed.refusal() << '\n';
    }
    EXPECT_TRUE(must(mine.arena.free(refs_of(again))).all());
    return seen;
  }

  Admin admin{must(Client::connect(shared_daemon().socket_dir(), {.administrate = true}))};
};

class PinnedTest : public OrdinaryTest {
 protected:
  PinnedTest() { arena_options.pinned = true; }
};

std::string name_of(const testing::TestParamInfo<AttachMode>& test) {
  return test.param == AttachMode::kPeer ? "Peer" : "Writer";
}
INSTANTIATE_TEST_SUITE_P(Modes, OrdinaryTest,
                         testing::Values(AttachMode::kWriter, AttachMode::kPeer), name_of);
INSTANTIATE_TEST_SUITE_P(Modes, PinnedTest, testing::Values(AttachMode::kWriter, AttachMode::kPeer),
                         name_of);

TEST_P(PinnedTest, KeptPageIsTheBlocksPageAfterFreesAndTrims) {
  const Seen seen = keep_and_reuse();
  EXPECT_EQ(seen.by_keeper, page_of('n'));
  if (!seen.in_mapping.empty()) {
    EXPECT_EQ(seen.in_mapping, page_of('r'));
  }
}

// Shows that the test above sees what it is for.
TEST_P(OrdinaryTest, KeptPageIsStaleAfterATrim) {
  const Seen seen = keep_and_reuse();
  EXPECT_EQ(seen.by_keeper, page_of('o'));
  if (!seen.in_mapping.empty()) {
    EXPECT_EQ(seen.in_mapping, page_of('n')) << "the kernel read into a page that nobody sees";
  }
}

TEST_P(PinnedTest, AllMemoryIsCommittedFromTheBeginningToTheEnd) {
  EXPECT_TRUE(facts().pinned);
  EXPECT_FALSE(facts().locked);
  EXPECT_EQ(facts().committed_bytes, facts().capacity_bytes);
  const Attached mine = attach(GetParam());
  free_and_trim(mine.arena, must(mine.arena.allocate_many(kSpanBytes, kSpans)));
  EXPECT_EQ(facts().committed_bytes, facts().capacity_bytes);
}

}  // namespace
}  // namespace arenad::client
