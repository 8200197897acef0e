// Committer: memory comes before it is used, stays where it is used, and a refusal leaves nothing.
#include "allocator/arena/committer.h"
#include "tests/allocator/counted_budget.h"
#include "tests/support/refs.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <utility>

namespace arenad {
namespace {

constexpr std::uint64_t kCapacity = 4 * kSuperslabBytes;
constexpr std::uint32_t kUnits = 4 * kUnitsPerSuperslab;
constexpr std::uint32_t kHeaps = 4;
constexpr std::uint64_t kFirstWord = kSmallRefs.free_word(4711);

MemoryFile memfd(std::uint64_t bytes) {
  auto made = MemoryFile::create("test", bytes, true);
  EXPECT_TRUE(made.ok());
  return std::move(*made);
}

class CommitterTest : public ::testing::Test {
 protected:
  static std::uint64_t backed_bytes(const MemoryFile& file) {
    struct stat st {};
    EXPECT_EQ(::fstat(file.fd(), &st), 0);
    return static_cast<std::uint64_t>(st.st_blocks) * 512;
  }
  bool says_committed(std::uint32_t superslab) const {
    return view.superslab({superslab}).committed.load() != 0;
  }

  MemoryFile data = memfd(kCapacity);
  MemoryFile control = memfd(ControlView::file_bytes(kCapacity, kHeaps));
  // A file that has no room for anything.
  MemoryFile full = MemoryFile::hold(::open("/dev/null", O_RDWR | O_CLOEXEC));
  ControlView view{control.base(), kCapacity, kHeaps};
  Committer committer{data, control, view, kUnits, kFirstWord};
};

TEST_F(CommitterTest, SuperslabsAreBackedAndSaySoUntilTheyAreDecommitted) {
  ASSERT_EQ(committer.commit_superslabs({1}, 2), Error::kNone);
  EXPECT_EQ(backed_bytes(data), 2 * kSuperslabBytes);
  EXPECT_FALSE(says_committed(0));
  EXPECT_TRUE(says_committed(1));
  EXPECT_TRUE(says_committed(2));
  committer.decommit_superslab({1});
  EXPECT_EQ(backed_bytes(data), kSuperslabBytes);
  EXPECT_FALSE(says_committed(1));
  EXPECT_TRUE(says_committed(2));
}

TEST_F(CommitterTest, TouchedControlPagesAreGivenBackAndCommittedOnesStay) {
  ASSERT_EQ(committer.commit_superslabs({1}, 1), Error::kNone);
  ASSERT_EQ(committer.commit_heap({2}), Error::kNone);
  ASSERT_EQ(committer.commit_run({40}, 1024), Error::kNone);
  EXPECT_EQ(committer.touched_control_bytes(), 0u);
  const std::uint64_t committed = backed_bytes(control);
  std::byte* const words = control.base() + view.word_page(5, 0);
  words[8] = std::byte{17};

  for (std::uint64_t at = 0; at < control.bytes(); at += kPage)  // as a peer may
    control.base()[at + 16] = std::byte{1};
  EXPECT_EQ(backed_bytes(control), control.bytes());
  EXPECT_EQ(committer.touched_control_bytes(), control.bytes() - committed - kPage);
  committer.give_back_touched_control();
  EXPECT_EQ(committer.touched_control_bytes(), 0u);
  EXPECT_EQ(backed_bytes(control), committed + kPage) << "and the first page";
  EXPECT_EQ(words[8], std::byte{17});
  EXPECT_TRUE(says_committed(1));
}

TEST_F(CommitterTest, AfterARestartControlPagesThatAreThereStay) {
  control.base()[3 * kPage] = std::byte{5};
  committer.adopt_control();
  EXPECT_EQ(committer.touched_control_bytes(), 0u);
  committer.give_back_touched_control();
  EXPECT_EQ(control.base()[3 * kPage], std::byte{5});
}

TEST_F(CommitterTest, RefusedDataLeavesTheHeadersAlone) {
  Committer refused{full, control, view, kUnits, kFirstWord};
  EXPECT_EQ(refused.commit_superslabs({0}, 1), Error::kMachineFull);
  EXPECT_EQ(backed_bytes(control), 0u);
  EXPECT_FALSE(says_committed(0));
}

TEST_F(CommitterTest, RefusedHeadersGiveTheDataBack) {
  Committer refused{data, full, view, kUnits, kFirstWord};
  EXPECT_EQ(refused.commit_superslabs({0}, 1), Error::kMachineFull);
  EXPECT_EQ(backed_bytes(data), 0u);
  EXPECT_FALSE(says_committed(0));
}

TEST_F(CommitterTest, WordsOfARunAreBackedOnceForAllUnitsOfItsGroup) {
  ASSERT_EQ(committer.commit_run({0}, 130), Error::kNone);  // three pages of 64 blocks
  EXPECT_EQ(backed_bytes(control), 3 * kPage);
  ASSERT_EQ(committer.commit_run({7}, 130), Error::kNone);
  EXPECT_EQ(backed_bytes(control), 3 * kPage);
  ASSERT_EQ(committer.commit_run({1}, 256), Error::kNone);
  EXPECT_EQ(backed_bytes(control), 4 * kPage);
  ASSERT_EQ(committer.commit_run({8}, 1), Error::kNone) << "another group";
  EXPECT_EQ(backed_bytes(control), 5 * kPage);
}

TEST_F(CommitterTest, FreshWordsAreFreeOfTheFirstGeneration) {
  ASSERT_EQ(committer.commit_run({9}, 130), Error::kNone);
  for (std::uint32_t block = 0; block < 192; ++block) {
    const BlockWord word(view.words()[Slot::of({9}, {block}).value].load());
    ASSERT_TRUE(word.is_free());
    ASSERT_EQ(word.bits(), kFirstWord);
  }
}

// A daemon that starts again commits the words of every run once more, while peers use them.
TEST_F(CommitterTest, WordsInUseStayAsTheyAreWhenTheyAreCommittedAgain) {
  ASSERT_EQ(committer.commit_run({0}, 64), Error::kNone);
  AtomicWord& held = view.words()[Slot::of({0}, {5}).value];
  held = BlockWord::held(held, {{7}, 42});
  AtomicWord& freed = view.words()[Slot::of({0}, {6}).value];
  freed = BlockWord::freed(freed, kSmallRefs.step());
  const std::uint64_t held_before = held, freed_before = freed;
  Committer next{data, control, view, kUnits, kSmallRefs.free_word(4811)};
  ASSERT_EQ(next.commit_run({0}, 64), Error::kNone);
  EXPECT_EQ(held, held_before);
  EXPECT_EQ(freed, freed_before);
}

TEST_F(CommitterTest, ReturnedWordsBeyondTheHeaderAreBackedToo) {
  ASSERT_EQ(committer.commit_run({0}, 1024), Error::kNone);
  EXPECT_EQ(backed_bytes(control), 16 * kPage);
  ASSERT_EQ(committer.commit_run({0}, 1025), Error::kNone);
  EXPECT_EQ(backed_bytes(control), 18 * kPage) << "one page of words, one of returned words";
}

TEST_F(CommitterTest, HeapWithoutMemoryIsRefused) {
  ASSERT_EQ(committer.commit_heap({5}), Error::kNone);
  EXPECT_GT(backed_bytes(control), 0u);
  Committer refused{data, full, view, kUnits, kFirstWord};
  EXPECT_EQ(refused.commit_heap({6}), Error::kMachineFull);
}

TEST_F(CommitterTest, FootprintIsBackedForALiveSessionOnly) {
  ASSERT_EQ(committer.commit_session({5}, false), Error::kNone);
  const std::uint64_t entry = backed_bytes(control);
  EXPECT_EQ(entry, kPage);
  ASSERT_EQ(committer.commit_session({5}, true), Error::kNone);
  EXPECT_EQ(backed_bytes(control), entry + view.footprint_stride());
  Committer refused{data, full, view, kUnits, kFirstWord};
  EXPECT_EQ(refused.commit_session({6}, true), Error::kMachineFull);
}

TEST_F(CommitterTest, DataCountsForTheBudgetUntilItIsDecommittedOrTheCommitterEnds) {
  CountedBudget budget;
  {
    Committer asks{data, control, view, kUnits, kFirstWord, &budget};
    ASSERT_EQ(asks.commit_superslabs({0}, 3), Error::kNone);
    ASSERT_EQ(asks.commit_run({0}, 130), Error::kNone);
    EXPECT_EQ(budget.payload, 3 * kSuperslabBytes);
    asks.decommit_superslab({1});
    EXPECT_EQ(budget.payload, 2 * kSuperslabBytes);
    EXPECT_EQ(budget.on_the_way, 0u);
  }
  EXPECT_EQ(budget.payload, 0u);
}

TEST_F(CommitterTest, BudgetThatRefusesIsHeardBeforeTheKernel) {
  CountedBudget budget{kSuperslabBytes};
  Committer asks{data, control, view, kUnits, kFirstWord, &budget};
  EXPECT_EQ(asks.refusal(), "");
  EXPECT_EQ(asks.commit_superslabs({0}, 2), Error::kMachineFull);
  EXPECT_EQ(asks.refusal(), "the test's limit");
  EXPECT_EQ(backed_bytes(data), 0u);
  EXPECT_EQ(budget.payload, 0u);
  EXPECT_EQ(asks.commit_superslabs({0}, 1), Error::kMachineFull) << "no room for its headers";
  EXPECT_EQ(backed_bytes(data), 0u);
  EXPECT_EQ(budget.payload, 0u);
  budget.room = 0;
  EXPECT_EQ(asks.commit_run({0}, 64), Error::kMachineFull);
  EXPECT_EQ(asks.commit_session({5}, true), Error::kMachineFull);
  EXPECT_EQ(backed_bytes(control), 0u);
}

TEST_F(CommitterTest, KernelThatRefusesIsQuotedAndNothingCounts) {
  CountedBudget budget;
  Committer asks{full, control, view, kUnits, kFirstWord, &budget};
  EXPECT_EQ(asks.commit_superslabs({0}, 2), Error::kMachineFull);
  EXPECT_NE(asks.refusal().find("the kernel gave no 4 MiB for data: "), std::string::npos)
      << asks.refusal();
  EXPECT_EQ(budget.payload, 0u);
  EXPECT_EQ(budget.on_the_way, 0u);
}

TEST_F(CommitterTest, StoppedCommitterCommitsNoData) {
  CountedBudget budget;
  Committer asks{data, control, view, kUnits, kFirstWord, &budget};
  asks.stop();
  EXPECT_EQ(asks.commit_superslabs({0}, 1), Error::kMachineFull);
  EXPECT_EQ(backed_bytes(data), 0u);
  EXPECT_EQ(budget.payload, 0u);
  EXPECT_EQ(budget.on_the_way, 0u);
}

}  // namespace
}  // namespace arenad
