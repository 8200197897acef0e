// SessionCalls and SessionList by themselves.
#include "server/core/control/session_calls.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <string>

#include "server/core/control/detaches.h"
#include "server/core/control/drain.h"
#include "server/core/control/evictions.h"
#include "server/core/control/liveness.h"
#include "server/core/control/session_ends.h"
#include "server/core/control/session_list.h"
#include "server/core/control/session_reap.h"
#include "server/core/control/trim_rounds.h"
#include "server/core/state/attach_mark.h"
#include "tests/core/control_bench.h"
#include "tests/core/daemon.h"

namespace arenad::server {
namespace {

class SessionCallsTest : public testing::Test {
 protected:
  ~SessionCallsTest() override { bench_.stop(); }

  Answer<OpenedSession> open(const std::string& name) {
    return bench_.answer<OpenedSession>(
        [this, name] { return calls_.open(daemon_itself(), {.name = name}); });
  }
  Answer<AttachedArena> attach(SessionKey key, const std::string& arena, AttachMode mode) {
    return bench_.answer<AttachedArena>(
        [this, key, arena, mode] { return calls_.attach(key, arena, mode); });
  }
  Answer<Page<SessionFacts>> list(std::uint32_t size, const std::string& token) {
    return bench_.answer<Page<SessionFacts>>(
        [this, size, token] { return list_.list(daemon_itself(), size, token); });
  }
  bool lives(SessionKey key) {
    return bench_.on_control([&] { return bench_.core().sessions.find(key.id) != nullptr; });
  }

  ControlBench bench_;
  StandstillGate gate_;
  Drain drain_{bench_.core()};
  TrimRounds trim_rounds_{bench_.core()};
  Liveness liveness_{bench_.core().thread.io(), [this](SessionId session, Liveness::Loss loss) {
                       if (loss == Liveness::Loss::kGraceOver) calls_.grace_over(session);
                     }};
  SessionReap reap_{bench_.core(), gate_, trim_rounds_};
  Detaches detaches_{bench_.core(), reap_};
  SessionEnds ends_{bench_.core(), liveness_, reap_, detaches_, trim_rounds_, drain_};
  Evictions evictions_{bench_.core(), ends_};
  SessionCalls calls_{bench_.core(), "/handoff", drain_,    liveness_,
                      ends_,         evictions_, detaches_, trim_rounds_};
  SessionList list_{bench_.core()};
};

TEST_F(SessionCallsTest, OpenedAndAttachedSessionWorksOnEveryShard) {
  bench_.start();
  const ArenaId arena = bench_.add_arena("pool", 4 << 20);
  const auto opened = open("cam");
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  EXPECT_EQ(opened->handoff_token.size(), 16u);
  EXPECT_EQ(opened->handoff_path, "/handoff");
  EXPECT_FALSE(bench_.allocate(0, opened->key, arena, 64).ok());
  const auto attached = attach(opened->key, "pool", AttachMode::kRemote);
  ASSERT_TRUE(attached.ok()) << attached.error().message;
  EXPECT_EQ(attached->handoff_token, "");  // a remote session maps nothing
  EXPECT_TRUE(bench_.allocate(0, opened->key, arena, 64).ok());
  EXPECT_TRUE(bench_.allocate(1, opened->key, arena, 64).ok());
  EXPECT_EQ(attach(opened->key, "none", AttachMode::kRemote).error().error, Error::kUnknownArena);
  EXPECT_EQ(attach(opened->key, "pool", AttachMode::kNone).error().error, Error::kModeUnavailable);
}

TEST_F(SessionCallsTest, LostStreamEndsASessionThatNoProcessIsBoundTo) {
  bench_.start();
  const auto opened = open("s");
  ASSERT_TRUE(opened.ok());
  const SessionKey key = opened->key;
  bench_.on_control([&] {
    EXPECT_TRUE(calls_.keepalive_opened(daemon_itself(), key, 1, [](const SessionEvent&) {}).ok());
    EXPECT_TRUE(calls_.keepalive_opened(daemon_itself(), key, 2, [](const SessionEvent&) {}).ok());
    calls_.keepalive_lost(key, 1);
    EXPECT_TRUE(bench_.core().sessions.find(key).ok());  // it has another stream
    calls_.keepalive_lost(key, 2);
    EXPECT_FALSE(bench_.core().sessions.find(key).ok());
  });
  EXPECT_TRUE(eventually([&] { return !lives(key); }));
}

// A session with an attachment that maps memory. A process is bound to it, and has lost its stream.
class BoundSessionTest : public SessionCallsTest {
 protected:
  void lose_stream(std::uint64_t grace_ms, bool has_memory = true) {
    bench_.shared().tunables.restart_grace_ms = grace_ms;
    bench_.start();
    arena_ = bench_.add_arena("pool", 4 << 20);
    key_ = open("s")->key;
    ASSERT_TRUE(attach(key_, "pool", AttachMode::kWriter).ok());
    bench_.on_control([&] {
      EXPECT_TRUE(
          calls_.keepalive_opened(daemon_itself(), key_, 1, [](const SessionEvent&) {}).ok());
      bench_.core().sessions.find(key_.id)->bound = true;
      if (has_memory) {
        mapped_ = described();
        EXPECT_TRUE(set_attach_mark(mapped_.get(), key_.id));
      }
      calls_.keepalive_lost(key_, 1);
    });
  }
  // A descriptor of the arena's data, as a handoff gives it away.
  UniqueFd described() {
    const int data = bench_.core().arenas.find(arena_)->state->arena->data_fd();
    return UniqueFd(::open(("/proc/self/fd/" + std::to_string(data)).c_str(), O_RDWR | O_CLOEXEC));
  }
  void end_grace() {
    bench_.on_control([this] { calls_.grace_over(key_.id); });
  }

