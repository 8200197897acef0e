// ArenaHandle::detach: a session leaves an arena, whatever its threads and its daemon are doing.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "arenad/arenad.h"
#include "tests/client/client_fixture.h"
#include "tests/support/daemon_process.h"
#include "tests/support/eventually.h"
#include "tests/support/sizes.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/workers.h"

namespace arenad::client {
namespace {

// Descriptors and mappings of arenas that this process has.
struct OfArenas {
  std::size_t descriptors = 0;
  std::size_t mappings = 0;
  friend bool operator==(const OfArenas&, const OfArenas&) = default;
};

OfArenas of_arenas() {
  constexpr const char* kMark = "/memfd:arenad-";
  OfArenas now;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code closed_meanwhile;
    if (std::filesystem::read_symlink(entry, closed_meanwhile).string().starts_with(kMark))
      ++now.descriptors;
  }
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);)
    if (line.find(kMark) != std::string::npos) ++now.mappings;
  return now;
}

std::string mode_of(const testing::TestParamInfo<AttachMode>& test) {
  switch (test.param) {
    case AttachMode::kRemote: return "Remote";
    case AttachMode::kReader: return "Reader";
    case AttachMode::kWriter: return "Writer";
    case AttachMode::kPeer: break;
  }
  return "Peer";
}

// In every mode that can hold blocks.
class DetachModes : public ClientTest, public testing::WithParamInterface<AttachMode> {};
INSTANTIATE_TEST_SUITE_P(Detach, DetachModes,
                         testing::Values(AttachMode::kRemote, AttachMode::kWriter,
                                         AttachMode::kPeer),
                         mode_of);

TEST_P(DetachModes, LeavesTheArenaAndMayComeBack) {
  auto a = attach(GetParam());
  EXPECT_TRUE(must(a.arena.allocate(1000)).free().ok());
  const ArenaHandle copy = a.arena;
  const GivenBack given = must(a.arena.detach());
  EXPECT_EQ(given.blocks, 0u);
  EXPECT_EQ(facts().sessions, 0u);
  for (const ArenaHandle& old : {a.arena, copy}) {
    const Status refused = old.allocate(64).error();
    EXPECT_EQ(refused.reason, Error::kNotAttached) << refused.text();
    EXPECT_NE(refused.message.find("'" + arena_name + "'"), std::string::npos) << refused.text();
    EXPECT_EQ(old.try_allocate(64).error(), Error::kNotAttached);
    EXPECT_EQ(old.detach().error().reason, Error::kNotAttached);
  }
  EXPECT_TRUE(a.session.alive());
  const ArenaHandle again = must(a.session.attach(arena_name, GetParam()));
  const Block block = must(again.allocate(1000));
  EXPECT_EQ(facts().held_blocks, 1u);
  EXPECT_EQ(copy.allocate(64).error().reason, Error::kNotAttached) << "it is the old attachment's";
}

TEST_P(DetachModes, SessionWithBlocksStaysUnlessItGivesThemUp) {
  auto a = attach(GetParam());
  Block block = must(a.arena.allocate(1000)), other = must(a.arena.allocate(1000));
  const Status refused = a.arena.detach().error();
  EXPECT_EQ(refused.reason, Error::kBlocksHeld) << refused.text();
  EXPECT_EQ(refused.code, Code::kFailedPrecondition);
  EXPECT_NE(refused.message.find("2 blocks"), std::string::npos) << refused.text();
  EXPECT_TRUE(must(a.arena.allocate(64)).free().ok()) << "it goes on";
  EXPECT_TRUE(other.free().ok());
  const GivenBack given = must(a.arena.detach({.give_up_blocks = true}));
  EXPECT_EQ(given.blocks, 1u);
  EXPECT_EQ(facts().held_blocks, 0u);
  EXPECT_EQ(block.free().reason, Error::kNotAttached);
}

