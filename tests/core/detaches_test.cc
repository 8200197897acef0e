// Detaches, stopped in the middle: by a standstill, by the end of the session or of the arena, and
// by the daemon's death. detach_test.cc has a whole engine.
#include "server/core/control/detaches.h"

#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/core/control/drain.h"
#include "server/core/control/evictions.h"
#include "server/core/control/liveness.h"
#include "server/core/control/session_calls.h"
#include "server/core/control/session_ends.h"
#include "server/core/control/session_reap.h"
#include "server/core/control/standstill_gate.h"
#include "server/core/control/state_recovery.h"
#include "server/core/control/trim_rounds.h"
#include "tests/core/control_bench.h"
#include "tests/support/temporary_directory.h"

namespace arenad::server {
namespace {

// By itself, so that a test may stop it in the middle.
struct Parts {
  explicit Parts(std::unique_ptr<ControlBench> of) : bench(std::move(of)) {}
  ~Parts() { bench->stop(); }

  std::future<Answer<GivenBack>> detach_later(SessionKey key, ArenaId arena, LeaseEpoch epoch = {},
                                              bool give_up = true) {
    return bench->answer_later<GivenBack>(
        [=, this] { return detaches.detach(key, arena, epoch, give_up); });
  }
  std::future<Answer<AttachedArena>> attach_later(SessionKey key, const std::string& arena) {
    return bench->answer_later<AttachedArena>(
        [=, this] { return calls.attach(key, arena, AttachMode::kPeer); });
  }
  // Until the shards have forgotten the attachment: the detach waits for the gate.
  void await_left(SessionKey key, ArenaId arena) const {
    for (std::size_t i = 0; i < 2; ++i) {
      while (bench->loop(i).run([&](ShardApi& shard) {
        return shard.describe(key, arena, std::vector<std::uint64_t>()).ok();
      })) {}
    }
  }

  std::unique_ptr<ControlBench> bench;
  StandstillGate gate;
  Drain drain{bench->core()};
  TrimRounds trim_rounds{bench->core()};
  Liveness liveness{bench->core().thread.io(), [](SessionId, Liveness::Loss) {}};
  SessionReap reap{bench->core(), gate, trim_rounds};
  Detaches detaches{bench->core(), reap};
  SessionEnds ends{bench->core(), liveness, reap, detaches, trim_rounds, drain};
  Evictions evictions{bench->core(), ends};
  SessionCalls calls{bench->core(), "/handoff", drain,    liveness,
                     ends,          evictions,  detaches, trim_rounds};
};

class DetachesTest : public testing::Test {
 protected:
  void SetUp() override {
    parts_.bench->start();
    arena_ = parts_.bench->add_arena("pool", 4 << 20);
    key_ = parts_.bench->add_session("cam");
    ASSERT_TRUE(parts_.attach_later(key_, "pool").get().ok());
    ASSERT_TRUE(parts_.bench->allocate(0, key_, arena_, 64, 3).ok());
    parts_.bench->on_control([&] { parts_.gate.close(); });
  }
  void open_gate() {
    parts_.bench->on_control([&] { parts_.gate.open(); });
  }
  std::int64_t held() {
    return parts_.bench->on_control([&] {
      return take_census(*parts_.bench->core().arenas.find(arena_)->state->arena).held.blocks;
    });
  }

