// The handoff socket against real processes: tokens, credentials, descriptors, and death.
#include <sys/resource.h>
#include <sys/socket.h>

#include "server/core/handoff/caller_process.h"
#include "tests/core/client_process.h"
#include "tests/core/daemon.h"
#include "tests/support/text.h"

namespace arenad::server {
namespace {

std::string reason(Error e) { return "reason=" + std::to_string(static_cast<int>(e)) + " "; }

class HandoffTest : public ::testing::Test {
 protected:
  HandoffTest() : daemon(2, options()) {}
  static EngineOptions options() {
    EngineOptions o;
    o.tunables = {{"keepalive_grace_ms", "600000"}};  // nothing here ends by its grace
    return o;
  }
  void SetUp() override {
    CreateArenaArgs args;
    args.name = "a";
    args.capacity_bytes = 16 * kMiB;
    args.has_access = true;
    args.access.mode = 0664;
    arena = daemon.create(args)->id;
  }
  const std::string& path() { return daemon.engine().handoff_path(); }
  Daemon daemon;
  ArenaId arena;
};

TEST_F(HandoffTest, TokenOfOpenSessionBindsTheProcess) {
  const auto opened = daemon.open("client");
  ClientProcess client(opened->handoff_path);
  const std::string line = client.hand_off(opened->handoff_token);
  EXPECT_TRUE(has(line, "status=0 reason=0 fds=0 mode=0")) << line;
  const SessionFacts facts = daemon.sessions()[0];
  EXPECT_TRUE(facts.bound);
  EXPECT_EQ(facts.pid, client.pid());
  EXPECT_EQ(facts.uid, ::geteuid());
}

TEST_F(HandoffTest, WriterMapsTheDataFileThatReadersSee) {
  const auto opened = daemon.open("writer");
  const auto attached = daemon.attach(opened->key, "a", AttachMode::kWriter);
  ClientProcess writer(path());
  const std::string line = writer.hand_off(attached->handoff_token);
  EXPECT_TRUE(has(line, "status=0 reason=0 fds=1 mode=3 bytes=16777216 arena=" +
                            std::to_string(arena.value) + " writable=1"))
      << line;
  EXPECT_TRUE(daemon.sessions()[0].bound);

  const SessionKey reading = daemon.open_kept("reader");
  ClientProcess reader(path());
  const std::string read =
      reader.hand_off(daemon.attach(reading, "a", AttachMode::kReader)->handoff_token);
  EXPECT_TRUE(has(read, "status=0 reason=0 fds=1 mode=2 bytes=16777216")) << read;
  EXPECT_TRUE(has(read, "writable=0")) << read;

  const auto got = daemon.allocate(0, opened->key, arena, 4096);
  const std::string offset = std::to_string(got->blocks[0].offset);
  EXPECT_EQ(writer.command("poke " + offset + " 42"), "poked");
  EXPECT_EQ(reader.command("peek " + offset), "byte=42");
  EXPECT_EQ(reader.command("poke " + offset + " 1"), "refused");
}

TEST_F(HandoffTest, ReaderOfAnotherUserCannotReopenForWriting) {
  // Two users need root; the daemon's own user may reopen what is his.
  const bool two_users = ::geteuid() == 0;
  const SessionKey key = daemon.open_kept();
  ClientProcess reader(path(), two_users ? 65534 : 0);
  const std::string line =
      reader.hand_off(daemon.attach(key, "a", AttachMode::kReader)->handoff_token);
  EXPECT_TRUE(has(line, "status=0")) << line;
  EXPECT_TRUE(has(line, two_users ? "writable=0 reopens=0" : "writable=0")) << line;
  EXPECT_EQ(daemon.sessions()[0].uid, two_users ? 65534u : ::geteuid());
}

TEST_F(HandoffTest, TokenWorksOnce) {
  const auto opened = daemon.open();
  ClientProcess client(path());
  EXPECT_TRUE(has(client.hand_off(opened->handoff_token), "status=0"));
  const std::string again = client.hand_off(opened->handoff_token);
  EXPECT_TRUE(has(again, "status=16 " + reason(Error::kBadToken) + "fds=0")) << again;
  EXPECT_TRUE(has(again, error_advice(Error::kBadToken))) << again;
}

TEST_F(HandoffTest, ForgedTokenIsRefused) {
  ClientProcess client(path());
  EXPECT_TRUE(has(client.hand_off(std::string(16, 'x')), reason(Error::kBadToken)));
}

TEST_F(HandoffTest, TokenOfAnEndedSessionIsRefused) {
  const auto opened = daemon.open();
  ASSERT_TRUE(daemon.close(opened->key).ok());
  ClientProcess client(path());
  EXPECT_TRUE(has(client.hand_off(opened->handoff_token), reason(Error::kBadToken)));
}

TEST_F(HandoffTest, TokenOfADeletedArenaIsRefused) {
  const SessionKey key = daemon.open_kept();
  const auto attached = daemon.attach(key, "a", AttachMode::kWriter);
  ASSERT_TRUE(daemon.remove("a", true).ok());
  ClientProcess client(path());
  EXPECT_TRUE(has(client.hand_off(attached->handoff_token), reason(Error::kBadToken)));
}

TEST_F(HandoffTest, SecondAttachMakesTheFirstTokenUseless) {
  const SessionKey key = daemon.open_kept();
  const auto first = daemon.attach(key, "a", AttachMode::kWriter);
  const auto second = daemon.attach(key, "a", AttachMode::kReader);
  ClientProcess client(path());
  EXPECT_TRUE(has(client.hand_off(first->handoff_token), reason(Error::kBadToken)));
  EXPECT_TRUE(has(client.hand_off(second->handoff_token), "mode=2"));
}

TEST_F(HandoffTest, BoundSessionHandsOffToItsOwnProcessOnly) {
  const auto opened = daemon.open();
  ClientProcess owner(path()), stranger(path());
  ASSERT_TRUE(has(owner.hand_off(opened->handoff_token), "status=0"));
  const auto stolen = daemon.attach(opened->key, "a", AttachMode::kWriter);
  const std::string line = stranger.hand_off(stolen->handoff_token);
  EXPECT_TRUE(has(line, "status=7 " + reason(Error::kNotPermitted) + "fds=0")) << line;
  const auto mine = daemon.attach(opened->key, "a", AttachMode::kWriter);
  EXPECT_TRUE(has(owner.hand_off(mine->handoff_token), "status=0 reason=0 fds=1"));
}

TEST_F(HandoffTest, CredentialsDecideAsForAFile) {
  // As root a client of another user; else an arena of another user.
  const unsigned uid = ::geteuid() == 0 ? 65534 : 0;
  CreateArenaArgs args;
  args.name = "private";
  args.capacity_bytes = 2 * kMiB;
  args.has_access = true;
  args.access = {::geteuid() + 1, ::getegid() + 1, 0640};
  ASSERT_TRUE(daemon.create(args).ok());
  args.name = "readable";
  args.access.mode = 0644;
  ASSERT_TRUE(daemon.create(args).ok());
  const SessionKey key = daemon.open_kept();
  ClientProcess client(path(), uid);
  const std::string line =
      client.hand_off(daemon.attach(key, "private", AttachMode::kReader)->handoff_token);
  EXPECT_TRUE(has(line, "status=7 " + reason(Error::kNotPermitted) + "fds=0")) << line;
  EXPECT_TRUE(has(line, "mode 0640")) << line;
  EXPECT_FALSE(
      daemon.sessions()[0].bound);  // who may not attach does not become the session's process
  const std::string write =
      client.hand_off(daemon.attach(key, "readable", AttachMode::kWriter)->handoff_token);
  EXPECT_TRUE(has(write, reason(Error::kNotPermitted))) << write;
  const std::string read =
      client.hand_off(daemon.attach(key, "readable", AttachMode::kReader)->handoff_token);
  EXPECT_TRUE(has(read, "status=0 reason=0 fds=1 mode=2")) << read;
}

TEST_F(HandoffTest, GarbageIsAnsweredAndHarmsNobody) {
  ClientProcess client(path());
  EXPECT_TRUE(has(client.command("raw " + std::string(64, '4')), reason(Error::kBadToken)));
  const std::string version =
      ClientProcess::hex("ARNDHND1") + std::string(32, '0') + "0700000000000000";
  EXPECT_TRUE(has(client.command("raw " + version), reason(Error::kModeUnavailable)));
  const auto opened = daemon.open();
  EXPECT_TRUE(has(client.hand_off(opened->handoff_token), "status=0"));
}

TEST_F(HandoffTest, SilentConnectionIsClosed) {
  ClientProcess client(path());
  EXPECT_EQ(client.command("raw 41"), "closed without an answer");
}

// ---- death

TEST_F(HandoffTest, KilledProcessGivesBackAllThatItsSessionHeld) {
  const auto big = daemon.create("big", 128 * kMiB);
  const auto opened = daemon.open("victim");
  ASSERT_TRUE(daemon.attach(opened->key, "big", AttachMode::kRemote).ok());
  const SessionKey other = daemon.open_attached("big", "other");
  ClientProcess client(path());
  ASSERT_TRUE(has(client.hand_off(opened->handoff_token), "status=0"));
  for (int i = 0; i < 4; ++i)
    ASSERT_TRUE(daemon.allocate(i % 2, opened->key, big->id, 4096, 4096).ok());
  ASSERT_TRUE(daemon.allocate(0, opened->key, big->id, 8 * kMiB, 2).ok());
  const auto others = daemon.allocate(0, other, big->id, 256, 100);
  EXPECT_EQ(daemon.stats("big")->held_bytes, 64 * kMiB + 16 * kMiB + 25'600);

  client.kill_without_wait();  // a zombie is dead enough
  const std::uint64_t killed = now_ns();
  EXPECT_TRUE(eventually([&] { return daemon.stats("big")->held_bytes == 25'600; }));
  RecordProperty("given_back_ms", static_cast<int>((now_ns() - killed) / kNsPerMs));
  EXPECT_TRUE(eventually([&] { return daemon.sessions().size() == 1; }));
  EXPECT_EQ(daemon.stats()->sessions_reaped, 1u);
  expect_exact(daemon, 100);
  // All of it can be had again, by anybody, on any shard.
  const auto again = daemon.allocate(1, other, big->id, kMiB, 120, 10'000);
  EXPECT_TRUE(again.ok()) << again.error().message;
  EXPECT_EQ(daemon.free(1, other, big->id, refs_of(*others))->done, 100u);
}

TEST_F(HandoffTest, BoundSessionOutlivesItsKeepaliveStream) {
  const SessionKey key = daemon.open_attached("a");
  const auto attached = daemon.attach(key, "a", AttachMode::kWriter);
  ClientProcess client(path());
  ASSERT_TRUE(has(client.hand_off(attached->handoff_token), "status=0"));
  ASSERT_TRUE(daemon.keep(key, 7).ok());
  daemon.control().keepalive_lost(key, 7);
  daemon.control().keepalive_lost(key, 1'000'000);
  EXPECT_EQ(daemon.sessions().size(), 1u);
  EXPECT_TRUE(daemon.allocate(0, key, arena, 64).ok());
  client.kill();
  EXPECT_TRUE(eventually([&] { return daemon.sessions().empty(); }));
  expect_exact(daemon, 0);
}

TEST_F(HandoffTest, ProcessThatDiesBeforeItsHandoffIsLeftToTheGrace) {
  const auto set = wait_for<std::vector<TunableFacts>>([&](auto done) {
    daemon.control().set_tunables(daemon_itself(), {{"keepalive_grace_ms", "50"}}, done);
  });
  ASSERT_TRUE(set.ok());
  const auto opened = daemon.open("early");
  ASSERT_TRUE(daemon.attach(opened->key, "a").ok());
  ASSERT_TRUE(daemon.allocate(1, opened->key, arena, 1024, 500).ok());
  EXPECT_TRUE(eventually([&] { return daemon.sessions().empty(); }));
  expect_exact(daemon, 0);
}

TEST_F(HandoffTest, CloseOfABoundSessionForgetsTheProcess) {
  const auto opened = daemon.open();
  ClientProcess client(path());
  ASSERT_TRUE(has(client.hand_off(opened->handoff_token), "status=0"));
  ASSERT_TRUE(daemon.close(opened->key).ok());
  const auto next = daemon.open();
  ASSERT_TRUE(
      has(client.hand_off(next->handoff_token), "status=0"));  // the same process, a new session
  client.kill();
  EXPECT_TRUE(eventually([&] { return daemon.sessions().empty(); }));
  EXPECT_EQ(daemon.stats()->sessions_reaped, 1u);
}

TEST_F(HandoffTest, ManyClientsDieAtOnceWhileOthersWork) {
  const SessionKey worker = daemon.open_attached("a", "worker");
  std::vector<std::unique_ptr<ClientProcess>> clients;
  for (int i = 0; i < 8; ++i) {
    const auto opened = daemon.open("victim");
    ASSERT_TRUE(daemon.attach(opened->key, "a").ok());
    clients.push_back(std::make_unique<ClientProcess>(path()));
    ASSERT_TRUE(has(clients.back()->hand_off(opened->handoff_token), "status=0"));
    ASSERT_TRUE(daemon.allocate(i % 2, opened->key, arena, 512, 1000).ok());
  }
  for (const auto& client : clients) client->kill_without_wait();
  EXPECT_TRUE(eventually([&] {
    const auto got = daemon.allocate(0, worker, arena, 512, 100);
    EXPECT_TRUE(got.ok());
    EXPECT_EQ(daemon.free(1, worker, arena, refs_of(*got))->done, 100u);
    return daemon.sessions().size() == 1;
  }));
  EXPECT_EQ(daemon.stats()->held_blocks, 0u);
  expect_exact(daemon, 0);
}

TEST(CallerProcess, DaemonWithoutDescriptorsSaysSoAndNotThatTheCallerIsGone) {
  int pair[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  const UniqueFd mine(pair[0]), theirs(pair[1]);
  rlimit before;
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{0, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const auto caller = peer_process(mine.get());
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  ASSERT_FALSE(caller.ok());
  EXPECT_EQ(caller.error().error, Error::kMachineFull) << caller.error().message;
  EXPECT_NE(caller.error().message.find("LimitNOFILE"), std::string::npos);
}

}  // namespace
}  // namespace arenad::server
