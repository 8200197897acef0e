// Debug flags P and U: writes to blocks that nobody has are found; who had a block is known.
#include "allocator/arena/block_debug.h"

#include <algorithm>
#include <cstring>
#include <ctime>

#include "allocator/base/format.h"
#include "allocator/heap/refill.h"
#include "tests/allocator/log_lines.h"
#include "tests/allocator/peer_fixture.h"

namespace arenad {
namespace {

constexpr std::uint64_t kDebugSizes[] = {8, 100, 1000, 20'000, 100'000};

class DebugTest : public ArenaWithPeers, public testing::WithParamInterface<HeapUse> {
 protected:
  DebugTest() { use_ = GetParam(); }
  void make_with(const char* letters) {
    debug_ = *parse_debug(letters);
    make(16 * kMiB, 2);
  }
  std::byte* payload(const Allocation& b) { return arena().data() + b.offset; }
  std::uint64_t usable(const Allocation& b) { return arena().describe({b.ref.value}).usable_bytes; }
  bool full_of(const Allocation& b, std::uint8_t value) {
    const std::byte* const at = payload(b);
    return std::all_of(at, at + usable(b), [=](std::byte x) { return x == std::byte{value}; });
  }
  std::uint64_t findings() { return control().findings().count.load(); }
  BlockTrack track(Ref ref) { return arena().describe({ref.value}).track.value(); }
  // Allocates until the block comes again, and gives all of it back.
  static void until_out_again(Heap& heap, const Allocation& b, std::uint64_t size) {
    std::vector<Ref> got;
    for (bool found = false; !found;) {
      const auto block = heap.allocate(size, {{78}, 9});
      ASSERT_TRUE(block.ok());
      got.push_back(block->ref);
      found = block->offset == b.offset;
    }
    for (const Ref ref : got) EXPECT_EQ(heap.free(ref), Error::kNone);
  }
  LogLines lines_;
};
INSTANTIATE_TEST_SUITE_P(Uses, DebugTest,
                         testing::Values(HeapUse::kOwnProcess, HeapUse::kServesOthers));

// --- P

TEST_P(DebugTest, FreshBlocksShowThePatternOfUninitialisedMemory) {
  make_with("P");
  for (const std::uint64_t size : {8, 100, 100'000, 300'000, 3 << 20}) {
    const auto blocks = take(2, size);
    for (const Allocation& b : blocks) {
      EXPECT_TRUE(full_of(b, kPoisonNew)) << size;
      std::memset(payload(b), 1, usable(b));
    }
    give(blocks);
    EXPECT_EQ(payload(blocks[0])[7], std::byte{kPoisonHome});
    const auto again = take(2, size);
    for (const Allocation& b : again) EXPECT_TRUE(full_of(b, kPoisonNew)) << size;
    give(again);
  }
  EXPECT_EQ(findings(), 0u);
}

TEST_P(DebugTest, WriteToAFreedBlockIsFoundWhenTheBlockGoesOut) {
  make_with("P");
  for (const std::uint64_t size : kDebugSizes) {
    const Allocation b = take(1, size)[0];
    const std::uint64_t bytes = usable(b);
    give({b});
    payload(b)[bytes - 1] = std::byte{0x42};
    EXPECT_EQ(findings(), 0u);
    ASSERT_NO_FATAL_FAILURE(until_out_again(heap(), b, size));
    const std::string line = lines_.take_one();
    EXPECT_EQ(line,
              fmt::format("[BLOCK_DEBUG] P arena=1 ref=0x{:016x} offset={} usable={}: the byte at "
                          "{} of {} was overwritten with 0x42 while nobody had the block; last "
                          "given to session 77, tag 7",
                          b.ref.value, b.offset, bytes, bytes - 1, bytes));
    EXPECT_EQ(control().findings().count.exchange(0), 1u);
  }
}

TEST_P(DebugTest, WriteToABlockThatAnotherHeapFreedIsFoundOnceItCameHome) {
  make_with("P");
  const Allocation b = take(1, 256)[0];
  give({b}, 1);
  heap(1).publish();
  EXPECT_EQ(heap(0).drain(), 1u);
  payload(b)[0] = std::byte{1};
  ASSERT_NO_FATAL_FAILURE(until_out_again(heap(), b, 256));
  EXPECT_NE(lines_.take_one().find("last given to session 77, tag 7"), std::string::npos);
}

TEST_P(DebugTest, WriteToAFreedBlockIsFoundWhenItsSlabLeaves) {
  make_with("P");
  const Allocation b = take(1, 256)[0];
  give({b});
  payload(b)[3] = std::byte{1};
  trim_all();
  EXPECT_NE(lines_.take_one().find("the byte at 3 of 256"), std::string::npos);
  EXPECT_EQ(findings(), 1u);
}

TEST_P(DebugTest, WriteToABlockThatWasNeverOutIsFound) {
  make_with("P");
  const Allocation b = take(1, 64)[0];
  payload(b)[64] = std::byte{1};  // the next block of the slab
  give({b});
  trim_all();
  // Without batches a block is carved when it goes out, so it has no poison before.
  EXPECT_EQ(findings(), p0_batch_refill_built() ? 1u : 0u);
  if (p0_batch_refill_built()) {
    EXPECT_NE(lines_.take_one().find("its last holder is not known"), std::string::npos);
  }
}

TEST_P(DebugTest, WriteAfterFreeInAPeersHeapIsFound) {
  make_with("P");
  const auto worker = peer(5);
  const Allocation b = worker->take(1, 256)[0];
  EXPECT_TRUE(full_of(b, kPoisonNew));
  EXPECT_EQ(worker->heap().free(b.ref), Error::kNone);
  payload(b)[9] = std::byte{1};
  ASSERT_NO_FATAL_FAILURE(until_out_again(worker->heap(), b, 256));
  EXPECT_NE(lines_.take_one().find("last given to session 5, tag 0"), std::string::npos);
}

// A heap that died may have been killed between a free and the pattern. So the adopter writes it.
TEST_P(DebugTest, AdoptedBlocksAreFullOfThePattern) {
  make_with("P");
  const auto worker = peer(5);
  const auto blocks = worker->take(20, 256);
  for (const Allocation& b : blocks) std::memset(payload(b), 1, 256);
  EXPECT_EQ(heap(0).free(blocks[4].ref), Error::kNone);
  EXPECT_EQ(arena().acquire({blocks[7].ref.value}, kHolder)->session(), SessionId{5});
  end({5});
  for (std::size_t i = 0; i < blocks.size(); ++i)
    EXPECT_EQ(payload(blocks[i])[9], std::byte{i == 7 ? std::uint8_t{1} : kPoisonHome}) << i;
  give(take(1000, 256));
  give({blocks[7]});
  EXPECT_EQ(lines_.take_one(), "");
}

TEST_P(DebugTest, WithoutPoisonAWriteAfterFreeIsNotFound) {
  make_with("FZU");
  const Allocation b = take(1, 256)[0];
  give({b});
  payload(b)[9] = std::byte{1};
  ASSERT_NO_FATAL_FAILURE(until_out_again(heap(), b, 256));
  trim_all();
  EXPECT_EQ(lines_.take_one(), "");
}

// --- U

TEST_P(DebugTest, TrackSaysWhoAllocatedAndWhoFreedAndWhen) {
  make_with("U");
  for (const std::uint64_t size : {8, 100, 100'000, 300'000, 3 << 20}) {
    const auto before = static_cast<std::uint64_t>(std::time(nullptr)) * 1'000'000'000;
    const Allocation b = take(1, size)[0];
    const BlockTrack held = track(b.ref);
    EXPECT_EQ(held.allocated.session, kHolder.session());
    EXPECT_EQ(held.allocated.tag, kHolder.tag());
    EXPECT_GE(held.allocated.time_ns, before);
    std::memset(payload(b), 0xff, usable(b));
    EXPECT_EQ(track(b.ref).allocated.time_ns, held.allocated.time_ns) << "beside the payload";
    EXPECT_EQ(heap(1).free_checked({b.ref.value}, {9}, kNoSession).error, Error::kNone);
    const BlockTrack freed = track(b.ref);
    EXPECT_EQ(freed.freed.session, SessionId{9});
    EXPECT_EQ(freed.freed.tag, kHolder.tag());
    EXPECT_GE(freed.freed.time_ns, held.allocated.time_ns);
    EXPECT_EQ(freed.allocated.time_ns, held.allocated.time_ns);
    heap(1).publish();
  }
  heap(0).drain();
}

TEST_P(DebugTest, TrackOfALastReleaseNamesTheSharer) {
  make_with("U");
  const Allocation b = take(1, 64)[0];
  ASSERT_EQ(arena().share({b.ref.value}, kHolder.session()), Error::kNone);
  ASSERT_EQ(arena().share({b.ref.value}, {12}), Error::kNone);
  EXPECT_EQ(heap().release({b.ref.value}, kHolder.session()), Error::kNone);
  EXPECT_EQ(heap().release({b.ref.value}, {12}), Error::kNone);
  EXPECT_EQ(track(b.ref).freed.session, SessionId{12});
}

TEST_P(DebugTest, TrackOfWhatADeadSessionHeldNamesTheDaemon) {
  make_with("U");
  const auto worker = peer(5);
  const Allocation kept = take(1, 64)[0];
  const Allocation leased[] = {worker->take(1, 64)[0], worker->take(1, 64)[0]};
  EXPECT_EQ(arena().acquire({leased[1].ref.value}, kHolder)->session(), SessionId{5});
  EXPECT_EQ(track(leased[0].ref).allocated.session, SessionId{5});
  EXPECT_EQ(worker->heap().free_checked({kept.ref.value}, {5}, kNoSession).error, Error::kNone);
  EXPECT_EQ(track(kept.ref).freed.session, SessionId{5});
  end({5});
  EXPECT_EQ(track(leased[0].ref).freed.session, kReaperSession);
  EXPECT_EQ(track(leased[1].ref).freed.time_ns, 0u) << "it is held";
  give({leased[1]});
}

TEST_P(DebugTest, DamagedTrackIsNotBelieved) {
  make_with("U");
  const Allocation b = take(1, 64)[0];
  payload(b)[-1] ^= std::byte{1};
  payload(b)[-32] ^= std::byte{1};
  EXPECT_EQ(track(b.ref).allocated.time_ns, 0u);
  EXPECT_EQ(track(b.ref).freed.time_ns, 0u);
}

TEST_P(DebugTest, ReportsOfTheOtherFlagsTellTheTrack) {
  make_with("ZPU");
  const Allocation b = take(1, 64)[0];
  payload(b)[64] ^= std::byte{1};
  EXPECT_EQ(heap().free_checked({b.ref.value}, {9}, kNoSession).error, Error::kNone);
  std::string line = lines_.take_one();
  EXPECT_NE(line.find("; allocated by session 77, tag 7 at 2"), std::string::npos) << line;
  EXPECT_NE(line.find("; freed before by nobody known"), std::string::npos) << line;
  payload(b)[1] = std::byte{1};
  ASSERT_NO_FATAL_FAILURE(until_out_again(heap(), b, 64));
  line = lines_.take_one();
  EXPECT_NE(line.find("last given to session 77, tag 7; allocated by session 77, tag 7 at 2"),
            std::string::npos)
      << line;
  EXPECT_NE(line.find("; freed before by session 9, tag 7 at 2"), std::string::npos) << line;
}

TEST_P(DebugTest, WithoutTrackingNobodyKnows) {
  make_with("FZP");
  const Allocation b = take(1, 64)[0];
  EXPECT_FALSE(arena().describe({b.ref.value}).track.has_value());
}

TEST_P(DebugTest, LogIsLimitedAndTheCountIsNot) {
  make_with("Z");
  const auto blocks = take(500, 64);
  for (const Allocation& b : blocks) payload(b)[64] ^= std::byte{1};
  give(blocks);
  EXPECT_EQ(findings(), 500u);
  EXPECT_LT(lines_.take().size(), 250u);
}

}  // namespace
}  // namespace arenad