  Parts parts_{std::make_unique<ControlBench>()};
  ArenaId arena_;
  SessionKey key_;
};

TEST_F(DetachesTest, NothingIsReapedWhileAStandstillIsOpen) {
  auto detached = parts_.detach_later(key_, arena_);
  parts_.await_left(key_, arena_);
  EXPECT_EQ(held(), 3);
  open_gate();
  EXPECT_EQ(detached.get()->blocks, 3u);
  EXPECT_EQ(held(), 0);
}

TEST_F(DetachesTest, NextAttachmentWaitsForItsEnd) {
  auto detached = parts_.detach_later(key_, arena_);
  parts_.await_left(key_, arena_);
  auto attached = parts_.attach_later(key_, "pool");
  auto second = parts_.detach_later(key_, arena_, {0});
  open_gate();
  EXPECT_TRUE(detached.get().ok());
  const auto again = attached.get();
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_EQ(again->epoch.value, 1u);
  // Whether it came before or after the attachment: it is not of this one.
  const Error refused = second.get().error().error;
  EXPECT_TRUE(refused == Error::kNotAttached || refused == Error::kStaleEpoch);
  EXPECT_TRUE(parts_.bench->allocate(0, key_, arena_, 64).ok());
}

TEST_F(DetachesTest, EndOfTheSessionWaitsForItsEnd) {
  auto detached = parts_.detach_later(key_, arena_);
  parts_.await_left(key_, arena_);
  auto ended = parts_.bench->answer_later<GivenBack>(
      [this] { return parts_.ends.end(key_.id, EndCause::kProcessDied); });
  parts_.bench->on_control([&] { EXPECT_FALSE(parts_.bench->core().sessions.find(key_).ok()); });
  open_gate();
  EXPECT_EQ(detached.get()->blocks, 3u);
  EXPECT_EQ(ended.get()->blocks, 0u);
  EXPECT_EQ(held(), 0);
  parts_.bench->on_control([&] {
    EXPECT_EQ(parts_.bench->core().sessions.find(key_.id), nullptr);
    EXPECT_TRUE(parts_.bench->core().arenas.find(arena_)->sessions.empty());
  });
}

TEST_F(DetachesTest, ArenaMayBeDeletedInTheMiddle) {
  auto detached = parts_.detach_later(key_, arena_);
  parts_.await_left(key_, arena_);
  parts_.bench->on_control([&] {
    ControlCore& core = parts_.bench->core();
    core.sessions.find(key_.id)->attached.erase(arena_);
    core.arenas.remove("pool");
  });
  open_gate();
  const auto given = detached.get();
  ASSERT_TRUE(given.ok()) << given.error().message;
  EXPECT_EQ(given->blocks, 0u) << "its memory went with the arena";
}

TEST_F(DetachesTest, TokenOfTheAttachmentIsDropped) {
  open_gate();
  const auto tokens = [&] {
    return parts_.bench->on_control([&] { return parts_.bench->core().tokens.size(); });
  };
  EXPECT_EQ(tokens(), 1u);
  EXPECT_TRUE(parts_.detach_later(key_, arena_).get().ok());
  EXPECT_EQ(tokens(), 0u);
}

// The daemon ends in the middle of a detach. The next one has the session as attached, with nothing
// left, and the detach is made again.
TEST(DetachesRestart, IsMadeAgainAfterTheDaemonsDeath) {
  test::TemporaryDirectory directory(test::kMemoryFiles);
  const auto make = [&] {
    auto state = StateDirectory::open(directory.path(), "", [](LogLevel, const std::string&) {});
    EXPECT_TRUE(state.ok()) << state.error().message;
    return std::make_unique<Parts>(std::make_unique<ControlBench>(2, Limits{}, std::move(*state)));
  };
  auto parts = make();
  auto store = SessionStore::open(parts->bench->core().state.sessions_path());
  ASSERT_TRUE(store.ok()) << store.error().message;
  parts->bench->core().store = std::move(*store);
  parts->bench->start();
  const ArenaId arena = parts->bench->add_arena("pool", 4 << 20);
  const SessionKey key = parts->bench->add_session("cam");
  parts->bench->on_control([&] {
    KeptSession kept;
    kept.key = key;
    kept.name = "cam";
    kept.owner_uid = daemon_itself()->uid;
    kept.owner_gid = daemon_itself()->gid;
    EXPECT_TRUE(parts->bench->core().store.put(kept).ok());
  });
  ASSERT_TRUE(parts->attach_later(key, "pool").get().ok());
  ASSERT_TRUE(parts->bench->allocate(0, key, arena, 64, 3).ok());
  parts->bench->on_control([&] { parts->gate.close(); });
  auto cut_short = parts->detach_later(key, arena);
  parts->await_left(key, arena);
  parts.reset();

  parts = make();
  {
    StateRecovery recovery(parts->bench->core(), parts->liveness);
    ASSERT_TRUE(recovery.run().ok());
  }
  parts->bench->start();
  const auto attached = [&] {
    return parts->bench->on_control([&] {
      const ArenaRecord& record = *parts->bench->core().arenas.find(arena);
      return record.sessions.contains(key.id) &&
             record.state->arena->ledger().attach_mode(key.id) != 0;
    });
  };
  EXPECT_TRUE(attached());
  EXPECT_EQ(parts->detach_later(key, arena).get().error().error, Error::kStaleEpoch)
      << "a peer resumes first";
  const auto resumed = parts->bench->loop(0).run([&](ShardApi& shard) {
    return shard.resume({key, arena, {1}}, {});
  });
  ASSERT_TRUE(resumed.ok()) << resumed.error().message;
  EXPECT_EQ(parts->detach_later(key, arena, {1}, false).get().error().error, Error::kBlocksHeld);
  EXPECT_EQ(parts->detach_later(key, arena, {1}).get()->blocks, 3u);
  EXPECT_FALSE(attached());
  // No epoch that the daemon before may have given comes again.
  const auto again = parts->attach_later(key, "pool").get();
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_GT(again->epoch.value, 1'000'000u);
}

}  // namespace
}  // namespace arenad::server