  ArenaId arena_;
  SessionKey key_;
  UniqueFd mapped_;
};

TEST_F(BoundSessionTest, LostStreamProvesNothingWhileItsProcessHasMemory) {
  lose_stream(600'000);
  bench_.shared().tunables.restart_grace_ms = 1;
  end_grace();
  EXPECT_TRUE(lives(key_));
  mapped_ = UniqueFd();
  EXPECT_TRUE(eventually([&] { return !lives(key_); })) << "the daemon looks again by itself";
}

TEST_F(BoundSessionTest, WithoutStreamAndMemoryItEndsAfterTheGrace) {
  lose_stream(1, false);
  EXPECT_TRUE(eventually([&] { return !lives(key_); }));
}

TEST_F(BoundSessionTest, ItsClientMayTakeTheGraceToComeBack) {
  lose_stream(600'000);
  mapped_ = UniqueFd();
  EXPECT_TRUE(bench_.on_control([&] { return bench_.core().sessions.find(key_).ok(); }));
  end_grace();
  EXPECT_TRUE(eventually([&] { return !lives(key_); }));
}

TEST_F(BoundSessionTest, AStreamAgainEndsTheGrace) {
  lose_stream(10);
  bench_.on_control([&] {
    EXPECT_TRUE(calls_.keepalive_opened(daemon_itself(), key_, 2, [](const SessionEvent&) {}).ok());
    mapped_ = UniqueFd();
  });
  // Another session's grace, which began later, is over.
  const SessionKey other = open("other")->key;
  bench_.on_control([&] { liveness_.start_grace(other.id, 20); });
  EXPECT_TRUE(eventually([&] { return !lives(other); }));
  EXPECT_TRUE(lives(key_));
}

TEST_F(SessionCallsTest, DrainingDaemonOpensNothing) {
  bench_.start();
  drain_.mark();
  EXPECT_EQ(open("s").error().error, Error::kDraining);
}

TEST_F(SessionCallsTest, ListGoesOnWhereTheLastPageEndedAndSumsOverShards) {
  bench_.start();
  const ArenaId arena = bench_.add_arena("pool", 4 << 20);
  const SessionKey first = open("a")->key, second = open("b")->key;
  ASSERT_TRUE(attach(second, "pool", AttachMode::kRemote).ok());
  ASSERT_TRUE(bench_.allocate(0, second, arena, 64, 2).ok());
  ASSERT_TRUE(bench_.allocate(1, second, arena, 64).ok());
  const auto page = list(1, "");
  ASSERT_TRUE(page.ok());
  ASSERT_EQ(page->items.size(), 1u);
  EXPECT_EQ(page->items[0].id, first.id);
  const auto rest = list(1, page->next_page_token);
  ASSERT_TRUE(rest.ok());
  ASSERT_EQ(rest->items.size(), 1u);
  EXPECT_EQ(rest->items[0].name, "b");
  EXPECT_EQ(rest->next_page_token, "");
  ASSERT_EQ(rest->items[0].attachments.size(), 1u);
  EXPECT_EQ(rest->items[0].attachments[0].held_blocks, 3u);
  EXPECT_EQ(list(1, "seven").error().error, Error::kInvalidOption);
}

}  // namespace
}  // namespace arenad::server
