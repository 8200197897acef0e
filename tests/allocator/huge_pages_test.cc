// Arenas with the option huge_pages: what they report is what the kernel has, whether it makes huge
// pages here or not.
#include "allocator/arena/huge_pages.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "allocator/arena/peer_arena.h"
#include "allocator/heap/heap.h"
#include "tests/allocator/arena_fixture.h"
#include "tests/allocator/counted_budget.h"
#include "tests/support/huge_mapped.h"
#include "tests/support/kept_pages.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/text.h"

namespace arenad {
namespace {

constexpr std::uint64_t kHugeArenaBytes = 16 * kMiB;

ArenaConfig with_huge_pages() {
  ArenaConfig options;
  options.name = "huge";
  options.id = {9};
  options.capacity_bytes = kHugeArenaBytes;
  options.max_heaps = 64;
  options.map_data = false;  // the option needs a mapping all the same
  options.huge_pages = true;
  return options;
}

std::unique_ptr<Arena> huge_arena(const ArenaConfig& options, const ArenaFiles* files = nullptr) {
  auto arena = Arena::create(options, files);
  EXPECT_TRUE(arena.ok()) << arena.error().message;
  return std::move(*arena);
}

void commit_all(Arena& arena) {
  const auto committed = arena.commit_ahead(arena.superslab_count());
  ASSERT_TRUE(committed.ok()) << arena.memory_refusal();
  ASSERT_EQ(arena.committed_bytes(), arena.capacity_bytes());
}

std::uint64_t bytes_of_file(const Arena& arena) {
  struct stat st {};
  EXPECT_EQ(::fstat(arena.data_fd(), &st), 0);
  return static_cast<std::uint64_t>(st.st_blocks) * 512;
}

std::span<const std::byte> data_of(const ArenaView& arena) {
  return {arena.data(), arena.capacity_bytes()};
}

void expect_report_is_true(const Arena& arena) {
  test::touch_all(data_of(arena));
  EXPECT_EQ(arena.huge_bytes(), test::huge_mapped_bytes(data_of(arena)));
  EXPECT_EQ(arena.huge_page_refusal().empty(), arena.huge_bytes() == arena.committed_bytes())
      << arena.huge_page_refusal();
}

// The kernel makes no huge pages for this process.
class NoHugePages {
 public:
  NoHugePages() { EXPECT_EQ(::prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0), 0); }
  ~NoHugePages() { ::prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0); }
  NoHugePages(const NoHugePages&) = delete;
  NoHugePages& operator=(const NoHugePages&) = delete;
};

TEST(HugePages, ReportIsWhatTheKernelHas) {
  const auto arena = huge_arena(with_huge_pages());
  EXPECT_EQ(arena->huge_bytes(), 0u);
  commit_all(*arena);
  EXPECT_EQ(bytes_of_file(*arena), kHugeArenaBytes);
  expect_report_is_true(*arena);
}

TEST(HugePages, OtherArenasHaveNoneAndReportNone) {
  ArenaConfig options = with_huge_pages();
  options.huge_pages = false;
  options.map_data = true;
  const auto arena = huge_arena(options);
  commit_all(*arena);
  test::touch_all(data_of(*arena));
  EXPECT_EQ(arena->huge_bytes(), 0u);
  EXPECT_EQ(arena->huge_page_refusal(), "");
}

TEST(HugePages, AnotherMappingHasThemToo) {
  const auto arena = huge_arena(with_huge_pages());
  commit_all(*arena);
  const auto peer =
      PeerArena::attach(::dup(arena->data_fd()), ::dup(arena->control_fd()), SessionId{5});
  ASSERT_TRUE(peer.ok()) << peer.error().message;
  EXPECT_TRUE((*peer)->options().huge_pages);
  test::touch_all(data_of(**peer));
  EXPECT_EQ(test::huge_mapped_bytes(data_of(**peer)), arena->huge_bytes());
}

TEST(HugePages, AreGivenBackAsOthersAre) {
  const auto arena = huge_arena(with_huge_pages());
  commit_all(*arena);
  while (arena->decommit_idle(1) != 0 || arena->committed_bytes() > kSuperslabBytes) {}
  EXPECT_EQ(bytes_of_file(*arena), kSuperslabBytes);
  EXPECT_LE(arena->huge_bytes(), kSuperslabBytes);
  expect_report_is_true(*arena);
  commit_all(*arena);
  expect_report_is_true(*arena);
  while (arena->committed_bytes() != 0) (void)arena->decommit_idle(0);
  EXPECT_EQ(bytes_of_file(*arena), 0u);
  const NoHugePages none;
  ASSERT_TRUE(arena->commit_ahead(1).ok());
  EXPECT_EQ(arena->huge_bytes(), 0u);
}

