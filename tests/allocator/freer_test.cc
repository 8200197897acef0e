// Frees that are not fast: a second free, an old ref, a made-up ref, and the checked free.
#include "allocator/heap/freer.h"

#include "tests/allocator/arena_fixture.h"
#include "tests/support/refs.h"

namespace arenad {
namespace {

using FreerTest = ArenaWithHeaps;

TEST_F(FreerTest, SecondFreeOfARefIsADoubleFree) {
  make(4 * kMiB);
  const Allocation b = take(1, 256)[0];
  EXPECT_EQ(heap().free(b.ref), Error::kNone);
  EXPECT_EQ(heap().free(b.ref), Error::kDoubleFree);
  EXPECT_EQ(heap().free_checked({b.ref.value}, {1}, kNoSession).error, Error::kDoubleFree);
  heap().trim();
  EXPECT_NE(heap().free(b.ref), Error::kNone) << "nor after the slab went back";
}

TEST_F(FreerTest, RefOfALifeBeforeIsStale) {
  make(4 * kMiB);
  const Allocation first = take(1, 256)[0];
  give({first});
  Allocation again;
  do again = take(1, 256)[0];
  while (again.offset != first.offset);
  EXPECT_NE(again.ref, first.ref);
  EXPECT_EQ(heap().free(first.ref), Error::kStaleRef);
  EXPECT_EQ(heap().free_checked({first.ref.value}, {1}, kNoSession).error, Error::kStaleRef);
  EXPECT_EQ(arena().describe({first.ref.value}).state, BlockFacts::State::kStale);
  EXPECT_EQ(arena().describe({again.ref.value}).state, BlockFacts::State::kHeld);
}

TEST_F(FreerTest, ForeignAndMadeUpRefsAreRefused) {
  make(4 * kMiB);
  const Allocation b = take(1, 256)[0];
  const Slot slot = slot_of(b.ref);
  EXPECT_EQ(heap().free(ref_of(0, {2}, slot)), Error::kForeignRef) << "another arena";
  EXPECT_EQ(heap().free(ref_of(0, {0}, slot)), Error::kForeignRef);
  EXPECT_EQ(heap().free(ref_of(0, arena().id(), Slot::of({arena().unit_count()}, {0}))),
            Error::kForeignRef)
      << "beyond the arena";
  EXPECT_EQ(heap().free(Ref{0}), Error::kForeignRef);
  EXPECT_EQ(heap().free(Ref{~std::uint64_t{0}}), Error::kForeignRef);
  EXPECT_NE(heap().free(ref_of(5, arena().id(), slot)), Error::kNone)
      << "a generation that never was";
  EXPECT_EQ(heap()
                .free_checked({ref_of(0, arena().id(), Slot::of(slot.slab(), {5000})).value}, {1},
                              kNoSession)
                .error,
            Error::kStaleRef);
  EXPECT_EQ(arena().describe({ref_of(0, {2}, slot).value}).state, BlockFacts::State::kInvalid);
  EXPECT_EQ(heap().free(b.ref), Error::kNone) << "and the block itself is untouched";
}

TEST_F(FreerTest, CheckedFreeReportsHolderStrideAndOwnerAndKeepsToTheRequiredHolder) {
  make(4 * kMiB, 2);
  const auto blocks = take(2, 250);
  EXPECT_EQ(heap().free_checked({blocks[0].ref.value}, {78}, {78}).error, Error::kNotHolder);
  const FreeOutcome local = heap().free_checked({blocks[0].ref.value}, {77}, {77});
  EXPECT_EQ(local.error, Error::kNone);
  EXPECT_EQ(local.stride_bytes, 256u);
  EXPECT_EQ(local.holder.session(), kHolder.session());
  EXPECT_EQ(local.holder.tag(), kHolder.tag());
  EXPECT_EQ(local.owner, HeapId{0});
  const FreeOutcome remote = heap(1).free_checked({blocks[1].ref.value}, {78}, kNoSession);
  EXPECT_EQ(remote.error, Error::kNone);
  EXPECT_EQ(remote.stride_bytes, 256u);
  EXPECT_EQ(remote.owner, HeapId{0});
  EXPECT_EQ(
      arena()
          .describe({ref_of(generation_of(blocks[1].ref) + 1, arena().id(), slot_of(blocks[1].ref))
                         .value})
          .holder.session(),
      SessionId{78})
      << "the freer stands in the RETURNING word";
}

}  // namespace
}  // namespace arenad
