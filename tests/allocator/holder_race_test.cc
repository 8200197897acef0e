// A checked free while the block changes hands: it takes the block from the holder that it names
// and that was demanded, or it is refused. Otherwise a holder-only arena would be none, and quotas
// would be given back to the wrong session.
#include <atomic>
#include <chrono>
#include <thread>

#include "tests/allocator/arena_fixture.h"
#include "tests/support/workers.h"

namespace arenad {
namespace {

constexpr Holder kFirst{{101}, 1};
constexpr Holder kSecond{{102}, 2};
constexpr std::uint64_t kRounds = 5000;

class HolderRaceTest : public ArenaWithHeaps, public testing::WithParamInterface<std::size_t> {
 protected:
  // Rounds of: another thread hands a block from kFirst to kSecond and back until it is gone, while
  // heap GetParam() frees it on condition that `required` holds it. The thread knows whose it was
  // last. Counts what was wrong or was not.
  void race(SessionId required) {
    make(8 * kMiB, 2);
    std::atomic<std::uint64_t> ref{0}, handovers{0};
    std::atomic<bool> gone{false};
    std::uint64_t last_holder = 0;  // written before `gone`, read after it
    test::Workers workers;
    workers.start([&] {
      std::uint64_t seen = 0;
      for (;;) {
        std::uint64_t now;
        while ((now = ref.load(std::memory_order_acquire)) == seen) {
          if (!workers.go_on()) return;
          std::this_thread::yield();
        }
        seen = now;
        last_holder = kFirst.held_word();
        for (bool second = true; arena().acquire({now}, second ? kSecond : kFirst).ok();
             second = !second) {
          last_holder = (second ? kSecond : kFirst).held_word();
          handovers.fetch_add(1, std::memory_order_relaxed);
        }
        gone.store(true, std::memory_order_release);
      }
    });
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(2);
    for (std::uint64_t round = 0; round < kRounds && std::chrono::steady_clock::now() < deadline;
         ++round) {
      const auto b = heap(0).allocate(64, kFirst);
      ASSERT_TRUE(b.ok());
      const std::uint64_t before = handovers.load();
      gone = false;
      ref.store(b->ref.value, std::memory_order_release);
      ASSERT_TRUE(
          workers.wait_until([&] { return handovers.load(std::memory_order_relaxed) != before; }));
      FreeOutcome out;
      while ((out = heap(GetParam()).free_checked({b->ref.value}, {9}, required)).error !=
             Error::kNone) {
        ASSERT_EQ(out.error, Error::kNotHolder);
        std::this_thread::yield();
      }
      ASSERT_TRUE(workers.wait_until([&] { return gone.load(std::memory_order_acquire); }));
      ++freed_;
      misnamed_ += out.holder.held_word() != last_holder;
      not_the_required_ +=
          required != kNoSession && BlockWord(last_holder).holder().session() != required;
      heap(1).publish();
      heap(0).drain();
    }
    workers.stop();
    workers.join();
    EXPECT_GT(freed_, 0u);
    EXPECT_EQ(misnamed_, 0u) << "of " << freed_ << " frees";
    EXPECT_EQ(not_the_required_, 0u) << "of " << freed_ << " frees";
  }

  std::uint64_t freed_ = 0, misnamed_ = 0, not_the_required_ = 0;
};
INSTANTIATE_TEST_SUITE_P(, HolderRaceTest, testing::Values(0, 1), [](const auto& param) {
  return param.param == 0 ? "FreedByTheOwner" : "FreedRemotely";
});

TEST_P(HolderRaceTest, FreeThatDemandsAHolderNeverTakesFromAnother) { race(kFirst.session()); }
TEST_P(HolderRaceTest, FreeNamesTheHolderThatItTookTheBlockFrom) { race(kNoSession); }

}  // namespace
}  // namespace arenad