TEST(HugePages, CommitKeepsWhatAClientHasWrittenTooEarly) {
  const auto arena = huge_arena(with_huge_pages());
  std::memset(arena->data() + 3 * kPage, 'e', kPage);
  commit_all(*arena);
  EXPECT_EQ(arena->data()[3 * kPage], std::byte{'e'});
  EXPECT_EQ(arena->data()[4 * kPage], std::byte{0});
  expect_report_is_true(*arena);
}

TEST(HugePages, ArenaIsServedWithSmallPagesAndSaysWhy) {
  const NoHugePages none;
  const auto arena = huge_arena(with_huge_pages());
  commit_all(*arena);
  EXPECT_EQ(bytes_of_file(*arena), kHugeArenaBytes);
  EXPECT_EQ(arena->huge_bytes(), 0u);
  EXPECT_TRUE(has(arena->huge_page_refusal(), "MADV_COLLAPSE")) << arena->huge_page_refusal();
  EXPECT_TRUE(has(arena->huge_page_refusal(), "shmem_enabled")) << arena->huge_page_refusal();
  Heap heap(*arena, HeapId{0}, SessionId{1});
  const auto span = heap.allocate(kHugeArenaBytes, kHolder);
  ASSERT_TRUE(span.ok());
  std::memset(arena->data() + span->offset, 'x', kHugeArenaBytes);
  EXPECT_EQ(heap.free(span->ref), Error::kNone);
  expect_report_is_true(*arena);
}

TEST(HugePages, FullMachineIsAnErrorAndLeavesNothing) {
  CountedBudget budget;
  ArenaConfig options = with_huge_pages();
  options.budget = &budget;
  const auto arena = huge_arena(options);
  budget.room = kSuperslabBytes;
  EXPECT_FALSE(arena->commit_ahead(arena->superslab_count()).ok());
  EXPECT_EQ(bytes_of_file(*arena), arena->committed_bytes());
  expect_report_is_true(*arena);
}

TEST(HugePages, ArenaOfFilesHasThemAgainAfterARestart) {
  const test::TemporaryDirectory shm(test::kMemoryFiles);
  const ArenaFiles files{shm.path() + "/a.data", shm.path() + "/a.control",
                         shm.path() + "/a.ledger"};
  std::uint64_t huge = 0;
  Ref kept;
  {
    const auto arena = huge_arena(with_huge_pages(), &files);
    arena->finish_creation();
    Heap heap(*arena, HeapId{0}, SessionId{1});
    const auto span = heap.allocate(4 * kMiB, kHolder);
    ASSERT_TRUE(span.ok());
    std::memset(arena->data() + span->offset, 'k', 4 * kMiB);
    kept = span->ref;
    huge = arena->huge_bytes();
    expect_report_is_true(*arena);
  }
  auto ledger = Ledger::open_file(files.ledger_path);
  ASSERT_TRUE(ledger.ok());
  const auto again = Arena::open(files, std::move(*ledger), false);
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_TRUE((*again)->options().huge_pages);
  EXPECT_EQ((*again)->huge_bytes(), huge);
  expect_report_is_true(**again);
  const std::byte* const at =
      (*again)->data() + (*again)->describe(UntrustedRef{kept.value}).offset_bytes;
  EXPECT_EQ(std::count(at, at + 4 * kMiB, std::byte{'k'}), std::ptrdiff_t{4 * kMiB});
}

TEST(FirstPageOfSuperslab, PutsSuperslabsOnTheNodesInTurn) {
  for (std::uint64_t nodes = 1; nodes <= 9; ++nodes)
    for (std::uint64_t superslab = 0; superslab < 40; ++superslab) {
      const std::uint64_t page = first_page_of(superslab, nodes);
      ASSERT_LT(page, 512u);
      ASSERT_EQ((superslab * 512 + page) % nodes, superslab % nodes)
          << "superslab " << superslab << " of " << nodes << " nodes";
    }
}

}  // namespace
}  // namespace arenad
