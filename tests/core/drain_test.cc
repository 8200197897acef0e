// Drain by itself: when it is over, and who is told.
#include "server/core/control/drain.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "tests/core/control_bench.h"
#include "tests/support/temporary_directory.h"

namespace arenad::server {
namespace {

TEST(Drain, IsOverAtOnceWithoutSessions) {
  ControlBench bench;
  Drain drain(bench.core());
  bench.start();
  EXPECT_FALSE(drain.draining());
  std::promise<void> drained;
  drain.begin([&] { drained.set_value(); });
  EXPECT_TRUE(drain.draining());
  drained.get_future().get();
  bench.stop();
}

TEST(Drain, TellsStreamsAndIsOverWithTheLastSession) {
  ControlBench bench;
  Drain drain(bench.core());
  bench.start();
  bench.shared().tunables.drain_deadline_ms = 600'000;
  const SessionKey key = bench.add_session("s");
  std::promise<SessionEvent::Kind> told;
  bench.on_control([&] {
    bench.core().sessions.find(key.id)->keepalives[1] = [&](const SessionEvent& event) {
      told.set_value(event.kind);
    };
  });
  std::atomic<int> drained{0};
  drain.begin([&] { ++drained; });
  drain.begin([&] { ++drained; });  // a second signal changes nothing
  EXPECT_EQ(told.get_future().get(), SessionEvent::Kind::kDraining);
  bench.on_control([&] { drain.session_ended(); });
  EXPECT_EQ(drained, 0);  // one session is open
  bench.on_control([&] {
    bench.core().sessions.release(key.id);
    drain.session_ended();
    drain.session_ended();
  });
  EXPECT_EQ(drained, 1);
  bench.stop();
}

// With a state directory nobody has to close, because all is kept. What was removed is not kept.
TEST(Drain, WaitsForSessionsAndPromisesNothingWhenFilesOfTheStateDirectoryAreLost) {
  const test::TemporaryDirectory directory{test::kMemoryFiles};
  for (const bool lost : {false, true}) {
    auto state = StateDirectory::open(directory.path(), "", [](LogLevel, const std::string&) {});
    ASSERT_TRUE(state.ok()) << state.error().message;
    ControlBench bench(1, Limits{}, std::move(*state));
    Drain drain(bench.core());
    bench.start();
    bench.shared().tunables.drain_deadline_ms = 600'000;
    const std::string name = lost ? "lost" : "kept";
    bench.add_arena(name, 4 << 20);
    const SessionKey key = bench.add_session("s");
    if (lost) {
      ASSERT_TRUE(std::filesystem::remove(directory.path() + "/lost.data"));
    }
    std::atomic<int> drained{0};
    drain.begin([&] { ++drained; });
    bench.on_control([] {});
    EXPECT_EQ(drained, lost ? 0 : 1);
    bool promised = false;
    for (const std::string& line : bench.log_lines())
      promised |= line.find("are kept for the next daemon") != std::string::npos;
    EXPECT_EQ(promised, !lost);
    EXPECT_EQ(bench.log_lines(LogLevel::kError).size(), lost ? 1u : 0u);
    bench.on_control([&] {
      bench.core().sessions.release(key.id);
      drain.session_ended();
    });
    EXPECT_EQ(drained, 1);
    bench.stop();
  }
}

TEST(Drain, IsOverAtItsDeadlineWhateverIsOpen) {
  ControlBench bench;
  Drain drain(bench.core());
  bench.start();
  bench.shared().tunables.drain_deadline_ms = 1;
  bench.add_session("s");
  std::promise<void> drained;
  drain.begin([&] { drained.set_value(); });
  drained.get_future().get();
  bench.stop();
}

}  // namespace
}  // namespace arenad::server
