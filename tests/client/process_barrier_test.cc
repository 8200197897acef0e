// The barrier of a peer's heaps, and what a peer does in a process that may not have it.
#include "client/lib/process_barrier.h"

#include <gtest/gtest.h>
#include <sys/syscall.h>

#include <atomic>
#include <cstdlib>
#include <vector>

#include "client/lib/daemon_gate.h"
#include "tests/client/local_leases.h"
#include "tests/support/forbid_syscall.h"
#include "tests/support/workers.h"

namespace arenad::client {
namespace {

// Ends the process of a death test: 0 when nothing in it has failed.
[[noreturn]] void end() { std::_Exit(testing::Test::HasFailure() ? 1 : 0); }

void forbid_barrier() { ASSERT_TRUE(test::forbid_syscall(SYS_membarrier)); }

// Each of these runs in a process of its own, without threads.
class ProcessBarrierDeathTest : public testing::Test {
 protected:
  void SetUp() override { testing::FLAGS_gtest_death_test_style = "threadsafe"; }
};

class ConfinedPeerBarrierDeathTest : public LocalArena {
 protected:
  void SetUp() override {
    testing::FLAGS_gtest_death_test_style = "threadsafe";
    make(64 << 20);
  }
};

TEST(ProcessBarrier, IsThereOnThisMachine) {
  EXPECT_TRUE(can_barrier_everywhere());
  EXPECT_TRUE(barrier_everywhere());
}

TEST_F(ProcessBarrierDeathTest, RefusedFromTheBeginning) {
  EXPECT_EXIT(
      {
        forbid_barrier();
        EXPECT_FALSE(can_barrier_everywhere());
        EXPECT_FALSE(barrier_everywhere());
        end();
      },
      testing::ExitedWithCode(0), "");
}

TEST_F(ProcessBarrierDeathTest, RefusedLater) {
  EXPECT_EXIT(
      {
        EXPECT_TRUE(can_barrier_everywhere());
        forbid_barrier();
        EXPECT_FALSE(barrier_everywhere());
        end();
      },
      testing::ExitedWithCode(0), "");
}

// Without the barrier nobody can tell whether the owner is inside. So nobody but the owner enters.
TEST_F(ConfinedPeerBarrierDeathTest, OthersStayOutOfAHeap) {
  EXPECT_EXIT(
      {
        const auto p = pool(7);
        const Ref ref = take(*p, 64).ref;
        PeerHeap& heap = *peer_cache.find(p->id());
        EXPECT_TRUE(heap.with_owner_out(0, [](Heap&) {}));
        forbid_barrier();
        EXPECT_FALSE(heap.with_owner_out(0, [](Heap&) { ADD_FAILURE() << "somebody is inside"; }));
        EXPECT_EQ(give(*p, ref), Error::kNone) << "the owner gets on";
        end();
      },
      testing::ExitedWithCode(0), "");
}

// Threads at work, and others that want to enter their heaps all the time, until the pool closes.
TEST_F(ConfinedPeerBarrierDeathTest, OwnersGetOnUntilTheSessionCloses) {
  EXPECT_EXIT(
      {
        constexpr int kTurns = 20;
        const auto p = pool(7);
        (void)take(*p, 64);
        forbid_barrier();
        std::atomic<int> turns[2];
        test::Workers workers;
        for (auto& mine : turns)
          workers.start([&] {
            std::vector<Ref> refs;
            while (workers.go_on()) {
              for (int i = 0; i < 500; ++i) refs.push_back(take_fast(*p, 64));
              for (const Ref ref : refs) EXPECT_EQ(give_fast(*p, ref), Error::kNone);
              refs.clear();
              ++mine;
            }
          });
        EXPECT_TRUE(workers.wait_until([&] {
          p->trim();
          p->tick();
          return turns[0] >= kTurns && turns[1] >= kTurns;
        }));
        workers.stop();
        workers.join();
        EXPECT_EQ(leases().held, 1u);
        p->close(closed_status());
        EXPECT_FALSE(peer_cache.enter(p->id()));
        end();
      },
      testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace arenad::client
