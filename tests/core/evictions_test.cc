// EvictSession: an administrator ends a session whose process lives.
#include "server/core/control/evictions.h"

#include <atomic>

#include "tests/core/daemon.h"

namespace arenad::server {
namespace {

Caller user(std::uint32_t uid) {
  auto principal = std::make_shared<Principal>();
  principal->uid = principal->gid = uid;
  return principal;
}

class Evict : public ::testing::Test {
 protected:
  Answer<GivenBack> evict(SessionId session, const Caller& caller = daemon_itself()) {
    return wait_for<GivenBack>(
        [&](auto done) { daemon.control().evict_session(caller, session, done); });
  }
  // A session whose client ends its stream when it is told to.
  SessionKey open_obedient() {
    const SessionKey key = daemon.open()->key;
    EXPECT_TRUE(daemon
                    .keep(key, 7,
                          [this, key](const SessionEvent& event) {
                            kinds.push_back(event.kind);
                            if (event.kind == SessionEvent::Kind::kEvicted)
                              daemon.control().keepalive_lost(key, 7);
                          })
                    .ok());
    EXPECT_TRUE(daemon.attach(key, "pool").ok());
    return key;
  }

  Daemon daemon;
  ArenaId arena = daemon.create("pool", 16 << 20)->id;
  std::vector<SessionEvent::Kind> kinds;  // of the control thread, until an eviction is answered
};

TEST_F(Evict, GivesBackAndEveryCallOfTheSessionAnswersEvicted) {
  const SessionKey key = open_obedient(), other = daemon.open_attached("pool");
  ASSERT_TRUE(daemon.allocate(0, key, arena, 64, 5).ok());
  ASSERT_TRUE(daemon.allocate(1, other, arena, 64, 3).ok());
  const auto given = evict(key.id);
  ASSERT_TRUE(given.ok()) << given.error().message;
  EXPECT_EQ(given->blocks, 5u);
  EXPECT_EQ(kinds, std::vector{SessionEvent::Kind::kEvicted}) << "it had ended its stream";
  for (const std::uint32_t shard : {0u, 1u})
    EXPECT_EQ(daemon.allocate(shard, key, arena, 64).error().error, Error::kEvicted);
  EXPECT_EQ(daemon.attach(key, "pool").error().error, Error::kEvicted);
  EXPECT_EQ(daemon.close(key).error().error, Error::kEvicted);
  EXPECT_EQ(daemon.keep(key, 8).error().error, Error::kEvicted);
  EXPECT_EQ(daemon.allocate(0, {key.id, key.secret + 1}, arena, 64).error().error,
            Error::kUnknownSession);
  EXPECT_TRUE(daemon.allocate(0, other, arena, 64).ok());
  expect_exact(daemon, 4);
  EXPECT_EQ(daemon.stats()->sessions_reaped, 1u);
}

TEST_F(Evict, IsForAdministrators) {
  const SessionKey key = open_obedient();
  EXPECT_EQ(evict(key.id, user(65534)).error().error, Error::kNotPermitted);
  EXPECT_TRUE(daemon.allocate(0, key, arena, 64).ok());
  EXPECT_TRUE(kinds.empty());
}

TEST_F(Evict, SessionThatThereIsNotIsSaidSo) {
  EXPECT_EQ(evict({999}).error().error, Error::kUnknownSession);
  const SessionKey key = open_obedient();
  ASSERT_TRUE(evict(key.id).ok());
  EXPECT_EQ(evict(key.id).error().error, Error::kUnknownSession);
}

TEST_F(Evict, ClientThatDoesNotStopIsEvictedAllTheSame) {
  const SessionKey key = daemon.open_attached("pool");
  ASSERT_TRUE(daemon.allocate(0, key, arena, 4096, 2).ok());
  const auto given = evict(key.id);
  ASSERT_TRUE(given.ok());
  EXPECT_EQ(given->blocks, 2u);
  expect_exact(daemon, 0);
}

TEST_F(Evict, SessionThatEndsMeanwhileIsNotEndedTwice) {
  const SessionKey key = daemon.open()->key;
  std::promise<void> told;
  ASSERT_TRUE(daemon
                  .keep(key, 7,
                        [&](const SessionEvent& event) {
                          if (event.kind == SessionEvent::Kind::kEvicted) told.set_value();
                        })
                  .ok());
  std::promise<Answer<GivenBack>> evicted;
  daemon.control().evict_session(daemon_itself(), key.id, [&](Answer<GivenBack> given) {
    evicted.set_value(std::move(given));
  });
  told.get_future().get();
  EXPECT_TRUE(daemon.close(key).ok());
  EXPECT_TRUE(answer_of(evicted.get_future()).ok());
  EXPECT_TRUE(daemon.sessions().empty());
}

TEST_F(Evict, WaitingCallOfTheSessionEndsWithIt) {
  const SessionKey key = open_obedient(), holder = daemon.open_attached("pool");
  ASSERT_TRUE(daemon.allocate(0, holder, arena, 12 << 20).ok());
  AllocateArgs args;
  args.session = key;
  args.arena_id = arena;
  args.size_bytes = 12 << 20;
  args.wait_ms = 600'000;
  auto waiting = daemon.allocate_later(1, args);
  EXPECT_TRUE(evict(key.id).ok());
  EXPECT_EQ(answer_of(std::move(waiting)).error().error, Error::kEvicted);
}

}  // namespace
}  // namespace arenad::server
