// Sessions: their liveness without a process, and their end.
#include <atomic>

#include "allocator/base/format.h"
#include "server/core/api/text.h"
#include "tests/core/daemon.h"

namespace arenad::server {
namespace {

TEST(Sessions, NamesAreCheckedAndDefaulted) {
  Daemon daemon(1);
  EXPECT_EQ(daemon.open("no spaces").error().error, Error::kInvalidName);
  ASSERT_TRUE(daemon.open("").ok());
  EXPECT_EQ(daemon.sessions()[0].name, "client");
}

TEST(Sessions, SecretsDiffer) {
  Daemon daemon(1);
  const auto a = daemon.open(), b = daemon.open();
  EXPECT_NE(a->key.id, b->key.id);
  EXPECT_NE(a->key.secret, b->key.secret);
  EXPECT_EQ(a->handoff_token.size(), 16u);
  EXPECT_NE(a->handoff_token, b->handoff_token);
}

TEST(Sessions, WithoutKeepaliveAndHandoffASessionEndsAfterItsGrace) {
  EngineOptions options;
  options.tunables = {{"keepalive_grace_ms", "50"}};
  Daemon daemon(2, options);
  const auto arena = daemon.create("a", 4 * kMiB);
  const std::uint64_t before = now_ns();
  const auto opened = daemon.open("brief");
  EXPECT_EQ(opened->keepalive_grace_ms, 50u);
  EXPECT_TRUE(eventually([&] { return daemon.sessions().empty(); }));
  EXPECT_GE(now_ns() - before, 50 * kNsPerMs);
  EXPECT_EQ(daemon.stats()->sessions_reaped, 1u);
  EXPECT_EQ(daemon.allocate(0, opened->key, arena->id, 64).error().error, Error::kUnknownSession);
}

TEST(Sessions, KeepaliveOutlivesTheGraceAndItsLossEndsTheSession) {
  EngineOptions options;
  options.tunables = {{"keepalive_grace_ms", "20"}};
  Daemon daemon(2, options);
  const auto arena = daemon.create("a", 16 * kMiB);
  std::atomic<bool> told_ended{false};
  auto opened = daemon.open();
  const auto keep = [&] {
    return daemon.keep(opened->key, 1, [&](const SessionEvent& e) {
      told_ended = told_ended || e.kind == SessionEvent::Kind::kEnded;
    });
  };
  // The grace is short. On a busy machine it may be over before the stream is there.
  ASSERT_TRUE(eventually([&] {
    if (keep().ok()) return true;
    opened = daemon.open();
    return false;
  }));
  ASSERT_TRUE(daemon.attach(opened->key, "a").ok());
  ASSERT_TRUE(daemon.allocate(0, opened->key, arena->id, 1024, 1000).ok());
  ASSERT_TRUE(daemon.allocate(1, opened->key, arena->id, 100'000, 20).ok());
  // A second session's grace runs out in the meantime, so the first one's has too.
  ASSERT_TRUE(daemon.open("other").ok());
  ASSERT_TRUE(eventually([&] { return daemon.sessions().size() == 1; }));
  EXPECT_TRUE(daemon.sessions()[0].keepalive);
  daemon.control().keepalive_lost(opened->key, 99);  // no stream of this session
  ASSERT_TRUE(daemon.keep(opened->key, 2).ok());
  daemon.control().keepalive_lost(opened->key, 1);  // one is left
  EXPECT_EQ(daemon.sessions().size(), 1u);
  EXPECT_FALSE(told_ended);
  daemon.control().keepalive_lost(opened->key, 2);
  EXPECT_TRUE(eventually([&] { return daemon.sessions().empty(); }));
  EXPECT_EQ(daemon.stats()->held_blocks, 0u);
  expect_exact(daemon, 0);
}

TEST(Sessions, StreamOfASessionThatIsClosedIsTold) {
  Daemon daemon(1);
  const auto opened = daemon.open();
  std::atomic<int> ended{0};
  ASSERT_TRUE(
      daemon
          .keep(opened->key, 1,
                [&](const SessionEvent& e) { ended += e.kind == SessionEvent::Kind::kEnded; })
          .ok());
  ASSERT_TRUE(daemon.close(opened->key).ok());
  EXPECT_EQ(ended, 1);
  EXPECT_EQ(daemon.keep(opened->key, 2).error().error, Error::kUnknownSession);
}

TEST(Sessions, CloseGivesBackWhatTheSessionHoldsAndSaysHowMuch) {
  Daemon daemon(3);
  const auto a = daemon.create("a", 16 * kMiB), b = daemon.create("b", 16 * kMiB);
  const SessionKey key = daemon.open_attached("a");
  ASSERT_TRUE(daemon.attach(key, "b").ok());
  const SessionKey bob = daemon.open_attached("a", "bob");
  const auto bobs = daemon.allocate(1, bob, a->id, 256, 10);
  ASSERT_TRUE(daemon.allocate(0, key, a->id, 256, 100).ok());
  ASSERT_TRUE(daemon.allocate(1, key, a->id, 300'000, 2).ok());
  const auto some = daemon.allocate(2, key, b->id, 1024, 50);
  ASSERT_EQ(daemon.free(0, key, b->id, {some->blocks[0].ref.value})->done,
            1u);  // a remote free on its way
  const auto given = daemon.close(key);
  ASSERT_TRUE(given.ok());
  EXPECT_EQ(given->blocks, 151u);
  EXPECT_EQ(given->bytes, 100u * 256 + 2 * 5 * 65536 + 49 * 1024);
  EXPECT_EQ(daemon.stats()->held_blocks, 10u);
  EXPECT_EQ(daemon.stats()->held_bytes, 2560u);
  EXPECT_EQ(daemon.stats()->sessions_reaped, 0u);
  expect_exact(daemon, 10);
  EXPECT_EQ(daemon.free(0, bob, a->id, refs_of(*bobs))->done, 10u);
  expect_exact(daemon, 0);
}

// A shard that has not answered yet may still act for the session: its id is in use until it has.
TEST(Sessions, IdIsNotGivenOutAgainBeforeTheReapingIsOver) {
  EngineOptions options;
  options.limits.max_sessions = 1;
  Daemon daemon(2, options);
  const SessionKey key = daemon.open_kept();
  std::promise<void> go_on;
  auto held_up = go_on.get_future().share();
  daemon.loop(1).shard().post([held_up] { held_up.wait(); });
  std::promise<Answer<GivenBack>> closed;
  daemon.control().close_session(
      key, [&](Answer<GivenBack> answer) { closed.set_value(std::move(answer)); });
  EXPECT_EQ(daemon.open().error().error, Error::kQuotaDaemon);
  EXPECT_EQ(daemon.close(key).error().error, Error::kUnknownSession);
  go_on.set_value();
  EXPECT_TRUE(closed.get_future().get().ok());
  const auto next = daemon.open();
  ASSERT_TRUE(next.ok());
  EXPECT_NE(next->key.id, key.id);
}

TEST(Sessions, WaiterOfAnEndedSessionIsAnswered) {
  Daemon daemon(1);
  const auto arena = daemon.create("a", 2 * kMiB);
  const SessionKey holder = daemon.open_attached("a");
  ASSERT_TRUE(daemon.allocate(0, holder, arena->id, 2 * kMiB).ok());
  const SessionKey key = daemon.open_attached("a");
  AllocateArgs args;
  args.session = key;
  args.arena_id = arena->id;
  args.size_bytes = 64;
  args.wait_ms = 600'000;
  auto waiting = daemon.allocate_later(0, args);
  ASSERT_TRUE(daemon.close(key).ok());
  EXPECT_EQ(answer_of(std::move(waiting)).error().error, Error::kUnknownSession);
}

TEST(Sessions, SecondAttachReplacesTheModeAndKeepsTheHoldings) {
  Daemon daemon(1);
  const auto arena = daemon.create("a", 2 * kMiB);
  const SessionKey key = daemon.open_attached("a");
  const auto got = daemon.allocate(0, key, arena->id, 64, 3);
  const auto reader = daemon.attach(key, "a", AttachMode::kReader);
  EXPECT_EQ(reader->handoff_token.size(), 16u);
  EXPECT_EQ(reader->arena.sessions, 1u);
  EXPECT_EQ(reader->arena.held_blocks, 3u);
  EXPECT_EQ(daemon.allocate(0, key, arena->id, 64).error().error, Error::kReadOnly);
  EXPECT_TRUE(daemon.attach(key, "a", AttachMode::kRemote)->handoff_token.empty());
  EXPECT_EQ(daemon.free(0, key, arena->id, refs_of(*got))->done, 3u);
  EXPECT_EQ(daemon.sessions()[0].attachments[0].held_blocks, 0u);
}

TEST(Sessions, ListedByIdAPageAtATime) {
  Daemon daemon(1);
  for (int i = 0; i < 5; ++i) daemon.open_kept(fmt::format("s{}", i));
  std::string token, names;
  do {
    const auto page = wait_for<Page<SessionFacts>>(
        [&](auto done) { daemon.control().list_sessions(daemon_itself(), 2, token, done); });
    for (const SessionFacts& session : page->items) names += session.name;
    token = page->next_page_token;
  } while (!token.empty());
  EXPECT_EQ(names, "s0s1s2s3s4");
  EXPECT_EQ(wait_for<Page<SessionFacts>>(
                [&](auto done) { daemon.control().list_sessions(daemon_itself(), 2, "x", done); })
                .error()
                .error,
            Error::kInvalidOption);
}

}  // namespace
}  // namespace arenad::server
