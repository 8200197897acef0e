// BlockTransfer: splice, carve and flush move blocks and lose none.
#include "allocator/heap/block_transfer.h"

#include <gtest/gtest.h>

#include <set>
#include <span>

#include "allocator/format/ref_layout.h"
#include "tests/allocator/arena_fixture.h"

namespace arenad {
namespace {

class BlockTransferTest : public ArenaWithHeaps {
 protected:
  static constexpr ClassId kClass{5};
  static constexpr std::uint32_t kRoom = 64;

  // The parts of a heap that a transfer needs, for heap id 1.
  struct Parts {
    explicit Parts(Arena& arena)
        : rows(arena.id(), std::uint64_t{arena.unit_count() / kUnitsPerSuperslab} << 18),
          slabs(arena.geometry(), arena.unit_count(), {1}, arena.source(), rows, magazines,
                counters),
          transfer(arena, rows, slabs, counters) {
      m.cls = kClass;
      m.stride = arena.geometry().size_class(kClass).stride_bytes;
      m.capacity = kRoom;
    }
    std::array<Magazine, kMaxClasses> magazines;
    Magazine& m = magazines[kClass.value];
    RowTables rows;
    HeapCounters counters;
    SlabTable slabs;
    BlockTransfer transfer;
  };

  std::set<std::uint64_t> entries(const Magazine& m) {
    std::set<std::uint64_t> all;
    m.for_each([&](std::uint64_t entry) { EXPECT_TRUE(all.insert(entry).second); });
    return all;
  }
};

TEST_F(BlockTransferTest, CarveTakesBlocksInOrderAndPublishesTheCount) {
  make(4 * kMiB, 0);
  Parts p(arena());
  SlabState& slab = **p.slabs.take_slab(kClass);
  EXPECT_EQ(p.transfer.take(slab, p.m, 10), 10u);
  for (std::uint32_t b = 0; b < 10; ++b)
    EXPECT_EQ(RefLayout::slot_of_entry(p.m.bottom[b]), Slot::of(slab.slab, {b}));
  EXPECT_EQ(control().slab(slab.slab).carved.load(), 10u);
  EXPECT_EQ(p.slabs.active_blocks(), 10u);
  EXPECT_EQ(p.counters.carves, 1u);
  EXPECT_EQ(p.counters.carved_blocks, 10u);
  p.transfer.flush(p.m);
  p.slabs.release(slab);
}

TEST_F(BlockTransferTest, FlushBringsAllHomeAndSpliceTakesTheSameBlocksAgain) {
  make(4 * kMiB, 0);
  Parts p(arena());
  SlabState& slab = **p.slabs.take_slab(kClass);
  p.transfer.take(slab, p.m, kRoom);
  const auto carved = entries(p.m);
  p.transfer.flush(p.m);
  EXPECT_EQ(p.m.count(), 0u);
  EXPECT_EQ(slab.free_count, kRoom);
  EXPECT_EQ(p.slabs.active_blocks(), 0u);
  EXPECT_EQ(p.counters.flushed_blocks, kRoom);
  EXPECT_EQ(p.transfer.take(slab, p.m, kRoom), kRoom);
  EXPECT_EQ(entries(p.m), carved);
  EXPECT_EQ(p.counters.splices, 1u);
  EXPECT_EQ(p.counters.spliced_blocks, kRoom);
  p.transfer.flush(p.m);
  p.slabs.release(slab);
}

TEST_F(BlockTransferTest, FullFreedStackSwapsWhenTheOtherIsEmptyAndElseLosesItsOlderHalf) {
  make(4 * kMiB, 0);
  Parts p(arena());
  SlabState& slab = **p.slabs.take_slab(kClass);
  const auto free_all = [&p] {
    while (p.m.top != p.m.bottom) *p.m.freed_top++ = *--p.m.top;
  };
  p.transfer.take(slab, p.m, kRoom);
  free_all();
  p.transfer.make_room(p.m);
  EXPECT_EQ(p.m.freed_count(), 0u);
  EXPECT_EQ(p.m.count(), kRoom);
  EXPECT_EQ(p.counters.flushed_blocks, 0u);
  free_all();
  p.transfer.take(slab, p.m, 8);
  p.transfer.make_room(p.m);
  EXPECT_EQ(p.m.freed_count(), kRoom / 2);
  EXPECT_EQ(p.counters.flushed_blocks, kRoom / 2);
  p.transfer.flush(p.m);
  p.slabs.release(slab);
}

}  // namespace
}  // namespace arenad
