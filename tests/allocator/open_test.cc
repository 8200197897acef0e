// Arenas in files: found again as they were left, and refused when they were damaged.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "arena_fixture.h"
#include "tests/allocator/counted_budget.h"
#include "tests/support/refs.h"

namespace arenad {
namespace {

class OpenTest : public testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/dev/shm/arenad-open-XXXXXX";
    directory_ = ::mkdtemp(pattern);
    files_ = {directory_ + "/a.data", directory_ + "/a.control", directory_ + "/a.ledger"};
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  std::unique_ptr<Arena> create(std::uint64_t bytes = 16 * kMiB) {
    ArenaConfig options;
    options.name = "kept";
    options.id = {7};
    options.capacity_bytes = bytes;
    options.max_heaps = 64;
    auto made = Arena::create(options, &files_);
    EXPECT_TRUE(made.ok()) << made.error().message;
    if (!made.ok()) return nullptr;
    (*made)->finish_creation();
    return std::move(*made);
  }
  Arena::Made open(MemoryBudget* budget = nullptr) {
    auto ledger = Ledger::open_file(files_.ledger_path);
    if (!ledger.ok()) return ledger.error();
    return Arena::open(files_, std::move(*ledger), true, budget);
  }
  // The heaps of a daemon that starts again take over what the one before had.
  static ReapResult adopt_all(Arena& arena, Heap& heap, SessionId dead = kNoSession) {
    std::vector<SlabIndex> runs;
    arena.for_each_run([&](SlabIndex first, RunRecord) { runs.push_back(first); });
    ReapResult result;
    for (const SlabIndex run : runs) heap.adopt(arena, run, dead, result);
    return result;
  }

