// SessionEnds by itself: what a session held comes back, and not while an audit holds the shards.
#include "server/core/control/session_ends.h"

#include <gtest/gtest.h>

#include "server/core/control/detaches.h"
#include "server/core/control/drain.h"
#include "server/core/control/liveness.h"
#include "server/core/control/session_reap.h"
#include "server/core/control/trim_rounds.h"
#include "tests/core/control_bench.h"

namespace arenad::server {
namespace {

class SessionEndsTest : public testing::Test {
 protected:
  ~SessionEndsTest() override { bench_.stop(); }

  std::future<Answer<GivenBack>> end_later(SessionId session, EndCause cause) {
    return bench_.answer_later<GivenBack>(
        [this, session, cause] { return ends_.end(session, cause); });
  }

  ControlBench bench_;
  StandstillGate gate_;
  Drain drain_{bench_.core()};
  TrimRounds trim_rounds_{bench_.core()};
  Liveness liveness_{bench_.core().thread.io(), [](SessionId, Liveness::Loss) {}};
  SessionReap reap_{bench_.core(), gate_, trim_rounds_};
  Detaches detaches_{bench_.core(), reap_};
  SessionEnds ends_{bench_.core(), liveness_, reap_, detaches_, trim_rounds_, drain_};
};

TEST_F(SessionEndsTest, GivesBackWhatTheSessionHeldAndFreesItsId) {
  bench_.start();
  const ArenaId arena = bench_.add_arena("pool", 4 << 20);
  const SessionKey key = bench_.add_session("s");
  bench_.attach(key, arena);
  ASSERT_TRUE(bench_.allocate(0, key, arena, 64, 3).ok());
  ASSERT_TRUE(bench_.allocate(1, key, arena, 4096).ok());
  const auto given = end_later(key.id, EndCause::kProcessDied).get();
  ASSERT_TRUE(given.ok());
  EXPECT_EQ(given->blocks, 4u);
  EXPECT_EQ(given->bytes, 3u * 64 + 4096);
  bench_.on_control([&] {
    EXPECT_EQ(bench_.core().sessions.find(key.id), nullptr);
    EXPECT_TRUE(bench_.core().arenas.find(arena)->sessions.empty());
    EXPECT_EQ(ends_.reaped(), 1u);
  });
}

TEST_F(SessionEndsTest, ClosedSessionIsNotCountedAsReaped) {
  bench_.start();
  const SessionKey key = bench_.add_session("s");
  EXPECT_TRUE(end_later(key.id, EndCause::kClosed).get().ok());
  bench_.on_control([&] { EXPECT_EQ(ends_.reaped(), 0u); });
}

TEST_F(SessionEndsTest, KeyWorksForNobodyOnceTheEndHasBegun) {
  bench_.start();
  const SessionKey key = bench_.add_session("s");
  std::promise<SessionEvent::Kind> told;
  bench_.on_control([&] {
    bench_.core().sessions.find(key.id)->keepalives[1] = [&](const SessionEvent& event) {
      told.set_value(event.kind);
    };
    gate_.close();
  });
  auto given = end_later(key.id, EndCause::kClosed);
  EXPECT_EQ(told.get_future().get(), SessionEvent::Kind::kEnded);
  bench_.on_control([&] {
    EXPECT_FALSE(bench_.core().sessions.find(key).ok());
    EXPECT_NE(bench_.core().sessions.find(key.id), nullptr);  // its id rests
    gate_.open();
  });
  EXPECT_TRUE(given.get().ok());
}

TEST_F(SessionEndsTest, NothingIsReapedWhileAStandstillIsOpen) {
  bench_.start();
  const ArenaId arena = bench_.add_arena("pool", 4 << 20);
  const SessionKey key = bench_.add_session("s");
  bench_.attach(key, arena);
  ASSERT_TRUE(bench_.allocate(0, key, arena, 64, 3).ok());
  bench_.on_control([&] { gate_.close(); });
  auto given = end_later(key.id, EndCause::kProcessDied);
  // Both shards have forgotten the session when they refuse its key. What follows waits.
  while (bench_.allocate(0, key, arena, 64).ok() || bench_.allocate(1, key, arena, 64).ok()) {}
  const auto held = [&] {
    return bench_.on_control(
        [&] { return take_census(*bench_.core().arenas.find(arena)->state->arena).held.blocks; });
  };
  for (int look = 0; look < 20; ++look) ASSERT_GE(held(), 3);
  bench_.on_control([&] { gate_.open(); });
  ASSERT_TRUE(given.get().ok());
  EXPECT_EQ(held(), 0);
}

TEST_F(SessionEndsTest, SecondEndOfASessionDoesNothing) {
  bench_.start();
  const SessionKey key = bench_.add_session("s");
  bench_.on_control([&] { gate_.close(); });
  auto first = end_later(key.id, EndCause::kProcessDied);
  const auto second = end_later(key.id, EndCause::kGraceOver).get();
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(second->blocks, 0u);
  bench_.on_control([&] { gate_.open(); });
  EXPECT_TRUE(first.get().ok());
  bench_.on_control([&] { EXPECT_EQ(ends_.reaped(), 1u); });
}

}  // namespace
}  // namespace arenad::server
