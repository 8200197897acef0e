// StateWatch by itself: files that vanish under a daemon are said once, as an error.
#include "server/core/control/state_watch.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>

#include "tests/core/control_bench.h"
#include "tests/support/eventually.h"
#include "tests/support/temporary_directory.h"

namespace arenad::server {
namespace {

namespace fs = std::filesystem;

class StateWatchTest : public testing::Test {
 protected:
  StateWatchTest() {
    auto state = StateDirectory::open(directory_.path(), "", [](LogLevel, const std::string&) {});
    EXPECT_TRUE(state.ok()) << state.error().message;
    bench_ = std::make_unique<ControlBench>(1, Limits{}, std::move(*state));
    watch_ = std::make_unique<StateWatch>(bench_->core(), [this] { ++lost_; });
    auto store = SessionStore::open(bench_->core().state.sessions_path());
    EXPECT_TRUE(store.ok());
    bench_->core().store = std::move(*store);
    bench_->core().state.watch_sessions();
    bench_->start();
    for (const char* name : {"one", "two"}) bench_->add_arena(name, 4 << 20);
  }
  ~StateWatchTest() override { bench_->stop(); }

  void remove(const std::string& file) { EXPECT_TRUE(fs::remove(directory_.path() + "/" + file)); }
  // The errors that are logged after a look.
  std::vector<std::string> look() {
    bench_->on_control([&] { watch_->look(); });
    return bench_->log_lines(LogLevel::kError);
  }

  test::TemporaryDirectory directory_{test::kMemoryFiles};
  std::atomic<int> lost_{0};
  std::unique_ptr<ControlBench> bench_;
  std::unique_ptr<StateWatch> watch_;
};

TEST_F(StateWatchTest, SaysOnceWhichArenaHasLostAFile) {
  EXPECT_EQ(look(), std::vector<std::string>{});
  EXPECT_EQ(lost_, 0);
  for (const char* file : {"one.control", "one.data"}) {
    remove(file);
    const auto errors = look();
    ASSERT_EQ(errors.size(), 1u) << file;
    EXPECT_EQ(errors[0].rfind("files of 1 arenas ('one') were removed", 0), 0u) << errors[0];
  }
  EXPECT_EQ(lost_, 1);
}

TEST_F(StateWatchTest, SaysEachLossAndTellsItsOwnerOnce) {
  remove("two.ledger");
  EXPECT_EQ(look().size(), 1u);
  remove("one.ledger");
  remove("sessions.table");
  const auto errors = look();
  ASSERT_EQ(errors.size(), 2u);
  EXPECT_EQ(errors[1].rfind("files of 1 arenas ('one') and the table of sessions were", 0), 0u)
      << errors[1];
  EXPECT_EQ(lost_, 1);
}

TEST_F(StateWatchTest, ArenaThatWasDeletedAndALockFileAreNoLoss) {
  bench_->on_control([&] {
    ControlCore& core = bench_->core();
    core.state.remove(*core.arenas.find("one")->state->arena);
  });
  remove("lock");
  EXPECT_EQ(look(), std::vector<std::string>{});
}

TEST_F(StateWatchTest, LookAtSomeArenasGoesOnWhereTheOneBeforeEnded) {
  StateDirectory& state = bench_->core().state;
  const auto next_two = [&] { return std::pair{state.next_lost(1), state.next_lost(1)}; };
  EXPECT_EQ(next_two(), std::pair(false, false));
  remove("two.data");
  EXPECT_EQ(next_two(), std::pair(false, true)) << "'one' comes before 'two'";
  EXPECT_EQ(next_two(), std::pair(false, true));
  EXPECT_TRUE(state.next_lost(100)) << "or all in one look";
  remove("sessions.table");
  EXPECT_EQ(next_two(), std::pair(true, true));
}

TEST_F(StateWatchTest, LooksByItselfOnceStarted) {
  watch_->start();
  fs::remove_all(directory_.path());
  EXPECT_TRUE(test::eventually([&] { return lost_ == 1; }));
}

}  // namespace
}  // namespace arenad::server
