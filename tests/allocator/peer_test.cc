// Peers: heaps on leased slabs in another view of the same memory, their end, and what others hold
// of theirs.
#include "peer_fixture.h"
#include "tests/support/refs.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <cstring>

namespace arenad {
namespace {

class PeerTest : public ArenaWithPeers {};

TEST_F(PeerTest, AllocatesAndFreesOnLeasedSlabs) {
  make(16 * kMiB);
  const auto a = peer(5);
  const auto blocks = a->take(5000, 256);
  EXPECT_EQ(arena().ledger().run(slot_of(blocks[0].ref).slab()).owner(), RunOwner::leased_to({5}));
  EXPECT_EQ(full_report().held, 5000u);
  EXPECT_GE(full_report().leased_slabs, 20u);
  for (const Allocation& b : blocks) EXPECT_EQ(a->heap().free(b.ref), Error::kNone);
  EXPECT_EQ(a->heap().free(blocks[0].ref), Error::kDoubleFree);
  a->heap().trim();
  EXPECT_EQ(arena().units().taken_units(), 0u) << "every leased slab came back";
}

TEST_F(PeerTest, SeesTheDataAtAnotherAddress) {
  make(16 * kMiB);
  const auto a = peer(5), b = peer(6);
  const Allocation block = a->take(1, 100)[0];
  std::memcpy(a->arena->data() + block.offset, "hello", 6);
  EXPECT_STREQ(reinterpret_cast<const char*>(b->arena->data() + block.offset), "hello");
  EXPECT_NE(a->arena->data(), b->arena->data());
  EXPECT_EQ(b->arena->describe({block.ref.value}).holder.session(), SessionId{5});
  EXPECT_EQ(a->heap().free(block.ref), Error::kNone);
}

TEST_F(PeerTest, FreesOfOthersBlocksComeHome) {
  make(16 * kMiB);
  const auto a = peer(5), b = peer(6);
  const auto blocks = a->take(3000, 64);
  for (const Allocation& block : blocks) EXPECT_EQ(b->heap().free(block.ref), Error::kNone);
  EXPECT_EQ(b->heap().free(blocks[7].ref), Error::kDoubleFree);
  b->heap().publish();
  EXPECT_EQ(a->heap().drain(), 3000u);
  // Between the daemon's heaps and a peer's, both ways.
  const auto servers = take(500, 64);
  for (const Allocation& block : servers) EXPECT_EQ(a->heap().free(block.ref), Error::kNone);
  a->heap().publish();
  EXPECT_EQ(heap().drain(), 500u);
  const auto peers = a->take(500, 64);
  for (const Allocation& block : peers)
    EXPECT_EQ(heap().free_checked({block.ref.value}, {77}, kNoSession).error, Error::kNone);
  heap().publish();
  EXPECT_EQ(a->heap().drain(), 500u);
}

TEST_F(PeerTest, MarksWhatItTouchesBeforeAndOnlyForeignSlabs) {
  make(16 * kMiB);
  const auto a = peer(5), b = peer(6);
  const Allocation freed = a->take(1, 64)[0], taken = a->take(1, 1024)[0],
                   joined = a->take(1, 4096)[0];
  EXPECT_TRUE(arena().footprint_of({6}).empty());
  EXPECT_EQ(b->heap().free(freed.ref), Error::kNone);
  EXPECT_TRUE(b->arena->acquire({taken.ref.value}, b->holder()).ok());
  EXPECT_EQ(a->arena->share({joined.ref.value}, {5}), Error::kNone);
  EXPECT_EQ(b->arena->share({joined.ref.value}, {6}), Error::kNone);
  const Footprint footprint = arena().footprint_of({6});
  for (const Allocation& block : {freed, taken, joined})
    EXPECT_TRUE(footprint.has(slot_of(block.ref).slab()));
  b->heap().publish();
  end({6});
  EXPECT_TRUE(arena().footprint_of({6}).empty()) << "forgotten with the session";
  end({5});
}

TEST_F(PeerTest, DeathGivesBackWhatItHeldAndKeepsWhatOthersHold) {
  make(16 * kMiB, 2);
  auto a = peer(5);
  const auto b = peer(6);
  const auto held = a->take(2000, 256);
  const auto taken = a->take(300, 256);
  for (const Allocation& block : taken)
    ASSERT_TRUE(b->arena->acquire({block.ref.value}, b->holder(9)).ok());
  const auto foreign = b->take(100, 512);
  for (const Allocation& block : foreign)
    ASSERT_TRUE(a->arena->acquire({block.ref.value}, a->holder()).ok());
  const auto servers = take(50, 512, 1);
  for (const Allocation& block : servers)
    ASSERT_TRUE(a->arena->acquire({block.ref.value}, a->holder()).ok());
  a.reset();  // as killed: nothing published, nothing returned
  const ReapResult result = end({5});
  EXPECT_EQ(result.blocks, 2000u + 100u + 50u);
  EXPECT_EQ(b->heap().drain(), 100u) << "its own blocks that the dead had taken over";
  EXPECT_EQ(full_report().held, 300u);
  EXPECT_EQ(arena().ledger().run(slot_of(taken[0].ref).slab()).owner(), RunOwner::heap({0}))
      << "adopted";
  for (const Allocation& block : taken)
    EXPECT_EQ(b->heap().free(block.ref), Error::kNone) << "they live on";
  b->heap().publish();
  heap(0).trim();
  b->heap().trim();
  heap(1).trim();
  EXPECT_EQ(arena().units().taken_units(), 0u);
}

TEST_F(PeerTest, FreesThatTheDeadDidNotPublishAreFound) {
  make(16 * kMiB);
  const auto a = peer(5);
  auto b = peer(6);
  const auto blocks = a->take(700, 64);
  for (std::size_t i = 0; i < blocks.size(); i += 3)
    ASSERT_EQ(b->heap().free(blocks[i].ref), Error::kNone);
  b.reset();
  EXPECT_EQ(a->heap().drain(), 0u) << "gathered, and lost with it";
  const ReapResult result = end({6});
  EXPECT_EQ(result.blocks, 0u);
  EXPECT_EQ(a->heap().drain(), (blocks.size() + 2) / 3);
}

TEST_F(PeerTest, AdopterIsToldOfLaterFrees) {
  make(16 * kMiB);
  auto a = peer(5);
  const auto b = peer(6);
  const auto blocks = a->take(600, 256);
  for (const Allocation& block : blocks)
    ASSERT_TRUE(b->arena->acquire({block.ref.value}, b->holder()).ok());
  // Some are on their way to the dead owner: their bits stand, and nobody will come for them.
  for (std::size_t i = 0; i < 100; ++i) ASSERT_EQ(b->heap().free(blocks[i].ref), Error::kNone);
  b->heap().publish();
  a.reset();
  end({5});
  EXPECT_EQ(full_report().returning, 0u)
      << "the adopter takes RETURNING blocks, whatever their bits say";
  for (std::size_t i = 100; i < 600; ++i) ASSERT_EQ(b->heap().free(blocks[i].ref), Error::kNone);
  b->heap().publish();
  EXPECT_EQ(heap().drain(), 500u);
}

TEST_F(PeerTest, SharedBlockLivesUntilItsLastSharerReleases) {
  make(16 * kMiB);
  const auto a = peer(5), b = peer(6), c = peer(7);
  const Allocation block = a->take(1, 100)[0];
  const UntrustedRef ref{block.ref.value};
  EXPECT_EQ(b->arena->share(ref, {6}), Error::kNotHolder) << "its holder shares it first";
  EXPECT_EQ(a->heap().release(ref, {5}), Error::kNotHolder) << "held, not shared";
  EXPECT_EQ(a->arena->share(ref, {5}), Error::kNone);
  EXPECT_EQ(a->arena->share(ref, {5}), Error::kNone) << "again is nothing";
  EXPECT_EQ(b->arena->share(ref, {6}), Error::kNone);
  EXPECT_EQ(a->heap().free(block.ref), Error::kNotHolder) << "shared: released, not freed";
  EXPECT_EQ(c->heap().free(block.ref), Error::kNotHolder);
  EXPECT_FALSE(c->arena->acquire(ref, c->holder()).ok());
  EXPECT_EQ(c->heap().release(ref, {7}), Error::kNotHolder);
  EXPECT_EQ(a->heap().release(ref, {5}), Error::kNone);
  EXPECT_EQ(a->heap().release(ref, {5}), Error::kNotHolder) << "once";
  EXPECT_EQ(arena().describe(ref).state, BlockFacts::State::kShared);
  EXPECT_EQ(b->heap().release(ref, {6}), Error::kNone);
  EXPECT_EQ(b->heap().release(ref, {6}), Error::kDoubleFree);
  b->heap().publish();
  EXPECT_EQ(a->heap().drain(), 1u);
  // And the owner as the last one.
  const Allocation own = a->take(1, 100)[0];
  EXPECT_EQ(a->arena->share({own.ref.value}, {5}), Error::kNone);
  EXPECT_EQ(a->heap().release({own.ref.value}, {5}), Error::kNone);
  EXPECT_EQ(arena().describe({own.ref.value}).state, BlockFacts::State::kStale);
}

TEST_F(PeerTest, DeathOfSharersFreesWhatNobodyElseShares) {
  make(16 * kMiB);
  auto a = peer(5), b = peer(6);
  const auto blocks = a->take(90, 100);
  for (std::size_t i = 0; i < 90; ++i) {
    ASSERT_EQ(a->arena->share({blocks[i].ref.value}, {5}), Error::kNone);
    if (i % 3 != 0) {
      ASSERT_EQ(b->arena->share({blocks[i].ref.value}, {6}), Error::kNone);
    }
    if (i % 3 == 1) {
      ASSERT_EQ(a->heap().release({blocks[i].ref.value}, {5}), Error::kNone);
    }
  }
  b.reset();
  EXPECT_EQ(end({6}).blocks, 30u) << "those that it alone shared";
  EXPECT_EQ(a->heap().drain(), 30u);
  EXPECT_EQ(full_report().shared, 60u);
  a.reset();
  EXPECT_EQ(end({5}).blocks, 60u);
  EXPECT_EQ(full_report().shared, 0u);
  EXPECT_EQ(arena().sharer_bits({5}), 0u);
}

TEST_F(PeerTest, SharerBitsRunOutAtForty) {
  make(16 * kMiB);
  const auto a = peer(1);
  const Allocation block = a->take(1, 100)[0];
  ASSERT_EQ(a->arena->share({block.ref.value}, {1}), Error::kNone);
  for (std::uint16_t s = 2; s <= 40; ++s)
    ASSERT_EQ(arena().share({block.ref.value}, {s}), Error::kNone);
  EXPECT_EQ(arena().share({block.ref.value}, {41}), Error::kSharersFull);
  arena().ledger().set_attach_mode({7}, 4);
  end({7});
  EXPECT_EQ(arena().share({block.ref.value}, {41}), Error::kNone)
      << "a bit comes back with its session's end";
  for (std::uint16_t s = 1; s <= 41; ++s) {
    if (s == 7) continue;
    ASSERT_EQ(heap().release({block.ref.value}, {s}), Error::kNone) << s;
  }
  heap().publish();
  EXPECT_EQ(a->heap().drain(), 1u);
}

TEST_F(PeerTest, AttachRefusesWhatIsNoArena) {
  make(16 * kMiB);
  EXPECT_EQ(
      PeerArena::attach(::dup(arena().data_fd()), ::dup(arena().data_fd()), {5}).error().error,
      Error::kInvalidOption);
  EXPECT_EQ(PeerArena::attach(::dup(arena().control_fd()), ::dup(arena().control_fd()), {5})
                .error()
                .error,
            Error::kInvalidOption)
      << "a data file of another size";
  control().header().version = kLayoutVersion + 1;
  const auto other = PeerArena::attach(::dup(arena().data_fd()), ::dup(arena().control_fd()), {5});
  EXPECT_NE(other.error().message.find("layout version"), std::string::npos)
      << other.error().message;
}

// A process of its own that allocates, frees, takes over and shares until it is killed. Everything
// is home after its end.
TEST_F(PeerTest, KilledProcessesLoseNothing) {
  make(64 * kMiB, 2);
  const auto survivor = peer(200);
  for (std::uint16_t round = 0; round < 30; ++round) {
    const SessionId session{static_cast<std::uint16_t>(10 + round)};
    arena().mark_session(session, SessionEntry::kLive);
    arena().ledger().set_attach_mode(session, 4);
    const HeapId id = arena().ledger().claim_heap({kFirstPeerHeap}, session);
    arena().enlist_heap(id, session);
    std::vector<SlabIndex> slabs;  // leased before the process starts: there is no daemon to ask
    const Geometry& geometry = arena().geometry();
    const RunShape request = geometry.slab_shape(geometry.class_of(256));
    for (int i = 0; i < 40; ++i)
      slabs.push_back(*arena().grant(id, RunOwner::leased_to(session), request, {0}));
    const auto mine = survivor->take(2000, 256);
    int ready[2];
    ASSERT_EQ(::pipe(ready), 0);
    const int data = ::dup(arena().data_fd()), control_file = ::dup(arena().control_fd());
    const pid_t child = ::fork();
    if (child == 0) {
      struct Stock final : SlabSource {
        std::vector<SlabIndex> left;
        ArenaView* view = nullptr;
        Result<SlabIndex> take(HeapId heap, const RunShape& r, SuperslabIndex) override {
          if (left.empty()) return Error::kArenaFull;
          const SlabIndex s = left.back();
          left.pop_back();
          view->prepare_run(s, heap, r);
          return s;
        }
        void give_back(HeapId, SlabIndex first, std::uint32_t) override { left.push_back(first); }
      } stock;
      stock.left = slabs;
      auto view = PeerArena::attach(data, control_file, session);
      if (!view.ok()) ::_exit(3);
      stock.view = view->get();
      Heap heap(**view, id, session, stock);
      std::vector<Ref> held;
      std::uint32_t random = round * 2654435761u + 1;
      for (std::uint64_t n = 0;; ++n) {
        random = random * 1664525 + 1013904223;
        const std::uint32_t pick = random >> 8;
        if (n == 4000) [[maybe_unused]]
          const auto sent = ::write(ready[1], "r", 1);
        if (pick % 4 == 0 && !held.empty()) {
          const std::size_t i = pick % held.size();
          [[maybe_unused]] const Error e = heap.free(held[i]);
          held[i] = held.back();
          held.pop_back();
        } else if (pick % 4 == 1) {
          [[maybe_unused]] const auto got =
              (*view)->acquire({mine[pick % mine.size()].ref.value}, {session, 1});
        } else if (pick % 16 == 2) {
          [[maybe_unused]] const Error e = heap.free(mine[pick % mine.size()].ref);
        } else if (pick % 16 == 3 && !held.empty()) {
          [[maybe_unused]] const Error e =
              (*view)->share({held[pick % held.size()].value}, session);
        } else if (const auto b = heap.allocate(256, {session, 0}); b.ok()) {
          held.push_back(b->ref);
        }
      }
    }
    char byte;
    ASSERT_EQ(::read(ready[0], &byte, 1), 1);
    for (std::uint32_t spin = 0; spin < (round * 7919u) % 20000; ++spin)
      survivor->heap().drain();  // some time, not always the same
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    for (const int fd : {ready[0], ready[1], data, control_file}) ::close(fd);
    end(session, round % 2);
    survivor->heap().drain();
    VerifyReport r = full_report();
    ASSERT_TRUE(r.exact()) << "round " << round << ": " << findings_of(r);
    std::uint64_t left = 0;
    for (const Allocation& b : mine) left += survivor->heap().free(b.ref) == Error::kNone;
    EXPECT_LE(left, mine.size());
    survivor->heap().trim();
    heap(0).trim();
    heap(1).trim();
    ASSERT_EQ(full_report().held + full_report().shared + full_report().returning, 0u)
        << "round " << round;
    ASSERT_EQ(arena().units().taken_units(), 0u) << "round " << round;
  }
}

}  // namespace
}  // namespace arenad
