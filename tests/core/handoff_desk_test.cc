// HandoffDesk by itself: what a token is worth, and to whom.
#include "server/core/control/handoff_desk.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "server/core/api/clock.h"
#include "server/core/control/liveness.h"
#include "server/core/state/attach_mark.h"
#include "tests/core/control_bench.h"

namespace arenad::server {
namespace {

// This process, without a pidfd to watch.
CallerProcess caller(std::int32_t pid) {
  CallerProcess process;
  process.pid = pid;
  process.identity = {0, pid};
  process.uid = ::geteuid();
  process.gid = ::getegid();
  return process;
}

class HandoffDeskTest : public testing::Test {
 protected:
  HandoffDeskTest() {
    bench_.start();
    arena_ = bench_.add_arena("pool", 4 << 20);
    key_ = bench_.add_session("s");
    bench_.attach(key_, arena_, AttachMode::kPeer);
  }
  ~HandoffDeskTest() override {
    bench_.on_control([this] { liveness_.forget_all(); });
    bench_.stop();
  }
  HandoffGrant redeem(AttachMode mode, std::int32_t pid) {
    return bench_.on_control([&] {
      const std::string token = bench_.core().tokens.issue(
          key_.id, mode == AttachMode::kNone ? kNoArena : arena_, mode, now_ns());
      return desk_.redeem(token, caller(pid));
    });
  }

  ControlBench bench_;
  Liveness liveness_{bench_.core().thread.io(), [](SessionId, Liveness::Loss) {}};
  HandoffDesk desk_{bench_.core(), liveness_};
  ArenaId arena_;
  SessionKey key_;
};

int access_of(const UniqueFd& fd) { return ::fcntl(fd.get(), F_GETFL) & O_ACCMODE; }

TEST_F(HandoffDeskTest, ModeDecidesWhichFilesAreHandedOut) {
  // The session is bound first by hand: this process is not to be watched.
  bench_.on_control([this] {
    SessionRecord& session = *bench_.core().sessions.find(key_.id);
    session.bound = session.watched = true;
    session.process = {0, ::getpid()};
  });
  const HandoffGrant reader = redeem(AttachMode::kReader, ::getpid());
  ASSERT_EQ(reader.failure.error, Error::kNone) << reader.failure.message;
  EXPECT_EQ(access_of(reader.data), O_RDONLY);
  EXPECT_FALSE(reader.control);
  const HandoffGrant peer = redeem(AttachMode::kPeer, ::getpid());
  ASSERT_EQ(peer.failure.error, Error::kNone) << peer.failure.message;
  EXPECT_EQ(access_of(peer.data), O_RDWR);
  EXPECT_TRUE(peer.control);
  const int data = bench_.on_control(
      [this] { return bench_.core().arenas.find(arena_)->state->arena->data_fd(); });
  EXPECT_TRUE(has_attach_mark(data, key_.id)) << "in a memfd, too";
  EXPECT_EQ(peer.arena_id, arena_);
  const HandoffGrant other = redeem(AttachMode::kPeer, ::getpid() + 1);
  EXPECT_EQ(other.failure.error, Error::kNotPermitted);
  EXPECT_FALSE(other.data);
}

TEST_F(HandoffDeskTest, SecondHandoffOfAProcessThatNothingTellsApartIsServed) {
  const auto stranger = [] {
    CallerProcess process = caller(0);
    process.pidfd = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)));
    return process;
  };
  bench_.on_control([&] {
    for (int i = 0; i < 2; ++i) {
      const std::string token =
          bench_.core().tokens.issue(key_.id, arena_, AttachMode::kPeer, now_ns());
      const HandoffGrant grant = desk_.redeem(token, stranger());
      EXPECT_EQ(grant.failure.error, Error::kNone) << grant.failure.message;
    }
  });
  EXPECT_EQ(redeem(AttachMode::kPeer, ::getpid()).failure.error, Error::kNotPermitted)
      << "a process that is known is another one";
}

TEST_F(HandoffDeskTest, TokenIsUsedUpAndAForgedOneIsWorthNothing) {
  bench_.on_control([this] {
    bench_.core().sessions.find(key_.id)->watched = true;
    const std::string token =
        bench_.core().tokens.issue(key_.id, kNoArena, AttachMode::kNone, now_ns());
    EXPECT_EQ(desk_.redeem(token, caller(1)).failure.error, Error::kNone);
    const Failure used = desk_.redeem(token, caller(1)).failure;
    EXPECT_EQ(used.error, Error::kBadToken);
    EXPECT_NE(used.message.find("or its session has ended"), std::string::npos) << used.message;
    EXPECT_EQ(desk_.redeem(std::string(16, 'x'), caller(1)).failure.error, Error::kBadToken);
  });
}

TEST_F(HandoffDeskTest, ArenaOfAnotherUserIsRefused) {
  bench_.on_control([this] {
    bench_.core().sessions.find(key_.id)->watched = true;
    bench_.core().arenas.find(arena_)->access = {12345, 12345, 0640};
    const std::string token =
        bench_.core().tokens.issue(key_.id, arena_, AttachMode::kReader, now_ns());
    CallerProcess stranger = caller(1);
    stranger.uid = stranger.gid = 54321;
    EXPECT_EQ(desk_.redeem(token, std::move(stranger)).failure.error, Error::kNotPermitted);
  });
}

}  // namespace
}  // namespace arenad::server
