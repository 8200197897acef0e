// Arenas that are deleted while this process is attached, and sessions that detach.
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "arenad/arenad.h"
#include "tests/client/client_fixture.h"
#include "tests/support/daemon_process.h"
#include "tests/support/eventually.h"
#include "tests/support/sizes.h"

namespace arenad::client {
namespace {

// What a process has open and mapped now.
struct Footprint {
  std::size_t descriptors = 0;
  std::size_t mappings = 0;
  std::uint64_t memory_bytes = 0;  // anonymous and shared
};

Footprint footprint_of(pid_t pid) {
  const std::string proc = "/proc/" + std::to_string(pid);
  Footprint now;
  now.descriptors = static_cast<std::size_t>(
      std::distance(std::filesystem::directory_iterator(proc + "/fd"), {}));
  std::ifstream maps(proc + "/maps");
  for (std::string line; std::getline(maps, line);) ++now.mappings;
  std::ifstream status(proc + "/status");
  for (std::string word; status >> word;) {
    std::uint64_t kib = 0;
    if ((word == "RssAnon:" || word == "RssShmem:") && status >> kib) now.memory_bytes += kib << 10;
  }
  return now;
}

class DeletedArena : public testing::Test {
 protected:
  void SetUp() override {
    client = must(Client::connect(daemon.socket_dir()));
    session = must(Session::open(client, {.name = "camera"}));
    id = make();
  }
  void TearDown() override {
    session = Session();
    EXPECT_TRUE(must(Admin(client).audit()).exact);
    EXPECT_EQ(daemon.stop(), 0) << daemon.log();
  }
  ArenaId make() { return must(client.create_arena("frames", {.capacity_bytes = 64 * kMiB})).id; }
  ArenaHandle attach(AttachMode mode = AttachMode::kPeer) {
    return must(session.attach("frames", mode));
  }
  void remove() { EXPECT_TRUE(client.delete_arena("frames", true).ok()); }

  DaemonProcess daemon{{"--shards", "2"}};
  Client client;
  Session session;
  ArenaId id;
};

TEST_F(DeletedArena, ANewArenaOfTheSameNameIsNewMemory) {
  const ArenaHandle old = attach();
  Block kept = must(old.allocate(4096));
  std::memset(kept.data(), 1, kept.size_bytes());
  remove();
  const ArenaId again = make();
  ASSERT_NE(again, id);
  const ArenaHandle arena = attach();
  EXPECT_EQ(arena.info().id, again);
  EXPECT_NE(arena.data().data(), old.data().data());
  const Block block = must(arena.allocate(4096));
  EXPECT_EQ(block.ref().arena(), again);
  EXPECT_EQ(must(client.get_arena("frames")).held_blocks, 1u);
  EXPECT_EQ(kept.data()[100], std::byte{1}) << "the old block stays readable";
}

TEST_F(DeletedArena, ItsCallsAnswerUnknownArenaAndName) {
  const ArenaHandle arena = attach();
  Block block = must(arena.allocate(64));
  remove();
  // The slab of the block has room for a thousand more, so the daemon is not asked for them.
  EXPECT_TRUE(eventually([&] { return !arena.allocate(64).ok(); }));
  const Status refused = arena.allocate(64).error();
  EXPECT_EQ(refused.code, Code::kNotFound) << refused.text();
  EXPECT_EQ(refused.reason, Error::kUnknownArena) << refused.text();
  EXPECT_NE(refused.message.find("'frames'"), std::string::npos) << refused.text();
  EXPECT_EQ(arena.try_allocate(64).error(), Error::kUnknownArena);
  EXPECT_EQ(arena.allocate(5 * kMiB).error().reason, Error::kUnknownArena);
  EXPECT_EQ(block.free().reason, Error::kUnknownArena);
  EXPECT_TRUE(session.alive());
}

TEST_F(DeletedArena, ThreeHundredOfThemLeaveNothingBehind) {
  remove();
  const auto cycle = [&] {
    const ArenaId created = make();
    const ArenaHandle arena = attach();
    ASSERT_EQ(arena.info().id, created);
    Block block = must(arena.allocate(kMiB));
    std::memset(block.data(), 1, block.size_bytes());
    remove();
  };
  for (int i = 0; i < 50; ++i) cycle();
  const Footprint client_before = footprint_of(::getpid());
  const Footprint daemon_before = footprint_of(daemon.pid());
  for (int i = 0; i < 300; ++i) cycle();
  // Each cycle has two descriptors and two mappings here and three there, and a megabyte. What is
  // left of the last cycles goes within a moment.
  const auto flat = [](const Footprint& before, pid_t pid) {
    const Footprint now = footprint_of(pid);
    return now.descriptors <= before.descriptors + 10 && now.mappings <= before.mappings + 20 &&
           now.memory_bytes <= before.memory_bytes + 32 * kMiB;
  };
  const auto text = [](const Footprint& before, pid_t pid) {
    const Footprint now = footprint_of(pid);
    return std::to_string(before.descriptors) + " descriptors before, " +
           std::to_string(now.descriptors) + " now; " + std::to_string(before.mappings) +
           " mappings before, " + std::to_string(now.mappings) + " now; " +
           std::to_string(before.memory_bytes) + " bytes before, " +
           std::to_string(now.memory_bytes) + " now";
  };
  EXPECT_TRUE(eventually([&] { return flat(client_before, ::getpid()); }))
      << "client: " << text(client_before, ::getpid());
  EXPECT_TRUE(eventually([&] { return flat(daemon_before, daemon.pid()); }))
      << "daemon: " << text(daemon_before, daemon.pid());
}

}  // namespace
}  // namespace arenad::client
