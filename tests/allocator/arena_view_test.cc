// ArenaView: a ref is found by its payload, and a block is taken over.
#include "allocator/arena/arena_view.h"

#include "tests/allocator/arena_fixture.h"
#include "tests/support/refs.h"

namespace arenad {
namespace {

using ArenaViewTest = ArenaWithHeaps;

TEST_F(ArenaViewTest, RefAtFindsABlockByItsPayloadAndNothingElse) {
  for (const Layout layout : {Layout::plain(), Layout::headered(), Layout::redzoned()}) {
    heaps_.clear();
    make(16 * kMiB, 1, layout);
    for (const std::uint64_t size : {8, 200, 3000, 100000, 700000}) {
      const auto blocks = take(5, size);
      for (const Allocation& b : blocks) {
        ASSERT_TRUE(arena().ref_at(b.offset).ok()) << size;
        EXPECT_EQ(*arena().ref_at(b.offset), b.ref);
        EXPECT_EQ(arena().ref_at(b.offset + 1).error(), Error::kForeignRef);
        EXPECT_EQ(arena().ref_at(b.offset + size / 2).error(), Error::kForeignRef);
      }
    }
    EXPECT_EQ(arena().ref_at(arena().capacity_bytes()).error(), Error::kForeignRef);
    EXPECT_EQ(arena().ref_at(~std::uint64_t{0}).error(), Error::kForeignRef);
    EXPECT_EQ(arena().ref_at(arena().capacity_bytes() - 4096).error(), Error::kForeignRef)
        << "memory that was never taken";
  }
}

TEST_F(ArenaViewTest, TakeOverChangesTheHolderAndNothingElse) {
  make(4 * kMiB);
  const Allocation b = take(1, 100)[0];
  const auto before = arena().acquire({b.ref.value}, Holder({88}, 9));
  ASSERT_TRUE(before.ok());
  EXPECT_EQ(before->session(), kHolder.session());
  EXPECT_EQ(before->tag(), kHolder.tag());
  const BlockFacts info = arena().describe({b.ref.value});
  EXPECT_EQ(info.holder.session(), SessionId{88});
  EXPECT_EQ(info.holder.tag(), 9u);
  EXPECT_EQ(heap().free_checked({b.ref.value}, {77}, {77}).error, Error::kNotHolder);
  give({b});
  EXPECT_EQ(arena().acquire({b.ref.value}, Holder({88}, 9)).error(), Error::kDoubleFree);
  EXPECT_EQ(arena().acquire({ref_of(0, {9}, slot_of(b.ref)).value}, Holder({88}, 9)).error(),
            Error::kForeignRef);
}

}  // namespace
}  // namespace arenad
