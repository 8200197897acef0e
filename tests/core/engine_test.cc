// The engine as a whole: options, tunables, draining, stopping.
#include <sys/socket.h>
#include <sys/un.h>

#include <atomic>
#include <filesystem>

#include "allocator/base/tunables.h"
#include "tests/core/client_process.h"
#include "tests/core/daemon.h"

namespace arenad::server {
namespace {

Error start_error(EngineOptions options) {
  auto started = Engine::start(std::move(options));
  EXPECT_FALSE(started.ok());
  EXPECT_FALSE(started.error().message.empty());
  return started.error().error;
}

TEST(EngineStart, BadOptionsAreRefused) {
  EngineOptions options;
  EXPECT_EQ(start_error(options), Error::kInvalidOption);  // no directory
  options.directory = "/proc/nowhere/at/all";
  EXPECT_EQ(start_error(options), Error::kInvalidOption);
  options.directory = std::filesystem::temp_directory_path().string();
  options.shards = 0;
  EXPECT_EQ(start_error(options), Error::kInvalidOption);
  options.shards = 1;
  options.limits.max_sessions = 65535;
  EXPECT_EQ(start_error(options), Error::kInvalidOption);
  options.limits = {};
  options.tunables = {{"idle_drain_ms", "0"}};
  EXPECT_EQ(start_error(options), Error::kInvalidOption);
  options.tunables = {{"no_such_knob", "1"}};
  EXPECT_EQ(start_error(options), Error::kInvalidOption);
}

TEST(EngineStart, SecondDaemonInTheSameDirectoryIsRefused) {
  Daemon daemon(1);
  EngineOptions options;
  options.directory = daemon.directory();
  EXPECT_EQ(start_error(options), Error::kInvalidOption);
  const auto opened = daemon.open();  // and the first goes on
  ClientProcess client(opened->handoff_path);
  EXPECT_NE(client.hand_off(opened->handoff_token).find("status=0"), std::string::npos);
}

TEST(EngineStart, SocketFileOfADeadDaemonIsReplaced) {
  Daemon first(1);
  // What a killed daemon leaves: a socket file on which nobody answers.
  const std::string dir = first.directory() + "/again";
  std::filesystem::create_directory(dir);
  {
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::snprintf(address.sun_path, sizeof address.sun_path, "%s/handoff.sock", dir.c_str());
    ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ::close(fd);
  }
  EngineOptions options;
  options.directory = dir;
  auto started = Engine::start(options);
  EXPECT_TRUE(started.ok()) << started.error().message;
}

Answer<std::vector<TunableFacts>> set(Daemon& daemon,
                                      std::vector<std::pair<std::string, std::string>> values) {
  return wait_for<std::vector<TunableFacts>>(
      [&](auto done) { daemon.control().set_tunables(daemon_itself(), values, done); });
}
std::string value_of(const std::vector<TunableFacts>& facts, const std::string& name) {
  for (const TunableFacts& f : facts)
    if (f.name == name) return f.value;
  return "absent";
}

TEST(EngineTunables, AreListedWithDefaultsAndTexts) {
  Daemon daemon(1);
  const auto facts =
      wait_for<std::vector<TunableFacts>>([&](auto done) { daemon.control().get_tunables(done); });
  ASSERT_TRUE(facts.ok());
  for (const char* name :
       {"p0_enable", "p0_no_drain", "p0_log", "idle_drain_ms", "spin_us", "keepalive_grace_ms",
        "drain_deadline_ms", "commit_ahead_superslabs", "keep_empty_superslabs"}) {
    EXPECT_NE(value_of(*facts, name), "absent") << name;
  }
  for (const TunableFacts& f : *facts) EXPECT_FALSE(f.description.empty()) << f.name;
}

TEST(EngineTunables, ChangeAllOrNone) {
  Daemon daemon(2);
  const auto changed =
      set(daemon, {{"idle_drain_ms", "7"}, {"spin_us", "50"}, {"p0_no_drain", "on"}});
  ASSERT_TRUE(changed.ok()) << changed.error().message;
  EXPECT_EQ(value_of(*changed, "idle_drain_ms"), "7");
  EXPECT_EQ(daemon.engine().tunables().spin_us, 50u);
  EXPECT_TRUE(tunables().p0_no_drain);
  const auto refused = set(daemon, {{"idle_drain_ms", "9"}, {"spin_us", "99999"}});
  EXPECT_EQ(refused.error().error, Error::kInvalidOption);
  EXPECT_NE(refused.error().message.find("spin_us"), std::string::npos) << refused.error().message;
  EXPECT_EQ(set(daemon, {{"nonsense", "1"}}).error().error, Error::kInvalidOption);
  EXPECT_EQ(set(daemon, {{"p0_log", "maybe"}}).error().error, Error::kInvalidOption);
  EXPECT_EQ(set(daemon, {{"idle_drain_ms", "-1"}}).error().error, Error::kInvalidOption);
  const auto after = set(daemon, {{"p0_no_drain", "0"}});
  EXPECT_EQ(value_of(*after, "idle_drain_ms"), "7");
}

TEST(EngineTunables, KillSwitchWinsOverSetTunables) {
  Daemon daemon(1);
  tunables().p0_disable = true;
  const auto refused = set(daemon, {{"p0_enable", "1"}});
  const auto shown = set(daemon, {{"p0_enable", "0"}});
  tunables().p0_disable = false;
  EXPECT_EQ(refused.error().error, Error::kInvalidOption);
  EXPECT_NE(refused.error().message.find("HAKMEM_TINY_P0_DISABLE"), std::string::npos);
  EXPECT_EQ(value_of(*shown, "p0_enable"), "0");
  EXPECT_EQ(value_of(*set(daemon, {{"p0_enable", "1"}}), "p0_enable"), "1");
}

TEST(EngineTunables, WithoutRefillDrainRemotelyFreedMemoryComesHomeByTheIdleDrain) {
  Daemon daemon(2);
  ASSERT_TRUE(set(daemon, {{"p0_no_drain", "1"}, {"idle_drain_ms", "5"}}).ok());
  const auto arena = daemon.create("a", 16 * kMiB);
  const SessionKey key = daemon.open_attached("a");
  const auto got = daemon.allocate(0, key, arena->id, 256, 5000);
  ASSERT_EQ(daemon.free(1, key, arena->id, refs_of(*got))->done, 5000u);
  EXPECT_TRUE(eventually([&] { return daemon.stats("a")->shards[0].heap.drained_blocks == 5000; }));
  EXPECT_GT(daemon.stats()->shards[0].idle_drains, 0u);
  ASSERT_TRUE(set(daemon, {{"p0_no_drain", "0"}}).ok());
  expect_exact(daemon, 0);
}

TEST(EngineDrain, RefusesNewSessionsAndArenasTellsStreamsAndEndsWithTheLastSession) {
  EngineOptions options;
  options.tunables = {{"drain_deadline_ms", "600000"}};
  Daemon daemon(2, options);
  const auto arena = daemon.create("a", 4 * kMiB);
  const auto opened = daemon.open();
  std::atomic<int> told{0};
  ASSERT_TRUE(
      daemon
          .keep(opened->key, 1,
                [&](const SessionEvent& e) { told += e.kind == SessionEvent::Kind::kDraining; })
          .ok());
  ASSERT_TRUE(daemon.attach(opened->key, "a").ok());
  const auto got = daemon.allocate(0, opened->key, arena->id, 64);
  std::atomic<int> drained{0};
  daemon.engine().begin_drain([&] { ++drained; });
  EXPECT_TRUE(daemon.control().draining());
  daemon.engine().begin_drain([&] { drained += 100; });  // a second signal changes nothing
  EXPECT_EQ(daemon.open().error().error, Error::kDraining);
  EXPECT_EQ(daemon.create("b", kMiB).error().error, Error::kDraining);
  EXPECT_EQ(daemon.attach(opened->key, "a").error().error, Error::kDraining);
  EXPECT_EQ(told, 1);
  EXPECT_EQ(drained, 0);
  // The session may finish its work.
  EXPECT_EQ(daemon.free(1, opened->key, arena->id, refs_of(*got))->done, 1u);
  ASSERT_TRUE(daemon.close(opened->key).ok());
  EXPECT_TRUE(eventually([&] { return drained == 1; }));
}

TEST(EngineDrain, EndsAtItsDeadlineWithSessionsOpen) {
  EngineOptions options;
  options.tunables = {{"drain_deadline_ms", "40"}};
  Daemon daemon(1, options);
  daemon.open_kept();
  std::atomic<int> drained{0};
  const std::uint64_t before = now_ns();
  daemon.engine().begin_drain([&] { ++drained; });
  EXPECT_TRUE(eventually([&] { return drained == 1; }));
  EXPECT_GE(now_ns() - before, 40 * kNsPerMs);
}

TEST(EngineStop, AnswersWaitersAndRefusesLaterCalls) {
  Daemon daemon(2);
  const auto arena = daemon.create("a", 2 * kMiB);
  const SessionKey key = daemon.open_attached("a");
  ASSERT_TRUE(daemon.allocate(0, key, arena->id, 2 * kMiB, 1, 60'000).ok());
  AllocateArgs args;
  args.session = key;
  args.arena_id = arena->id;
  args.size_bytes = 64;
  args.wait_ms = 600'000;
  auto waiting = daemon.allocate_later(1, args);
  EXPECT_TRUE(daemon.loop(1).run([](ShardApi&) { return true; }));  // it is parked
  daemon.engine().stop();
  EXPECT_EQ(answer_of(std::move(waiting)).error().error, Error::kDraining);
  std::atomic<int> refused{0};
  daemon.control().open_session(
      daemon_itself(), {.name = "late"},
      [&](Answer<OpenedSession> answer) { refused += answer.error().error == Error::kDraining; });
  daemon.engine().stop();  // idempotent
  EXPECT_EQ(refused, 1);
  EXPECT_FALSE(std::filesystem::exists(daemon.engine().handoff_path()));
}

}  // namespace
}  // namespace arenad::server