// Several threads allocate, keep and free blocks while the session is detached and attached again.
TEST_P(DetachModes, WhileThreadsWork) {
  Session session = open(client);
  std::mutex mutex;
  ArenaHandle current = must(session.attach(arena_name, GetParam()));
  std::atomic<std::uint64_t> served{0}, refused{0};
  Workers workers;
  for (int i = 0; i < 3; ++i) {
    workers.start([&, i] {
      std::vector<Block> kept;
      for (std::uint32_t n = 0; workers.go_on(); ++n) {
        ArenaHandle arena;
        {
          const std::lock_guard lock(mutex);
          arena = current;
        }
        auto block = arena.allocate(64u << ((n + static_cast<std::uint32_t>(i)) % 8));
        if (!block.ok()) {
          ASSERT_EQ(block.error().reason, Error::kNotAttached) << block.error().text();
          ++refused;
          kept.clear();
          continue;
        }
        ++served;
        // Who has given up its blocks may not write: the memory may be another's by now.
        kept.push_back(std::move(*block));
        if (kept.size() > 20) kept.clear();
      }
    });
  }
  std::uint32_t stayed = 0;
  for (int i = 0; i < 40 || stayed == 0; ++i) {
    const std::uint64_t before = served;
    ASSERT_TRUE(workers.wait_until([&] { return served > before + 10; }));
    const Status first = current.detach().error();
    if (!first.ok()) {
      ASSERT_EQ(first.reason, Error::kBlocksHeld) << first.text();
      ++stayed;
      must(current.detach({.give_up_blocks = true}));
    }
    ArenaHandle next = must(session.attach(arena_name, GetParam()));
    const std::lock_guard lock(mutex);
    current = std::move(next);
  }
  workers.stop();
  workers.join();
  // No block is held by mistake: each free came through, or its block was given up.
  EXPECT_TRUE(eventually([&] { return facts().held_blocks == 0; })) << facts().held_blocks;
  EXPECT_TRUE(current.detach().ok());
}

class DetachTest : public ClientTest {};

TEST_F(DetachTest, ReaderMayLeave) {
  auto a = attach(AttachMode::kReader);
  EXPECT_TRUE(a.arena.detach().ok());
  EXPECT_EQ(facts().sessions, 0u);
}

TEST_F(DetachTest, EmptyHandleIsRefused) {
  EXPECT_EQ(ArenaHandle().detach().error().code, Code::kFailedPrecondition);
}

TEST_F(DetachTest, MappingAndDescriptorsGoWithTheLastBlock) {
  const OfArenas none;
  ASSERT_EQ(of_arenas(), none);
  auto a = attach(AttachMode::kPeer);
  Block block = must(a.arena.allocate(64));
  const OfArenas attached = of_arenas();
  EXPECT_EQ(attached.descriptors, 2u);
  EXPECT_EQ(attached.mappings, 2u);
  must(a.arena.detach({.give_up_blocks = true}));
  a.arena = {};
  EXPECT_EQ(of_arenas(), attached) << "the Block is there still";
  block = Block();
  // A thread of the library may be the last to let go.
  EXPECT_TRUE(eventually([&] { return of_arenas() == none; }));
}

