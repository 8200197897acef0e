// Debug flag F: what a heap without it finds late or never.
#include "allocator/heap/slab_checks.h"

#include "allocator/base/format.h"
#include "tests/allocator/log_lines.h"
#include "tests/allocator/peer_fixture.h"

namespace arenad {
namespace {

class SlabChecksTest : public ArenaWithPeers {
 protected:
  void make_with(const char* letters) {
    debug_ = *parse_debug(letters);
    heaps_.clear();
    make(8 * kMiB, 2);
  }
  SlabHeader& header(const Allocation& b) { return control().slab(slot_of(b.ref).slab()); }
  std::uint64_t findings() { return control().findings().count.load(); }
  LogLines lines_;
};

using Scribble = void (*)(SlabHeader&);
const std::pair<Scribble, const char*> kScribbles[] = {
    {[](SlabHeader& h) { h.shape.store(h.shape.load() ^ 1 << 16); }, "has another shape"},
    {[](SlabHeader& h) { h.owner.store(3); }, "names another heap"},
    {[](SlabHeader& h) { h.carved.store(h.carved.load() + 1); }, "another count of carved blocks"}};

TEST_F(SlabChecksTest, ScribbledHeaderIsFoundAtTheNextAllocation) {
  broken_on_purpose_ = true;
  for (const auto& [scribble, what] : kScribbles) {
    make_with("F");
    const auto blocks = take(2, 256);
    const Allocation b = blocks[0];
    give({blocks[1]});  // so that the next allocation carves nothing
    scribble(header(b));
    EXPECT_EQ(heap().allocate(256, kHolder).error(), Error::kQuarantined);
    EXPECT_NE(arena().quarantine_reason().find(what), std::string::npos)
        << arena().quarantine_reason();
    const std::string line = lines_.take_one();
    EXPECT_NE(line.find("[BLOCK_DEBUG] F arena=1 ref=0x"), std::string::npos) << line;
    EXPECT_NE(line.find(what), std::string::npos) << line;
    EXPECT_NE(line.find("held by session 77, tag 7"), std::string::npos) << line;
  }
}

TEST_F(SlabChecksTest, ScribbledHeaderIsFoundAtTheFreeInAPeersHeapToo) {
  broken_on_purpose_ = true;
  make_with("F");
  const auto worker = peer(5);
  const Allocation b = worker->take(1, 256)[0];
  header(b).owner.store(3);
  EXPECT_EQ(worker->heap().free(b.ref), Error::kNone);
  EXPECT_TRUE(worker->arena->quarantined());
  EXPECT_NE(lines_.take_one().find("freed by heap 32: the header of its slab names another heap"),
            std::string::npos);
}

TEST_F(SlabChecksTest, WithoutTheFlagAScribbledHeaderIsNotFound) {
  broken_on_purpose_ = true;
  for (const auto& [scribble, what] : kScribbles) {
    make_with("ZPU");
    const Allocation b = take(1, 256)[0];
    scribble(header(b));
    give(take(3, 256));
    give({b});
    EXPECT_FALSE(arena().quarantined()) << what;
    EXPECT_EQ(findings(), 0u);
  }
}

// A peer makes a free block look held. Its process frees the block, and has it twice.
TEST_F(SlabChecksTest, FreeByAForgedWordIsRefusedAtOnce) {
  broken_on_purpose_ = true;
  for (const bool checks : {true, false}) {
    make_with(checks ? "F" : "ZPU");
    const Allocation b = take(1, 256)[0];
    give({b});
    word(b.ref).store(BlockWord::held(word(b.ref).load(), kHolder));
    const Ref forged = arena().refs().ref_of(slot_of(b.ref), BlockWord(word(b.ref).load()));
    EXPECT_EQ(heap().free(forged), checks ? Error::kQuarantined : Error::kNone);
    EXPECT_EQ(arena().quarantined(), checks);
    EXPECT_EQ(lines_.take_one().find("freed while it was free") != std::string::npos, checks);
  }
}

TEST_F(SlabChecksTest, SecondFreeIsReported) {
  make_with("FU");
  for (const std::size_t by : {0, 1}) {
    const Allocation b = take(1, 256)[0];
    EXPECT_EQ(heap(by).free_checked({b.ref.value}, {9}, kNoSession).error, Error::kNone);
    EXPECT_EQ(lines_.take_one(), "");
    EXPECT_EQ(heap(by).free_checked({b.ref.value}, {10}, kNoSession).error, Error::kDoubleFree);
    const std::string line = lines_.take_one();
    EXPECT_NE(line.find(fmt::format("F arena=1 ref=0x{:016x}", b.ref.value)), std::string::npos)
        << line;
    EXPECT_NE(line.find("session 10 tried to free it a second time; now nobody has it"),
              std::string::npos)
        << line;
    EXPECT_NE(line.find("allocated by session 77, tag 7 at 2"), std::string::npos) << line;
    EXPECT_NE(line.find("freed before by session 9, tag 7 at 2"), std::string::npos) << line;
    heap(1).publish();
    heap(0).drain();
  }
}

TEST_F(SlabChecksTest, FreeOfARefThatIsOverIsReported) {
  make_with("F");
  const Allocation b = take(1, 256)[0];
  give({b});
  const auto again = take(600, 256);
  EXPECT_EQ(heap().free(b.ref), Error::kStaleRef);
  EXPECT_NE(lines_.take_one().find("session 1 tried to free it by a ref that is over; now held by "
                                   "session 77, tag 7"),
            std::string::npos);
  give(again);
  trim_all();
  EXPECT_EQ(heap().free_checked({b.ref.value}, {9}, kNoSession).error, Error::kStaleRef);
  EXPECT_NE(lines_.take_one().find("now its slab is gone"), std::string::npos);
}

TEST_F(SlabChecksTest, WithoutTheFlagARefusedFreeIsTheCallersAffair) {
  make_with("ZPU");
  const Allocation b = take(1, 256)[0];
  give({b});
  EXPECT_EQ(heap().free(b.ref), Error::kDoubleFree);
  EXPECT_EQ(lines_.take_one(), "");
}

TEST_F(SlabChecksTest, PrivateStateThatContradictsItselfIsAFault) {
  make_with("F");
  const Allocation b = take(1, 256)[0];
  give({b});
  heap().trim();
  const Allocation c = take(1, 256)[0];
  SlabState& slab = *const_cast<SlabTable&>(heap().slabs()).find(slot_of(c.ref).slab());
  EXPECT_EQ(slab_fault(arena(), heap().id(), slab), nullptr);
  const std::uint64_t free_bits = std::exchange(slab.free_bits[0], ~std::uint64_t{0});
  EXPECT_STREQ(slab_fault(arena(), heap().id(), slab),
               "a block of its slab is free and away at once");
  slab.free_bits[0] = free_bits;
  ++slab.free_count;
  EXPECT_STREQ(slab_fault(arena(), heap().id(), slab),
               "the count of free blocks of its slab is wrong");
  --slab.free_count;
  EXPECT_EQ(slab_fault(arena(), heap().id(), slab), nullptr);
  give({c});
}

}  // namespace
}  // namespace arenad
