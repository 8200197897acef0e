// Arenas with `zero` and with `scrub`: what a block shows when it goes out, and what is left of it
// when it came home.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <tuple>
#include <vector>

#include "tests/allocator/peer_fixture.h"

namespace arenad {
namespace {

constexpr std::uint64_t kWipeBytes = 16 * kMiB;
// Of small and large classes, of several units, and spans below and above a superslab.
constexpr std::uint64_t kWipeSizes[] = {8,    16,        100,     256,  1000,
                                        3000, 20 * 1024, 300'000, kMiB, 5 * kMiB};

class WipeTest : public ArenaWithPeers {
 protected:
  void make(bool zero, bool scrub, HeapUse use = HeapUse::kOwnProcess,
            Layout layout = Layout::plain()) {
    ArenaConfig options;
    options.capacity_bytes = kWipeBytes;
    options.max_heaps = 64;
    options.zero = zero;
    options.scrub = scrub;
    options.layout = layout;
    options.debug.redzones = layout == Layout::redzoned();
    options.map_data = false;  // the options need it all the same
    auto created = Arena::create(options);
    ASSERT_TRUE(created.ok()) << created.error().message;
    arena_ = std::move(*created);
    if (arena_->data() == nullptr) return;
    for (std::uint16_t i = 0; i < 2; ++i)
      heaps_.push_back(std::make_unique<Heap>(*arena_, HeapId{i},
                                              SessionId{static_cast<std::uint16_t>(i + 1)}, use));
  }
  std::uint64_t usable(const Allocation& block) const {
    return arena_->describe({block.ref.value}).usable_bytes;
  }
  void dirty(const Allocation& block) {
    std::memset(arena_->data() + block.offset, 0xa5, usable(block));
  }
  void dirty(const std::vector<Allocation>& blocks) {
    for (const Allocation& block : blocks) dirty(block);
  }
  static bool all_zero(const std::byte* at, std::uint64_t bytes) {
    return at[0] == std::byte{0} && std::memcmp(at, at + 1, bytes - 1) == 0;
  }
  bool reads_zero(const Allocation& block) const {
    return all_zero(arena_->data() + block.offset, usable(block));
  }
  bool arena_reads_zero() const { return all_zero(arena_->data(), kWipeBytes); }
  // Some blocks of each size, filled.
  std::vector<Allocation> fill(Heap& heap, Holder holder = kHolder) {
    std::vector<Allocation> blocks;
    for (const std::uint64_t size : kWipeSizes)
      for (int i = 0; i < (size > kMiB ? 1 : 3); ++i) {
        const auto block = heap.allocate(size, holder);
        EXPECT_TRUE(block.ok()) << size;
        if (!block.ok()) continue;
        dirty(*block);
        blocks.push_back(*block);
      }
    return blocks;
  }
};

class ZeroTest : public WipeTest, public testing::WithParamInterface<std::tuple<HeapUse, bool>> {
 protected:
  static Layout layout() { return std::get<1>(GetParam()) ? Layout::redzoned() : Layout::plain(); }
};
INSTANTIATE_TEST_SUITE_P(Uses, ZeroTest,
                         testing::Combine(testing::Values(HeapUse::kOwnProcess,
                                                          HeapUse::kServesOthers),
                                          testing::Bool()));

TEST_P(ZeroTest, EveryBlockThatIsHandedOutReadsAsZeros) {
  make(true, false, std::get<0>(GetParam()), layout());
  for (int round = 0; round < 3; ++round) {
    std::vector<Allocation> blocks;
    for (const std::uint64_t size : kWipeSizes)
      for (int i = 0; i < (size > kMiB ? 1 : 3); ++i) {
        const auto block = heap().allocate(size, kHolder);
        ASSERT_TRUE(block.ok());
        EXPECT_TRUE(reads_zero(*block)) << size << " in round " << round;
        dirty(*block);
        blocks.push_back(*block);
      }
    Allocation batch[20];
    ASSERT_EQ(heap().allocate_batch(64, 16, kHolder, batch), Error::kNone);
    for (const Allocation& block : batch) {
      EXPECT_TRUE(reads_zero(block));
      dirty(block);
      blocks.push_back(block);
    }
    for (std::size_t i = 0; i < blocks.size(); ++i)
      EXPECT_EQ(heap(i % 2).free(blocks[i].ref), Error::kNone) << "own frees, and remote ones";
    for (auto& h : heaps_) h->publish();
    if (round == 1) heap().trim();
  }
}

TEST_F(WipeTest, PeersHeapObeysZero) {
  make(true, false);
  const auto worker = peer(5);
  for (int round = 0; round < 2; ++round) {
    std::vector<Allocation> blocks;
    for (const std::uint64_t size : kWipeSizes) {
      const auto block = worker->heap().allocate(size, worker->holder());
      ASSERT_TRUE(block.ok());
      EXPECT_TRUE(reads_zero(*block)) << size << " in round " << round;
      dirty(*block);
      blocks.push_back(*block);
    }
    for (const Allocation& block : blocks) EXPECT_EQ(worker->heap().free(block.ref), Error::kNone);
  }
}

// Shows that the tests above see what they are for.
TEST_F(WipeTest, WithoutTheOptionsBytesStay) {
  ArenaWithHeaps::make(kWipeBytes, 1);
  const auto blocks = fill(heap());
  give(blocks);
  EXPECT_FALSE(arena_reads_zero());
  const auto again = take(1000, 256);
  EXPECT_FALSE(std::ranges::all_of(again, [&](const Allocation& b) { return reads_zero(b); }));
  give(again);
}

class ScrubTest : public WipeTest, public testing::WithParamInterface<HeapUse> {};
INSTANTIATE_TEST_SUITE_P(Uses, ScrubTest,
                         testing::Values(HeapUse::kOwnProcess, HeapUse::kServesOthers));

TEST_P(ScrubTest, NothingIsLeftOfABlockThatItsHeapFreed) {
  make(false, true, GetParam());
  for (const Allocation& block : fill(heap())) {
    EXPECT_EQ(heap().free(block.ref), Error::kNone);
    EXPECT_TRUE(all_zero(arena().data() + block.offset, 8)) << "at once";
  }
  for (const Allocation& block : fill(heap()))
    EXPECT_EQ(heap().free_checked({block.ref.value}, {9}, kNoSession).error, Error::kNone);
  for (const Allocation& block : fill(heap())) {
    ASSERT_EQ(arena().share({block.ref.value}, kHolder.session()), Error::kNone);
    EXPECT_EQ(heap().release({block.ref.value}, kHolder.session()), Error::kNone);
  }
  EXPECT_TRUE(arena_reads_zero());
}

TEST_P(ScrubTest, NothingIsLeftOfABlockThatCameHomeFromAnotherHeap) {
  make(false, true, GetParam());
  for (const Allocation& block : fill(heap(0))) EXPECT_EQ(heap(1).free(block.ref), Error::kNone);
  heap(1).publish();
  EXPECT_FALSE(arena_reads_zero()) << "who frees does not know whether the block is out again";
  heap(0).drain();
  EXPECT_TRUE(arena_reads_zero());
}

TEST_P(ScrubTest, NothingIsLeftOfWhatAReapedSessionHeld) {
  make(false, true, GetParam());
  fill(heap(), {{9}, 0});
  EXPECT_GT(arena().reap({9}).blocks, 0u);
  heap().drain();
  EXPECT_TRUE(arena_reads_zero());
}

TEST_F(WipeTest, NothingIsLeftOfAPeerThatWasKilled) {
  make(false, true);
  const auto worker = peer(5);
  const auto blocks = fill(worker->heap(), worker->holder());
  // Killed in a free, after the word said FREE and before the wipe.
  ASSERT_EQ(worker->heap().free(blocks[3].ref), Error::kNone);
  std::memset(arena().data() + blocks[3].offset, 0xa5, 8);
  EXPECT_EQ(end({5}).blocks, blocks.size() - 1);
  EXPECT_TRUE(arena_reads_zero());
}

TEST_F(WipeTest, PeersHeapObeysScrub) {
  make(false, true);
  const auto worker = peer(5);
  const auto blocks = fill(worker->heap(), worker->holder());
  for (std::size_t i = 0; i < blocks.size(); ++i)
    EXPECT_EQ((i % 2 == 0 ? worker->heap() : heap()).free(blocks[i].ref), Error::kNone);
  heap().publish();
  worker->heap().drain();
  EXPECT_TRUE(arena_reads_zero());
}

TEST_F(WipeTest, RunThatComesBackIsScrubbedWhole) {
  make(false, true);
  const auto run =
      arena().grant({1}, RunOwner::leased_to({5}), arena().geometry().span_shape(3), {0});
  ASSERT_TRUE(run.ok());
  std::byte* const at = arena().data() + run->value * kUnit;
  std::memset(at, 0xa5, 3 * kUnit);
  arena().scrub_run(*run);
  EXPECT_TRUE(all_zero(at, 3 * kUnit));
  arena().reclaim(*run);
}

}  // namespace
}  // namespace arenad
