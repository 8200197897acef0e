// A peer that was handed the descriptors of an arena in files cuts them short: the daemon lives,
// the other arena is exact, the arena is quarantined and says why.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "server/core/state/bus_guard.h"
#include "tests/core/peer_client.h"
#include "tests/support/temporary_directory.h"

namespace arenad::server {
namespace {

class CutFile : public ::testing::Test {
 protected:
  static EngineOptions options(const std::string& state_directory) {
    EngineOptions options;
    options.state_directory = state_directory;
    options.tunables = {{"keepalive_grace_ms", "600000"}};
    return options;
  }
  // Every word of the arena is read by a shard, whose file has `left` bytes of its control when
  // the peer is done with it.
  void cut_control_to(std::uint64_t left) {
    const auto a = daemon.create("a", 16 * kMiB), b = daemon.create("b", 16 * kMiB);
    const SessionKey in_a = daemon.open_attached("a"), in_b = daemon.open_attached("b");
    PeerClient peer(daemon, "a");
    peer.lease(256, 4);
    peer.allocate(256, 600);
    const auto refs = refs_of(*daemon.allocate(0, in_a, a->id, 64, 5000));
    ASSERT_TRUE(daemon.allocate(1, in_b, b->id, 64, 5000).ok());
    EXPECT_EQ(peer.process.command("peer cut " + std::to_string(left)), "cut");

    // The data path meets it first.
    (void)daemon.free(0, in_a, a->id, {refs.begin(), refs.begin() + 2000});
    (void)daemon.allocate(1, in_a, a->id, 64, 100);
    (void)daemon.lease(0, peer.lease_args(4096, 2));
    EXPECT_TRUE(eventually([&] { return daemon.arena("a")->quarantined; }));
    EXPECT_NE(daemon.arena("a")->quarantine_reason, "");
    const auto refused = daemon.allocate(0, in_a, a->id, 3000);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().error, Error::kQuarantined);
    EXPECT_FALSE(daemon.audit("a")->exact);
    // Its sessions end as ever, and the other arena does not know of anything.
    peer.process.kill();
    EXPECT_TRUE(eventually([&] { return daemon.sessions().size() == 2; }));
    const auto audit = daemon.audit("b");
    EXPECT_TRUE(audit->exact);
    EXPECT_EQ(audit->arenas[0].report.held, 5000u);
    EXPECT_TRUE(daemon.allocate(0, in_b, b->id, 64, 1000).ok());
    EXPECT_TRUE(daemon.remove("a", true).ok());
    EXPECT_TRUE(daemon.create("a", 16 * kMiB).ok());
  }

  test::TemporaryDirectory state{test::kMemoryFiles};
  Daemon daemon{2, options(state.path() + "/state")};
};

TEST_F(CutFile, ArenaWhoseControlFileIsEmptiedIsQuarantined) { cut_control_to(0); }

TEST_F(CutFile, ArenaWhoseBlockWordsAreCutOffIsQuarantined) {
  constexpr std::uint64_t kWords =
      16 * kMiB / kSlabUnitBytes * kMaxBlocksPerSlab * 8;  // the last section
  cut_control_to(ControlView::file_bytes(16 * kMiB, kHeapIds) - kWords + 4096);
}

constexpr int kNoFiles = 101, kNotGuarded = 102;

char* map_two_pages(int fd) {
  if (fd < 0 || ::ftruncate(fd, 8192) != 0) std::exit(kNoFiles);
  void* const p = ::mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (p == MAP_FAILED) std::exit(kNoFiles);
  return static_cast<char*>(p);
}

void touch_both_behind_their_ends() {
  const int plain_fd = ::memfd_create("plain", 0), guarded_fd = ::memfd_create("guarded", 0);
  volatile char* const plain = map_two_pages(plain_fd);
  char* const mapped = map_two_pages(guarded_fd);
  volatile char* const guarded = mapped;
  std::atomic<bool> damaged{false};
  const BusGuard guard(mapped, 8192, guarded_fd, damaged);
  guarded[0] = 1;
  if (::ftruncate(guarded_fd, 4096) != 0 || ::ftruncate(plain_fd, 0) != 0) std::exit(kNoFiles);
  guarded[4096] = 2;
  if (!damaged.load() || guarded[0] != 1 || guarded[4096] != 2) std::exit(kNotGuarded);
  plain[0] = 1;
  std::exit(0);
}

bool died_of_it(int status) {
  if (WIFSIGNALED(status)) return WTERMSIG(status) == SIGBUS;
  const int code = WEXITSTATUS(status);  // a sanitizer's, which catches the signal and says so
  return code != 0 && code != kNoFiles && code != kNotGuarded;
}

TEST(BusGuardDeathTest, FaultOutsideOfGuardedMappingsEndsTheProcessAsEver) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(touch_both_behind_their_ends(), died_of_it, "");
}

}  // namespace
}  // namespace arenad::server
