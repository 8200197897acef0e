// FastHeap: the inline part needs nothing of the arena, and leaves by its slow exits.
#include "allocator/heap/fast_heap.h"

#include <gtest/gtest.h>

// fast_heap.h is for public headers. What these headers guard must not come in with it.
namespace arenad {
class Arena;
class SlabTable;
template <class T>
constexpr bool complete(decltype(sizeof(T))*) {
  return true;
}
template <class T>
constexpr bool complete(...) {
  return false;
}
static_assert(!complete<Arena>(nullptr) && !complete<SlabTable>(nullptr));
}  // namespace arenad

#include <set>

#include "tests/allocator/arena_fixture.h"

namespace arenad {
namespace {

class FastHeapTest : public ArenaWithHeaps {
 protected:
  FastHeap& fast() { return heap(); }
};

TEST_F(FastHeapTest, BlockThatWasFreedFastIsGivenOutAgain) {
  make(4 * kMiB);
  std::set<std::uint64_t> offsets;
  for (int i = 0; i < 100'000; ++i) {
    const auto got = fast().allocate(256, kHolder);
    ASSERT_TRUE(got.ok());
    offsets.insert(got->offset);
    ASSERT_EQ(fast().free(got->ref), Error::kNone);
  }
  EXPECT_LE(offsets.size() * 256, kMiB);
  EXPECT_EQ(heap().counters().allocs, 100'000u);
  EXPECT_EQ(heap().counters().local_frees, 100'000u);
}

TEST_F(FastHeapTest, SizesAroundTheTablesEndAndTheOverflowAreServedOrRefused) {
  make(4 * kMiB);
  for (const std::uint64_t size : {1u, 8u, 9u, 1023u, 1024u, 1025u, 131072u, 131073u}) {
    const auto got = fast().allocate(size, kHolder);
    ASSERT_TRUE(got.ok()) << size;
    EXPECT_GE(arena().describe({got->ref.value}).usable_bytes, size);
    EXPECT_EQ(fast().free(got->ref), Error::kNone);
  }
  EXPECT_EQ(fast().allocate(0, kHolder).error(), Error::kInvalidSize);
  for (std::uint64_t below = 0; below < 16; ++below)
    EXPECT_EQ(fast().allocate(UINT64_MAX - below, kHolder).error(), Error::kInvalidSize) << below;
}

TEST_F(FastHeapTest, AllocationsOfABlockAreAnErrorOrARefInTwoRegisters) {
  static_assert(sizeof(Result<Allocation, Error>) == 16);
  const Result<Allocation, Error> none = Error::kArenaFull;
  EXPECT_FALSE(none.ok());
  EXPECT_EQ(none.error(), Error::kArenaFull);
  const Result<Allocation, Error> some = Allocation{Ref{5}, 7};
  EXPECT_TRUE(some.ok());
  EXPECT_EQ(some->offset, 7u);
}

}  // namespace
}  // namespace arenad
