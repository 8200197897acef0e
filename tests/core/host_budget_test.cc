// HostBudget: which requests for memory are granted, and what the refusals say.
#include "server/core/host/host_budget.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "allocator/base/unique_fd.h"
#include "tests/core/daemon.h"
#include "tests/support/sizes.h"
#include "tests/support/temporary_directory.h"

namespace arenad::server {
namespace {

using Use = MemoryBudget::Use;

// A machine with a cgroup of v2, in files.
class FakeHost {
 public:
  FakeHost() {
    write("/proc/self/mountinfo", "35 31 0:32 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    write("/proc/self/cgroup", "0::/box\n");
    machine(64 * kMiB * 1024, 64 * kMiB * 1024);
  }
  void machine(std::uint64_t total_bytes, std::uint64_t available_bytes) {
    write("/proc/meminfo", "MemTotal: " + std::to_string(total_bytes / 1024) +
                               " kB\nMemAvailable: " + std::to_string(available_bytes / 1024) +
                               " kB\n");
  }
  // Whoever reads what the machine has waits, until write() into gate_path().
  void close_gate() {
    const std::string fifo = root() + "/proc/fifo";
    ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
    ASSERT_EQ(::rename(fifo.c_str(), gate_path().c_str()), 0);
  }
  std::string gate_path() const { return root() + "/proc/meminfo"; }
  void cgroup(std::uint64_t max, std::uint64_t current) {
    write("/sys/fs/cgroup/box/memory.max", std::to_string(max) + "\n");
    write("/sys/fs/cgroup/box/memory.current", std::to_string(current) + "\n");
  }
  const std::string& root() const { return root_.path(); }

 private:
  void write(const std::string& path, const std::string& text) {
    const std::filesystem::path file = root_.path() + path, fresh = file.string() + ".new";
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(fresh) << text;
    std::filesystem::rename(fresh, file);  // a reader sees all of it or nothing
  }
  test::TemporaryDirectory root_;
};

bool says(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(HostBudget, RefusalNamesTheCgroupWithItsLimitAndWhatIsLeft) {
  FakeHost host;
  host.cgroup(256 * kMiB, 56 * kMiB);
  HostBudget budget(host.root());
  const Failure full = budget.request(Use::kPayload, 1024 * kMiB, -1);
  EXPECT_EQ(full.error, Error::kMachineFull);
  EXPECT_EQ(full.message,
            "the memory limit of cgroup /sys/fs/cgroup/box (memory.max) is 256 MiB, of which 200 "
            "MiB are left and 16 MiB must stay free; 1 GiB were needed");
  EXPECT_EQ(budget.total_bytes(), 0u);
}

TEST(HostBudget, RefusalNamesTheMachine) {
  FakeHost host;
  host.machine(8192 * kMiB, 1024 * kMiB);
  HostBudget budget(host.root());
  const Failure full = budget.request(Use::kPayload, 4 * 1024 * 1024 * kMiB, -1);
  EXPECT_EQ(full.error, Error::kMachineFull);
  EXPECT_TRUE(says(full.message,
                   "the available memory of this machine is 8 GiB, of which 1 GiB "
                   "are left and 256 MiB must stay free; 4 TiB were needed"))
      << full.message;
}

TEST(HostBudget, WhatIsGrantedAndNotYetThereCountsAsUsed) {
  FakeHost host;
  host.cgroup(160 * kMiB, 0);
  HostBudget budget(host.root());
  ASSERT_EQ(budget.request(Use::kPayload, 100 * kMiB, -1).error, Error::kNone);
  EXPECT_EQ(budget.request(Use::kPayload, 60 * kMiB, -1).error, Error::kMachineFull);
  budget.arrived(100 * kMiB);
  host.cgroup(160 * kMiB, 100 * kMiB);
  EXPECT_EQ(budget.request(Use::kPayload, 60 * kMiB, -1).error, Error::kMachineFull);
  EXPECT_EQ(budget.request(Use::kPayload, 50 * kMiB, -1).error, Error::kNone)
      << "10 MiB must stay free";
}

TEST(HostBudget, RequestsOfManyThreadsTogetherStayWithinTheHost) {
  FakeHost host;
  host.cgroup(160 * kMiB, 0);
  HostBudget budget(host.root());
  std::atomic<int> granted{0};
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i)
      threads.emplace_back([&] {
        for (int n = 0; n < 100; ++n)
          granted += budget.request(Use::kPayload, kMiB, -1).error == Error::kNone;
      });
  }
  EXPECT_EQ(granted, 150);
  EXPECT_EQ(budget.total_bytes(), 150 * kMiB);
}

TEST(HostBudget, PayloadCountsUntilItIsGivenBackAndControlMemoryDoesNot) {
  FakeHost host;
  HostBudget budget(host.root());
  budget.take_limit(10 * kMiB, -1);
  ASSERT_EQ(budget.request(Use::kPayload, 8 * kMiB, -1).error, Error::kNone);
  ASSERT_EQ(budget.request(Use::kControl, 8 * kMiB, -1).error, Error::kNone);
  EXPECT_EQ(budget.total_bytes(), 8 * kMiB);
  const Failure full = budget.request(Use::kPayload, 4 * kMiB, -1);
  EXPECT_EQ(full.error, Error::kMachineFull);
  EXPECT_EQ(full.message,
            "max_total_bytes, the limit of all arenas together, is 10 MiB, of which 2 MiB are "
            "left; 4 MiB were needed");
  budget.give_back(8 * kMiB, -1);
  EXPECT_EQ(budget.request(Use::kPayload, 10 * kMiB, -1).error, Error::kNone);
}

TEST(HostBudget, WhatWasThereBeforeCountsEvenAboveTheLimit) {
  FakeHost host;
  HostBudget budget(host.root());
  budget.adopt(20 * kMiB);
  budget.take_limit(10 * kMiB, -1);
  EXPECT_EQ(budget.total_bytes(), 20 * kMiB);
  EXPECT_TRUE(says(budget.request(Use::kPayload, 1, -1).message, "of which 0 B are left"));
}

TEST(HostBudget, ChoosesFourFifthsOfWhatTheTightestLimitLeaves) {
  FakeHost host;
  host.cgroup(1000 * kMiB, 500 * kMiB);
  HostBudget budget(host.root());
  budget.adopt(300 * kMiB);
  const std::string said = budget.take_limit(0, -1);
  EXPECT_EQ(budget.max_total_bytes(), 640 * kMiB);
  EXPECT_TRUE(says(said, "max_total_bytes is 640 MiB, chosen by arenad: 80 % of 800 MiB")) << said;
  EXPECT_TRUE(says(said, "cgroup /sys/fs/cgroup/box (memory.max)")) << said;
  EXPECT_TRUE(says(budget.take_limit(7 * kMiB, -1), "max_total_bytes is 7 MiB, as configured"));
}

TEST(HostBudget, FileSystemOfTheFilesBoundsToo) {
  // Any file system with a size. None has 4 EiB.
  const test::TemporaryDirectory directory;
  const UniqueFd fd(::open(directory.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  ASSERT_NE(file_system_bound(fd.get()).limit_bytes, 0u) << directory.path();
  const FakeHost host;
  HostBudget budget(host.root());
  const Failure full = budget.request(Use::kPayload, std::uint64_t{1} << 62, fd.get());
  EXPECT_TRUE(says(full.message, "the file system of " + directory.path())) << full.message;
  const UniqueFd memfd(::memfd_create("test", MFD_CLOEXEC));
  EXPECT_EQ(file_system_bound(memfd.get()).limit_bytes, 0u) << "a memfd has no such limit";
}

// --- a whole engine

EngineOptions in(const FakeHost& host) {
  EngineOptions options;
  options.host_root = host.root();
  options.tunables = {{"commit_ahead_superslabs", "0"}};
  return options;
}

TEST(HostBudget, EngineSaysWhichLimitIsInForce) {
  FakeHost host;
  host.cgroup(256 * kMiB, 6 * kMiB);
  EngineOptions options = in(host);
  std::string log;
  options.log = [&log](LogLevel, const std::string& line) { log += line + "\n"; };
  Daemon daemon(1, options);
  EXPECT_EQ(daemon.engine().limits().max_total_bytes, 200 * kMiB);
  EXPECT_TRUE(says(log, "max_total_bytes is 200 MiB, chosen by arenad: 80 % of 250 MiB")) << log;
}

// What the budget has read is believed for 10 ms.
void forget_what_was_read() {
  const std::uint64_t forgotten_ns = now_ns() + 20 * kNsPerMs;
  ASSERT_TRUE(eventually([&] { return now_ns() > forgotten_ns; }));
}

TEST(HostBudget, CallerHearsWhichLimitWasHit) {
  FakeHost host;
  host.cgroup(256 * kMiB, 6 * kMiB);
  EngineOptions options = in(host);
  options.limits.max_total_bytes = 64 * kMiB;
  Daemon daemon(2, options);
  const ArenaId arena = daemon.create("a", 1024 * kMiB)->id;
  const SessionKey key = daemon.open_attached("a");
  const auto span = daemon.allocate(0, key, arena, 512 * kMiB);
  ASSERT_FALSE(span.ok());
  EXPECT_EQ(span.error().error, Error::kMachineFull);
  EXPECT_TRUE(says(span.error().message,
                   "max_total_bytes, the limit of all arenas together, is 64 "
                   "MiB, of which 64 MiB are left; 512 MiB were needed"))
      << span.error().message;
  const auto late = daemon.allocate(0, key, arena, 512 * kMiB, 1, 20);
  EXPECT_EQ(late.error().error, Error::kWaitExpired);
  EXPECT_TRUE(says(late.error().message, "max_total_bytes")) << late.error().message;
  ASSERT_TRUE(daemon.allocate(0, key, arena, 32 * kMiB).ok()) << "what fits is given";
  host.cgroup(256 * kMiB, 250 * kMiB);
  forget_what_was_read();
  const auto full = daemon.allocate(1, key, arena, 8 * kMiB);
  ASSERT_FALSE(full.ok());
  EXPECT_TRUE(says(full.error().message, "cgroup /sys/fs/cgroup/box (memory.max)"))
      << full.error().message;
}

// The thread that commits is held where it reads what the machine has.
TEST(HostBudget, OtherCallsOfTheShardAreAnsweredWhileMemoryIsCommitted) {
  FakeHost host;
  host.machine(160 * kMiB, 160 * kMiB);
  Daemon daemon(1, in(host));
  const ArenaId arena = daemon.create("a", 256 * kMiB)->id;
  const SessionKey key = daemon.open_attached("a");
  const auto before = daemon.allocate(0, key, arena, 64, 10);
  ASSERT_TRUE(before.ok()) << before.error().message;
  host.close_gate();
  AllocateArgs args;
  args.session = key;
  args.arena_id = arena;
  args.size_bytes = 100 * kMiB;
  args.count = 1;
  auto span = daemon.allocate_later(0, args);
  // Opening waits until the other end is open: from here on somebody is held.
  UniqueFd gate(::open(host.gate_path().c_str(), O_WRONLY | O_CLOEXEC));
  EXPECT_TRUE(daemon.allocate(0, key, arena, 64, 10).ok());
  EXPECT_TRUE(daemon.allocate(0, key, arena, 64, 10, 60'000).ok()) << "also a caller that may wait";
  EXPECT_EQ(daemon.free(0, key, arena, refs_of(*before))->done, 10u);
  EXPECT_TRUE(daemon.arena("a").ok());
  EXPECT_EQ(span.wait_for(std::chrono::seconds(0)), std::future_status::timeout);
  host.machine(160 * kMiB, 160 * kMiB);  // for the next reader
  const std::string text = "MemTotal: 163840 kB\nMemAvailable: 163840 kB\n";
  ASSERT_EQ(::write(gate.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  gate = UniqueFd();  // the end of what there is to read
  const auto got = answer_of(std::move(span));
  EXPECT_TRUE(got.ok()) << got.error().message;
  expect_exact(daemon, 21);
}

// The same for an arena that is committed as a whole when it is created. The control thread reads
// what the machine has first, for what the arena costs to manage.
TEST(HostBudget, OtherCallsAreAnsweredWhileAPinnedArenaIsCommitted) {
  FakeHost host;
  host.machine(160 * kMiB, 160 * kMiB);
  Daemon daemon(1, in(host));
  const ArenaId arena = daemon.create("a", 256 * kMiB)->id;
  const SessionKey key = daemon.open_attached("a");
  const auto before = daemon.allocate(0, key, arena, 64, 10);
  ASSERT_TRUE(before.ok()) << before.error().message;
  forget_what_was_read();
  host.close_gate();
  CreateArenaArgs args;
  args.name = "pinned";
  args.capacity_bytes = 100 * kMiB;
  args.pinned = true;
  std::promise<Answer<ArenaFacts>> promise;
  auto pinned = promise.get_future();
  daemon.control().create_arena(
      daemon_itself(), args, [&](Answer<ArenaFacts> made) { promise.set_value(std::move(made)); });
  const auto open_gate = [](UniqueFd gate) {
    const std::string text = "MemTotal: 163840 kB\nMemAvailable: 163840 kB\n";
    ASSERT_EQ(::write(gate.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  };
  // Opening waits until the other end is open.
  UniqueFd of_control(::open(host.gate_path().c_str(), O_WRONLY | O_CLOEXEC));
  host.close_gate();
  open_gate(std::move(of_control));
  UniqueFd of_commit;
  for (;;) {
    of_commit = UniqueFd(::open(host.gate_path().c_str(), O_WRONLY | O_CLOEXEC));
    // A control thread that is slow reads more than once. While it is held it answers nothing.
    const auto answered = std::make_shared<std::promise<void>>();
    daemon.control().get_arena(daemon_itself(), "a",
                               [answered](const Answer<ArenaFacts>&) { answered->set_value(); });
    if (answered->get_future().wait_for(std::chrono::seconds(5)) == std::future_status::ready)
      break;
    host.close_gate();
    open_gate(std::move(of_commit));
  }
  // From here on a thread is held that is neither the shard's nor the control thread.
  EXPECT_TRUE(daemon.allocate(0, key, arena, 64, 10).ok());
  EXPECT_EQ(daemon.free(0, key, arena, refs_of(*before))->done, 10u);
  EXPECT_EQ(daemon.arena("pinned").error().error, Error::kUnknownArena);
  EXPECT_EQ(daemon.create(args).error().error, Error::kArenaExists);
  EXPECT_EQ(pinned.wait_for(std::chrono::seconds(0)), std::future_status::timeout);
  host.machine(160 * kMiB, 160 * kMiB);  // for the next reader
  open_gate(std::move(of_commit));
  const auto made = answer_of(std::move(pinned));
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_EQ(made->committed_bytes, 100 * kMiB);
  EXPECT_EQ(daemon.arena("pinned")->id, made->id);
}

TEST(HostBudget, MemoryOfADeletedArenaIsThereForOthers) {
  const FakeHost host;
  EngineOptions options = in(host);
  options.limits.max_total_bytes = 16 * kMiB;
  Daemon daemon(1, options);
  const ArenaId first = daemon.create("a", 64 * kMiB)->id;
  const ArenaId second = daemon.create("b", 64 * kMiB)->id;
  const SessionKey key = daemon.open_attached("a");
  ASSERT_TRUE(daemon.attach(key, "b").ok());
  ASSERT_TRUE(daemon.allocate(0, key, first, 12 * kMiB).ok());
  EXPECT_EQ(daemon.allocate(0, key, second, 12 * kMiB).error().error, Error::kMachineFull);
  ASSERT_TRUE(daemon.remove("a", true).ok());
  EXPECT_TRUE(eventually([&] { return daemon.allocate(0, key, second, 12 * kMiB).ok(); }));
}

TEST(HostBudget, ArenaTooLargeToManageIsRefused) {
  FakeHost host;
  host.cgroup(64 * kMiB, 50 * kMiB);
  Daemon daemon(1, in(host));
  const auto arena = daemon.create("a", std::uint64_t{1} << 42);
  ASSERT_FALSE(arena.ok());
  EXPECT_EQ(arena.error().error, Error::kMachineFull);
  EXPECT_TRUE(says(arena.error().message, "to manage an arena of that capacity"))
      << arena.error().message;
  EXPECT_TRUE(daemon.create("b", 1024 * kMiB).ok()) << "a capacity is not memory";
}

}  // namespace
}  // namespace arenad::server