TEST_F(DetachTest, ThreadThatWaitsForMemoryIsAnswered) {
  auto a = attach(AttachMode::kPeer), full = attach(AttachMode::kPeer, 1);
  const Block most = must(full.arena.allocate(60 * kMiB));
  Workers workers;
  std::atomic<bool> waits{false};
  workers.start([&] {
    waits = true;
    const auto refused = a.arena.allocate(40 * kMiB, {.wait_ms = 600'000});
    EXPECT_EQ(refused.error().reason, Error::kNotAttached) << refused.error().text();
  });
  EXPECT_TRUE(workers.wait_until([&] { return waits.load(); }));
  EXPECT_TRUE(a.arena.detach().ok());
  workers.join();
}

TEST_F(DetachTest, OtherSessionsKeepWhatTheyTookOver) {
  auto a = attach(AttachMode::kPeer), b = attach(AttachMode::kPeer, 1);
  std::vector<Block> taken;
  for (int i = 0; i < 100; ++i)
    taken.push_back(must(b.arena.take(must(a.arena.allocate(512)).release())));
  std::memset(taken[99].data(), 5, 512);
  EXPECT_TRUE(a.arena.detach().ok());
  EXPECT_EQ(facts().held_blocks, 100u);
  EXPECT_EQ(taken[99].data()[511], std::byte{5});
  for (Block& block : taken) EXPECT_TRUE(block.free().ok());
}

// A daemon that knows its sessions again.
TEST(DetachReconnect, WithoutAnAnswerNobodyTouchesTheArenaUntilTheDaemonIsBack) {
  TemporaryDirectory state{test::kMemoryFiles};
  DaemonProcess daemon{{"--shards", "2", "--state-dir", state.path()}};
  const Client client = must(Client::connect(daemon.socket_dir()));
  must(client.create_arena("frames", {.capacity_bytes = 64 * kMiB}));
  Session session = must(Session::open(client));
  const ArenaHandle arena = must(session.attach("frames", AttachMode::kPeer));
  Block block = must(arena.allocate(64));
  daemon.kill();
  const Status unanswered = arena.detach().error();
  EXPECT_EQ(unanswered.code, Code::kUnavailable) << unanswered.text();
  EXPECT_EQ(arena.allocate(64).error().code, Code::kUnavailable);
  daemon.start();
  EXPECT_TRUE(eventually([&] { return arena.allocate(64).ok(); }))
      << arena.allocate(64).error().text();
  EXPECT_EQ(arena.detach().error().reason, Error::kBlocksHeld);
  EXPECT_TRUE(block.free().ok());
  EXPECT_TRUE(arena.detach().ok());
  EXPECT_TRUE(client.delete_arena("frames").ok());
  EXPECT_TRUE(must(Admin(client).audit()).exact);
}

// The daemon dies while it works on detaches, again and again.
TEST(DetachReconnect, KilledDaemonLosesAndLeaksNothing) {
  TemporaryDirectory state{test::kMemoryFiles};
  DaemonProcess daemon{{"--shards", "2", "--state-dir", state.path()}};
  const Client client = must(Client::connect(daemon.socket_dir()));
  must(client.create_arena("frames", {.capacity_bytes = 64 * kMiB}));
  Session session = must(Session::open(client));
  for (int round = 0; round < 8; ++round) {
    std::atomic<std::uint32_t> detaches{0};
    Workers workers;
    workers.start([&] {
      while (workers.go_on()) {
        const auto attached = session.attach("frames", AttachMode::kPeer);
        if (!attached.ok()) continue;  // the daemon is away
        std::vector<Block> blocks;
        // Many slabs, so that the daemon has something to take over.
        for (int i = 0; i < 400; ++i) {
          auto block = attached->allocate(i % 4 == 0 ? 64 : 64 << 10);
          if (!block.ok()) break;
          std::memset(block->data(), round, 64);
          blocks.push_back(std::move(*block));
        }
        if (detaches % 2 == 0) blocks.clear();
        (void)attached->detach({.give_up_blocks = true});
        ++detaches;
      }
    });
    const std::uint32_t wanted = 3 + static_cast<std::uint32_t>(round);
    EXPECT_TRUE(workers.wait_until([&] { return detaches > wanted; }));
    daemon.kill();
    daemon.start();
    workers.stop();
    workers.join();
  }
  EXPECT_TRUE(eventually([&] { return session.alive(); }));
  // Whatever the last call has left: attached or not, the session can leave.
  EXPECT_TRUE(eventually([&] {
    const auto attached = session.attach("frames", AttachMode::kPeer);
    return attached.ok() && attached->detach({.give_up_blocks = true}).ok();
  }));
  const auto now = must(client.get_arena("frames"));
  EXPECT_EQ(now.held_blocks, 0u);
  EXPECT_EQ(now.sessions, 0u);
  EXPECT_TRUE(must(Admin(client).audit()).exact);
  EXPECT_TRUE(client.delete_arena("frames").ok());
}

}  // namespace
}  // namespace arenad::client