  std::string directory_;
  ArenaFiles files_;
};

TEST_F(OpenTest, BlocksAndTheirDataAreThereAgain) {
  Ref kept{};
  std::uint64_t offset = 0;
  {
    const auto arena = create();
    Heap heap(*arena, HeapId{0}, SessionId{1});
    for (int i = 0; i < 1000; ++i) ASSERT_TRUE(heap.allocate(256, {{9}, 0}).ok());
    const auto block = heap.allocate(3 * kMiB, kHolder);
    ASSERT_TRUE(block.ok());
    kept = block->ref;
    offset = block->offset;
    std::memcpy(arena->data() + offset, "still here", 11);
  }
  auto again = open();
  ASSERT_TRUE(again.ok()) << again.error().message;
  Arena& arena = **again;
  EXPECT_EQ(arena.options().name, "kept");
  EXPECT_EQ(arena.id(), ArenaId{7});
  EXPECT_STREQ(reinterpret_cast<const char*>(arena.data() + offset), "still here");
  EXPECT_EQ(arena.describe({kept.value}).holder.session(), kHolder.session());
  Heap heap(arena, HeapId{1}, SessionId{1});
  EXPECT_EQ(adopt_all(arena, heap, {9}).blocks, 1000u) << "session 9 did not live to see it";
  const Heap* heaps[] = {&heap};
  EXPECT_TRUE(verify(arena, heaps).exact()) << findings_of(verify(arena, heaps));
  EXPECT_EQ(verify(arena, heaps).held, 1u);
  EXPECT_EQ(heap.free(kept), Error::kNone);
  heap.trim();
  EXPECT_EQ(arena.units().taken_units(), 0u);
  EXPECT_EQ(heap.free(kept), Error::kDoubleFree) << "generations went on where they were";
}

TEST_F(OpenTest, MemoryThatNoRunHasGoesBack) {
  {
    const auto arena = create();
    ASSERT_TRUE(arena->commit_ahead(8).ok());
  }
  const auto again = open();
  ASSERT_TRUE(again.ok());
  EXPECT_EQ((*again)->committed_bytes(), 0u);
  EXPECT_FALSE((*again)->committed({0}));
}

TEST_F(OpenTest, MemoryThatIsThereCountsAndIsNotAskedForAgain) {
  {
    const auto arena = create();
    Heap heap(*arena, HeapId{0}, SessionId{1});
    ASSERT_TRUE(heap.allocate(6 * kMiB, kHolder).ok());
  }
  CountedBudget budget{kMiB};  // for control memory
  {
    const auto again = open(&budget);
    ASSERT_TRUE(again.ok()) << again.error().message;
    EXPECT_FALSE((*again)->quarantined());
    EXPECT_EQ(budget.payload, 6 * kMiB);
  }
  EXPECT_EQ(budget.payload, 0u);
}

// Whoever has the data file can punch holes into it.
TEST_F(OpenTest, HolesAreFilledOrTheArenaIsQuarantined) {
  {
    const auto arena = create();
    Heap heap(*arena, HeapId{0}, SessionId{1});
    ASSERT_TRUE(heap.allocate(6 * kMiB, kHolder).ok());
    ASSERT_EQ(
        ::fallocate(arena->data_fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 2 * kMiB), 0);
  }
  CountedBudget small{kMiB};
  {
    const auto again = open(&small);
    ASSERT_TRUE(again.ok()) << "other arenas of the daemon must not suffer";
    EXPECT_TRUE((*again)->quarantined());
    EXPECT_NE((*again)->quarantine_reason().find("the test's limit"), std::string::npos);
    EXPECT_EQ(small.payload, 6 * kMiB);
  }
  CountedBudget enough{8 * kMiB};
  const auto again = open(&enough);
  ASSERT_TRUE(again.ok());
  EXPECT_FALSE((*again)->quarantined());
  EXPECT_EQ(enough.payload, 6 * kMiB);
}

TEST_F(OpenTest, RunThatWasGrantedAndNotBegunIsEmpty) {
  SlabIndex run{};
  {
    const auto arena = create();
    const auto granted =
        arena->grant(HeapId{0}, RunOwner::heap({0}), arena->geometry().slab_shape({10}), {0});
    ASSERT_TRUE(granted.ok());
    run = *granted;
    arena->control().slab(run).shape.store(0);  // as if killed in front of that store
  }
  auto again = open();
  ASSERT_TRUE(again.ok());
  Heap heap(**again, HeapId{0}, SessionId{1});
  EXPECT_EQ(adopt_all(**again, heap).adopted_slabs, 1u);
  EXPECT_EQ((*again)->units().taken_units(), 0u);
  EXPECT_FALSE((*again)->quarantined());
}

TEST_F(OpenTest, FreesOfADaemonThatDiedReachLivingPeers) {
  constexpr SessionId kPeer{40};
  Ref freed{};
  {
    const auto arena = create();
    arena->mark_session(kPeer, SessionEntry::kLive);
    arena->ledger().set_attach_mode(kPeer, 4);
    const HeapId id = arena->ledger().claim_heap({32}, kPeer);
    arena->enlist_heap(id, kPeer);
    const auto run =
        arena->grant(id, RunOwner::leased_to(kPeer), arena->geometry().slab_shape({10}), {0});
    ASSERT_TRUE(run.ok());
    arena->control().slab(*run).carved.store(1);
    const Slot slot = Slot::of(*run, {0});
    arena->word(slot).store(BlockWord::held(0, {kPeer, 0}));
    freed = ref_of(0, arena->id(), slot);
    Heap server(*arena, HeapId{0}, kReaperSession);
    ASSERT_EQ(server.free_checked({freed.value}, kReaperSession, kNoSession).error,
              Error::kNone);  // gathered, and lost with it
  }
  auto again = open();
  ASSERT_TRUE(again.ok());
  Arena& arena = **again;
  EXPECT_EQ(arena.control().returned(slot_of(freed).slab(), 0).load(), 1u);
  EXPECT_NE(arena.control().pending_summary({32})[0].load(), 0u) << "announced up to the heap";
}

TEST_F(OpenTest, DamagedFilesAreRefused) {
  create();
  const auto refused = [&](const char* why) {
    const auto again = open();
    EXPECT_FALSE(again.ok()) << why;
    EXPECT_EQ(again.error().error, Error::kInvalidOption) << why << ": " << again.error().message;
  };
  const auto keep = [&] {
    for (const char* f : {"a.data", "a.control", "a.ledger"})
      std::filesystem::copy_file(directory_ + "/" + f, directory_ + "/kept." + f,
                                 std::filesystem::copy_options::overwrite_existing);
  };
  const auto restore = [&] {
    for (const char* f : {"a.data", "a.control", "a.ledger"})
      std::filesystem::copy_file(directory_ + "/kept." + f, directory_ + "/" + f,
                                 std::filesystem::copy_options::overwrite_existing);
  };
  keep();
  std::filesystem::resize_file(files_.ledger_path, 4096);
  refused("ledger cut short");
  restore();
  std::filesystem::resize_file(files_.control_path, 1 * kMiB);
  refused("control cut short");
  restore();
  std::filesystem::resize_file(files_.data_path, 2 * kMiB);
  refused("data cut short");
  restore();
  std::filesystem::remove(files_.control_path);
  refused("control missing");
  restore();
  {
    std::fstream control(files_.control_path, std::ios::in | std::ios::out | std::ios::binary);
    control.write("garbage", 7);
  }
  refused("control of something else");
  restore();
  {
    auto ledger = Ledger::open_file(files_.ledger_path);
    ASSERT_TRUE(ledger.ok());
    ledger->set_run({4}, RunRecord::of(SlabKind::kSpan, kSpanClass, 4, RunOwner::heap({0})));
    ledger->set_run({6}, RunRecord::of(SlabKind::kSpan, kSpanClass, 4, RunOwner::heap({0})));
  }
  refused("runs overlap");
  restore();
  {
    auto ledger = Ledger::open_file(files_.ledger_path);
    ASSERT_TRUE(ledger.ok());
    ledger->set_run({4}, RunRecord::of(SlabKind::kSlab, {200}, 1, RunOwner::heap({0})));
  }
  refused("a class that there is not");
  restore();
  {
    auto ledger = Ledger::open_file(files_.ledger_path);
    ASSERT_TRUE(ledger.ok());
    ledger->set_run({254}, RunRecord::of(SlabKind::kSpan, kSpanClass, 4, RunOwner::heap({0})));
  }
  refused("a run beyond the arena");
  restore();
  EXPECT_TRUE(open().ok()) << "and untouched it opens";
}

TEST_F(OpenTest, FilesThatAreThereAreNotMadeAgain) {
  const auto first = create();
  ArenaConfig options;
  options.capacity_bytes = 4 * kMiB;
  const auto second = Arena::create(options, &files_);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().error, Error::kInvalidOption);
  EXPECT_NE(second.error().message.find("File exists"), std::string::npos)
      << second.error().message;
}

}  // namespace
}  // namespace arenad
