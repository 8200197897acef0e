// Ledger: records keep what was put into them, and only one of two can take a run or a heap.
#include "allocator/arena/ledger.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <utility>

#include "tests/support/temporary_directory.h"

namespace arenad {
namespace {

constexpr std::uint64_t kLedgerCapacity = 8 << 20;
constexpr std::uint32_t kLedgerHeaps = 300;

Ledger anonymous() {
  auto made = Ledger::create(kLedgerCapacity, kLedgerHeaps);
  EXPECT_TRUE(made.ok());
  return std::move(*made);
}

TEST(RunRecord, GivesBackKindClassUnitsAndOwner) {
  for (const RunOwner owner : {RunOwner::heap({0}), RunOwner::heap({0xfffe}),
                               RunOwner::leased_to({1}), RunOwner::leased_to({0xfffe})}) {
    for (const std::uint32_t units : {1u, 32u, 0x7fffffffu}) {
      const RunRecord record = RunRecord::of(SlabKind::kSpan, kSpanClass, units, owner);
      EXPECT_TRUE(record);
      EXPECT_EQ(record.kind(), SlabKind::kSpan);
      EXPECT_EQ(record.cls(), kSpanClass);
      EXPECT_EQ(record.units(), units);
      EXPECT_EQ(record.bytes(), units * kSlabUnitBytes);
      EXPECT_EQ(record.owner(), owner);
    }
  }
  EXPECT_FALSE(RunRecord{});
}

TEST(RunOwner, IsAHeapOrASessionAndNeverBoth) {
  EXPECT_EQ(RunOwner::heap({7}).heap_id(), HeapId{7});
  EXPECT_EQ(RunOwner::heap({7}).lessee(), kNoSession);
  EXPECT_EQ(RunOwner::leased_to({7}).lessee(), SessionId{7});
  EXPECT_EQ(RunOwner::leased_to({7}).heap_id(), kNoHeap);
  EXPECT_NE(RunOwner::heap({7}), RunOwner::leased_to({7}));
}

TEST(Ledger, RunPassesFromItsOwnerOnlyAndKeepsItsShape) {
  Ledger ledger = anonymous();
  const RunOwner peer = RunOwner::leased_to({5}), heap = RunOwner::heap({1});
  EXPECT_FALSE(ledger.pass_run({3}, peer, heap)) << "no run starts there";
  ledger.set_run({3}, RunRecord::of(SlabKind::kSlab, {9}, 2, peer));
  EXPECT_FALSE(ledger.pass_run({3}, RunOwner::leased_to({6}), heap));
  EXPECT_TRUE(ledger.pass_run({3}, peer, heap));
  EXPECT_FALSE(ledger.pass_run({3}, peer, heap)) << "it has passed already";
  EXPECT_EQ(ledger.run({3}).bits, RunRecord::of(SlabKind::kSlab, {9}, 2, heap).bits);
}

TEST(Ledger, HeapIdsAreClaimedOnceFromTheFirstOnAndComeBack) {
  Ledger ledger = anonymous();
  const HeapId first{kLedgerHeaps - 2};
  EXPECT_EQ(ledger.claim_heap(first, {5}), first);
  EXPECT_EQ(ledger.claim_heap(first, {6}), HeapId{kLedgerHeaps - 1});
  EXPECT_EQ(ledger.claim_heap(first, {7}), kNoHeap);
  EXPECT_EQ(ledger.heap_owner(first), SessionId{5});
  EXPECT_EQ(ledger.heap_owner({0}), kNoSession);
  ledger.release_heap(first);
  EXPECT_EQ(ledger.claim_heap(first, {7}), first);
}

TEST(Ledger, AttachModeIsEachSessionsOwn) {
  Ledger ledger = anonymous();
  ledger.set_attach_mode({65534}, 4);
  ledger.set_attach_mode({1}, 2);
  EXPECT_EQ(ledger.attach_mode({65534}), 4);
  EXPECT_EQ(ledger.attach_mode({1}), 2);
  EXPECT_EQ(ledger.attach_mode({2}), 0);
}

class LedgerFile : public ::testing::Test {
 protected:
  // A ledger as an arena leaves it, with one run.
  void make() {
    auto made = Ledger::create_file(path, kLedgerCapacity, kLedgerHeaps);
    ASSERT_TRUE(made.ok()) << made.error().message;
    LedgerHeader& header = made->header();
    header.magic = kLedgerMagic;
    header.capacity_bytes = kLedgerCapacity;
    header.max_heaps = kLedgerHeaps;
    made->set_run({127}, RunRecord::of(SlabKind::kSlab, {1}, 1, RunOwner::heap({2})));
  }
  void expect_refused(const std::string& why) {
    const auto opened = Ledger::open_file(path);
    ASSERT_FALSE(opened.ok());
    EXPECT_EQ(opened.error().error, Error::kInvalidOption);
    EXPECT_NE(opened.error().message.find(why), std::string::npos) << opened.error().message;
  }

  test::TemporaryDirectory directory;
  const std::string path = directory.path() + "/pool.ledger";
};

TEST_F(LedgerFile, KeepsItsRecords) {
  make();
  const auto opened = Ledger::open_file(path);
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  EXPECT_EQ(opened->unit_count(), kLedgerCapacity / kSlabUnitBytes);
  EXPECT_EQ(opened->max_heaps(), kLedgerHeaps);
  EXPECT_EQ(opened->run({127}).owner(), RunOwner::heap({2}));
  EXPECT_FALSE(opened->run({126}));
}

TEST_F(LedgerFile, IsNotMadeOverAnother) {
  make();
  EXPECT_EQ(Ledger::create_file(path, kLedgerCapacity, kLedgerHeaps).error().error,
            Error::kInvalidOption);
}

TEST_F(LedgerFile, IsRefusedWhenItIsCutShortOrDoesNotBeginAsOne) {
  make();
  ASSERT_EQ(::truncate(path.c_str(), 4096), 0);
  expect_refused("another size");
  ASSERT_EQ(::truncate(path.c_str(), 8), 0);
  expect_refused("cut short");
  std::ofstream(path) << std::string(4096, 'x');
  expect_refused("does not begin as one");
}

TEST(LedgerHeader, ChecksumChangesWithEachFieldAboveIt) {
  LedgerHeader header{};
  const std::uint64_t before = Ledger::checksum_of(header);
  header.name[kMaxNameBytes] = 'x';
  EXPECT_NE(Ledger::checksum_of(header), before);
  header.name[kMaxNameBytes] = 0;
  header.life = LedgerHeader::kLive;
  EXPECT_EQ(Ledger::checksum_of(header), before) << "the life changes without it";
}

}  // namespace
}  // namespace arenad
