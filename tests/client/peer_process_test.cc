// Peers in processes of their own: blocks change hands, producers and sharers are killed, one
// stands still.
#include "tests/client/peer_process.h"

#include <cstring>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <memory_resource>
#include <numeric>
#include <string>
#include <unordered_map>
#include <vector>

#include "tests/client/client_fixture.h"

namespace arenad::client {
namespace {

class PeerProcessTest : public ClientTest {
 protected:
  PeerProcess process() const { return {shared_daemon().socket_dir(), arena_name}; }
  BlockInfo info(const ArenaHandle& arena, Ref ref) const {
    return must(arena.describe(std::span(&ref, 1))).at(0);
  }
};

TEST_F(PeerProcessTest, BlocksChangeHandsBothWays) {
  auto a = attach(AttachMode::kPeer);
  PeerProcess other = process();
  const Ref theirs = other.allocate(100, "from-there");
  Block taken = must(a.arena.take(theirs));
  EXPECT_STREQ(reinterpret_cast<const char*>(taken.data()), "from-there");
  EXPECT_TRUE(taken.free().ok());
  // Keeps the slab, which may go back to the daemon when it is empty. Refs into it are stale then.
  const Block neighbour = must(a.arena.allocate(100));
  Block mine = must(a.arena.allocate(100));
  std::strcpy(reinterpret_cast<char*>(mine.data()), "from-here");
  const Ref ref = mine.release();
  EXPECT_EQ(other.ask("take", ref), "ok");
  EXPECT_EQ(other.ask("read", ref), "from-here");
  EXPECT_EQ(info(a.arena, ref).holder, other.session());
  EXPECT_EQ(other.ask("free", ref), "ok");
  EXPECT_NE(other.ask("free", ref).find("DOUBLE_FREE"), std::string::npos);
}

TEST_F(PeerProcessTest, BlockOutlivesItsProducerOnceItWasTakenOver) {
  auto a = attach(AttachMode::kPeer);
  PeerProcess producer = process();
  const Ref kept = producer.allocate(100, "kept");
  const Ref lost = producer.allocate(100, "lost");
  Block block = must(a.arena.take(kept));
  producer.kill();
  EXPECT_TRUE(eventually([&] { return info(a.arena, lost).state != BlockState::kHeld; }));
  EXPECT_EQ(info(a.arena, kept).holder, a.session.id());
  EXPECT_STREQ(reinterpret_cast<const char*>(block.data()), "kept");
  EXPECT_TRUE(block.free().ok());
}

TEST_F(PeerProcessTest, FreesThatADyingPeerDidNotPublishAreFound) {
  auto a = attach(AttachMode::kPeer);
  PeerProcess other = process();
  std::string command = "gather";
  std::vector<Ref> refs;
  for (int i = 0; i < 50; ++i) refs.push_back(must(a.arena.allocate(64)).release());
  for (const Ref ref : refs) command += " " + std::to_string(ref.value);
  other.say(command);
  other.wait();
  EXPECT_TRUE(eventually([&] { return facts().held_blocks == 0 && facts().sessions == 1; }));
  EXPECT_EQ(info(a.arena, refs[0]).state, BlockState::kStale);
}

TEST_F(PeerProcessTest, KillOfASharerReleasesAndOfTheLastOneFrees) {
  auto a = attach(AttachMode::kPeer);
  auto sharer = std::make_unique<PeerProcess>(shared_daemon().socket_dir(), arena_name);
  PeerProcess last = process();
  const Ref ref = must(a.arena.allocate(100)).release();
  ASSERT_TRUE(must(a.arena.share(std::span(&ref, 1))).all());
  EXPECT_EQ(sharer->ask("share", ref), "ok");
  EXPECT_EQ(last.ask("share", ref), "ok");
  sharer->kill();
  EXPECT_TRUE(must(a.arena.release(std::span(&ref, 1))).all());
  EXPECT_EQ(info(a.arena, ref).state, BlockState::kShared);
  last.kill();
  EXPECT_TRUE(eventually([&] { return info(a.arena, ref).state == BlockState::kStale; }));
}

TEST_F(PeerProcessTest, KilledInTheMiddleOfChurnLosesNothing) {
  auto a = attach(AttachMode::kPeer);
  for (int i = 0; i < 10; ++i) {
    PeerProcess other = process();
    ASSERT_EQ(other.ask("churn"), "ok");
    ASSERT_EQ(other.ask("many 300 1000"), "ok");
    other.kill();
  }
  EXPECT_TRUE(eventually([&] { return facts().held_blocks == 0 && facts().sessions == 1; }));
}

TEST_F(PeerProcessTest, StoppedPeerHoldsNobodyUp) {
  auto a = attach(AttachMode::kPeer);
  PeerProcess stopped = process();
  const Ref theirs = stopped.allocate(100, "frozen");
  Block mine = must(a.arena.allocate(100));
  ASSERT_EQ(stopped.ask("take", mine.ref()), "ok");
  (void)mine.release();
  stopped.stop();
  // Its blocks can be taken over and freed. The daemon finds out that the arena is full without the
  // answer of a process that stands still until these calls have returned.
  EXPECT_TRUE(must(a.arena.take(theirs)).free().ok());
  EXPECT_EQ(a.arena.allocate(1 << 30).error().reason, Error::kInvalidSize);
  EXPECT_EQ(a.arena.allocate(64 << 20).error().reason, Error::kArenaFull);
  stopped.go_on();
  EXPECT_EQ(stopped.ask("many 100 10"), "ok");
}

TEST_F(PeerProcessTest, TrimBringsAnotherProcessMemoryToWhoNeedsIt) {
  auto a = attach(AttachMode::kPeer);
  PeerProcess other = process();
  const Ref ref = other.allocate(50 << 20, "most");
  EXPECT_EQ(a.arena.allocate(40 << 20).error().reason, Error::kArenaFull);
  EXPECT_EQ(other.ask("free", ref), "ok");
  const Block block = must(a.arena.allocate(40 << 20, {.wait_ms = 30'000}));
  EXPECT_GE(block.size_bytes(), 40u << 20);
}

TEST_F(PeerProcessTest, VectorInTheArenaIsReadByAnotherProcess) {
  auto a = attach(AttachMode::kPeer);
  ArenaResource resource(a.arena, 5);
  PeerProcess other = process();
  using Vector = std::vector<int, ArenaAllocator<int>>;
  Block home = must(a.arena.allocate(sizeof(Vector)));
  auto* const values = new (home.data()) Vector(ArenaAllocator<int>(&resource));
  for (int i = 1; i <= 1000; ++i) values->push_back(i);
  EXPECT_EQ(other.ask("sum " + std::to_string(home.offset_bytes())),
            std::to_string(1000 * 1001 / 2));
  values->insert(values->begin() + 10, 7);
  values->erase(values->begin(), values->begin() + 5);
  EXPECT_EQ(other.ask("sum " + std::to_string(home.offset_bytes())),
            std::to_string(1000 * 1001 / 2 + 7 - 15));
  values->~Vector();
  EXPECT_TRUE(home.free().ok());
  EXPECT_EQ(facts().held_blocks, 0u);
}

class ResourceTest : public PeerProcessTest, public testing::WithParamInterface<AttachMode> {};

bool lies_in(const ArenaHandle& arena, const void* address) {
  const auto* const at = static_cast<const std::byte*>(address);
  return at >= arena.data().data() && at < arena.data().data() + arena.data().size();
}

// What arenad/pmr.h says of containers that only the process that made them uses.
TEST_P(ResourceTest, PmrContainersLiveInTheArena) {
  auto a = attach(GetParam());
  ArenaResource resource(a.arena);
  {
    const std::pmr::string string(1000, 'x', &resource);
    const std::pmr::vector<int> vector({1, 2, 3}, &resource);
    const std::pmr::list<int> list({1, 2, 3}, &resource);
    const std::pmr::deque<int> deque({1, 2, 3}, &resource);
    const std::pmr::map<int, int> map({{1, 2}, {3, 4}}, &resource);
    const std::pmr::unordered_map<int, int> hashed({{1, 2}, {3, 4}}, 8, &resource);
    EXPECT_TRUE(lies_in(a.arena, string.data()));
    EXPECT_TRUE(lies_in(a.arena, vector.data()));
    EXPECT_TRUE(lies_in(a.arena, &list.back()));
    EXPECT_TRUE(lies_in(a.arena, &deque.back()));
    EXPECT_TRUE(lies_in(a.arena, &map.at(3)));
    EXPECT_TRUE(lies_in(a.arena, &hashed.at(3)));
    EXPECT_EQ(map.at(3) + hashed.at(1) + list.back() + deque.back(), 12);
  }
  EXPECT_EQ(facts().held_blocks, 0u);
}

TEST_P(ResourceTest, ArenaAllocatorServesVectorDequeAndUnorderedMap) {
  auto a = attach(GetParam());
  ArenaResource resource(a.arena);
  {
    using Pair = std::pair<const int, int>;
    std::vector<int, ArenaAllocator<int>> vector(&resource);
    std::deque<int, ArenaAllocator<int>> deque(&resource);
    std::unordered_map<int, int, std::hash<int>, std::equal_to<int>, ArenaAllocator<Pair>> hashed(
        &resource);
    for (int i = 0; i < 1000; ++i) {
      vector.push_back(i);
      deque.push_back(i);
      hashed[i] = i;
    }
    EXPECT_TRUE(lies_in(a.arena, &vector.back()));
    EXPECT_TRUE(lies_in(a.arena, &deque.back()));
    EXPECT_TRUE(lies_in(a.arena, &hashed.at(999)));
    EXPECT_EQ(vector.back() + deque.back() + hashed.at(1), 999 + 999 + 1);
  }
  EXPECT_EQ(facts().held_blocks, 0u);
}

TEST_P(ResourceTest, NestedContainersAlignmentAndFailure) {
  auto a = attach(GetParam());
  ArenaResource resource(a.arena);
  {
    std::pmr::map<int, std::pmr::string> map(&resource);
    for (int i = 0; i < 200; ++i) map.emplace(i, std::string(static_cast<std::size_t>(i), 'x'));
    EXPECT_EQ(map.at(150).size(), 150u);
    EXPECT_TRUE(lies_in(a.arena, map.at(150).data()));
    EXPECT_GT(facts().held_blocks, 200u);
    void* const aligned = resource.allocate(100, 4096);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(aligned) % 4096, 0u);
    resource.deallocate(aligned, 100, 4096);
    EXPECT_THROW((void)resource.allocate(100, 8192), std::bad_alloc);
    EXPECT_THROW((void)resource.allocate(std::size_t{1} << 40), std::bad_alloc);
  }
  EXPECT_EQ(facts().held_blocks, 0u);
}

INSTANTIATE_TEST_SUITE_P(Modes, ResourceTest,
                         testing::Values(AttachMode::kWriter, AttachMode::kPeer));

}  // namespace
}  // namespace arenad::client
