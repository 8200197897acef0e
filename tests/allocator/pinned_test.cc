// Pinned arenas: committed as a whole or not at all, never given back, and locked where that is
// wanted and allowed.
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <utility>

#include "allocator/arena/peer_arena.h"
#include "tests/allocator/arena_fixture.h"
#include "tests/allocator/counted_budget.h"
#include "tests/support/kept_pages.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/text.h"

namespace arenad {
namespace {

constexpr std::uint64_t kPinnedBytes = 16 * kMiB;
constexpr std::uint32_t kPinnedSuperslabs = kPinnedBytes / kSuperslabBytes;

ArenaConfig pinned() {
  ArenaConfig options;
  options.name = "pinned";
  options.id = {7};
  options.capacity_bytes = kPinnedBytes;
  options.max_heaps = 64;
  options.pinned = true;
  return options;
}

std::unique_ptr<Arena> made(const ArenaConfig& options, const ArenaFiles* files = nullptr) {
  auto arena = Arena::create(options, files);
  EXPECT_TRUE(arena.ok()) << arena.error().message;
  return std::move(*arena);
}

std::uint64_t data_bytes(const Arena& arena) {
  struct stat st {};
  EXPECT_EQ(::fstat(arena.data_fd(), &st), 0);
  return static_cast<std::uint64_t>(st.st_blocks) * 512;
}

// Whether this process may lock what RLIMIT_MEMLOCK does not allow. Counts for this thread.
class MayLockAnything {
 public:
  explicit MayLockAnything(bool may) {
    ::syscall(SYS_capget, &header_, before_);
    __user_cap_data_struct now[2] = {before_[0], before_[1]};
    if (!may) now[0].effective &= ~(1u << CAP_IPC_LOCK);
    EXPECT_EQ(::syscall(SYS_capset, &header_, now), 0);
  }
  ~MayLockAnything() { ::syscall(SYS_capset, &header_, before_); }
  MayLockAnything(const MayLockAnything&) = delete;
  MayLockAnything& operator=(const MayLockAnything&) = delete;

 private:
  __user_cap_header_struct header_{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct before_[2]{};
};

class MemlockLimit {
 public:
  explicit MemlockLimit(std::uint64_t bytes) {
    EXPECT_EQ(::getrlimit(RLIMIT_MEMLOCK, &before_), 0);
    const rlimit now{bytes, before_.rlim_max};
    EXPECT_EQ(::setrlimit(RLIMIT_MEMLOCK, &now), 0);
  }
  ~MemlockLimit() { ::setrlimit(RLIMIT_MEMLOCK, &before_); }
  MemlockLimit(const MemlockLimit&) = delete;
  MemlockLimit& operator=(const MemlockLimit&) = delete;

 private:
  rlimit before_{};
};

std::uint64_t locked_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;)
    if (std::uint64_t kib = 0; word == "VmLck:" && status >> kib) return kib << 10;
  return 0;
}

TEST(Pinned, IsCommittedWithOneRequest) {
  CountedBudget budget;
  ArenaConfig options = pinned();
  options.budget = &budget;
  const auto arena = made(options);
  EXPECT_EQ(arena->committed_bytes(), 0u);
  ASSERT_EQ(arena->commit_whole().error, Error::kNone);
  EXPECT_EQ(arena->committed_bytes(), kPinnedBytes);
  EXPECT_EQ(data_bytes(*arena), kPinnedBytes);
  EXPECT_EQ(budget.payload, kPinnedBytes);
  EXPECT_EQ(budget.on_the_way, 0u);
  EXPECT_EQ(arena->units().taken_units(), 0u);
  EXPECT_EQ(arena->units().wholly_free(), kPinnedSuperslabs);
  for (std::uint32_t s = 0; s < kPinnedSuperslabs; ++s)
    EXPECT_EQ(arena->control().superslab({s}).committed.load(), 1u) << "peers see it, too";
}

TEST(Pinned, RefusalNamesTheLimitAndLeavesNothing) {
  CountedBudget budget;
  ArenaConfig options = pinned();
  options.budget = &budget;
  {
    const auto arena = made(options);
    budget.room = kPinnedBytes - 1;
    const Failure full = arena->commit_whole();
    EXPECT_EQ(full.error, Error::kMachineFull);
    EXPECT_TRUE(has(full.message, "the test's limit")) << full.message;
    EXPECT_TRUE(has(full.message, "16 MiB")) << full.message;
    EXPECT_EQ(data_bytes(*arena), 0u) << "it was asked for as a whole";
    EXPECT_EQ(budget.room, kPinnedBytes - 1);
  }
  EXPECT_EQ(budget.payload, 0u);
}

TEST(Pinned, NothingIsGivenBack) {
  const auto arena = made(pinned());
  ASSERT_EQ(arena->commit_whole().error, Error::kNone);
  Heap heap(*arena, HeapId{0}, SessionId{1});
  const auto span = heap.allocate(kPinnedBytes, kHolder);
  ASSERT_TRUE(span.ok());
  std::memset(arena->data() + span->offset, 'o', kPinnedBytes);
  test::SplicedPage first(arena->data()), last(arena->data() + kPinnedBytes - test::kKeptBytes);
  ASSERT_EQ(heap.free(span->ref), Error::kNone);
  for (int look = 0; look < 3; ++look) {
    heap.trim();
    EXPECT_EQ(arena->decommit_idle(0), 0u);
  }
  EXPECT_EQ(data_bytes(*arena), kPinnedBytes);
  std::memset(arena->data(), 'n', kPinnedBytes);
  EXPECT_EQ(first.read(), std::string(test::kKeptBytes, 'n'));
  EXPECT_EQ(last.read(), std::string(test::kKeptBytes, 'n'));
}

// A client that has registered memory lives on while the daemon is away.
TEST(Pinned, PagesOutliveTheDaemon) {
  const test::TemporaryDirectory shm(test::kMemoryFiles);
  const ArenaFiles files{shm.path() + "/a.data", shm.path() + "/a.control",
                         shm.path() + "/a.ledger"};
  std::unique_ptr<test::SplicedPage> of_run, of_nobody;
  {
    const auto arena = made(pinned(), &files);
    ASSERT_EQ(arena->commit_whole().error, Error::kNone);
    arena->finish_creation();
    Heap heap(*arena, HeapId{0}, SessionId{1});
    ASSERT_TRUE(heap.allocate(64 * 1024, kHolder).ok());
    of_run = std::make_unique<test::SplicedPage>(arena->data());
    of_nobody =
        std::make_unique<test::SplicedPage>(arena->data() + kPinnedBytes - test::kKeptBytes);
  }
  CountedBudget budget;
  auto ledger = Ledger::open_file(files.ledger_path);
  ASSERT_TRUE(ledger.ok());
  auto again = Arena::open(files, std::move(*ledger), true, &budget);
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_TRUE((*again)->options().pinned);
  EXPECT_EQ((*again)->committed_bytes(), kPinnedBytes);
  EXPECT_EQ(budget.payload, kPinnedBytes);
  EXPECT_EQ(data_bytes(**again), kPinnedBytes);
  std::memset((*again)->data(), 'n', kPinnedBytes);
  EXPECT_EQ(of_run->read(), std::string(test::kKeptBytes, 'n'));
  EXPECT_EQ(of_nobody->read(), std::string(test::kKeptBytes, 'n'));
  EXPECT_EQ((*again)->decommit_idle(0) + (*again)->decommit_idle(0), 0u);
}

TEST(Pinned, LockedArenaIsLockedAsLongAsItLives) {
  const std::uint64_t before = locked_bytes();
  ArenaConfig options = pinned();
  options.capacity_bytes = kSuperslabBytes;  // less than everybody may lock
  options.lock = true;
  options.map_data = false;  // the lock needs a mapping all the same
  {
    const auto arena = made(options);
    EXPECT_FALSE(arena->locked());
    const Failure full = arena->commit_whole();
    ASSERT_EQ(full.error, Error::kNone) << full.message;
    EXPECT_TRUE(arena->locked());
    EXPECT_EQ(locked_bytes() - before, kSuperslabBytes);
  }
  EXPECT_EQ(locked_bytes(), before);
}

TEST(Pinned, LockBeyondTheLimitIsRefusedWithWhatHelps) {
  const MayLockAnything no(false);
  const MemlockLimit limit(kMiB);
  ArenaConfig options = pinned();
  options.lock = true;
  const auto arena = made(options);
  const Failure refused = arena->commit_whole();
  EXPECT_EQ(refused.error, Error::kMachineFull);
  for (const char* part : {"16 MiB to lock", "RLIMIT_MEMLOCK of this process is 1 MiB",
                           "LimitMEMLOCK=", "do without lock"})
    EXPECT_TRUE(has(refused.message, part)) << part << " is not in: " << refused.message;
  EXPECT_FALSE(arena->locked());
}

TEST(Pinned, ArenaThatCannotBeLockedAgainIsServed) {
  const test::TemporaryDirectory shm(test::kMemoryFiles);
  const ArenaFiles files{shm.path() + "/a.data", shm.path() + "/a.control",
                         shm.path() + "/a.ledger"};
  {
    ArenaConfig options = pinned();
    options.capacity_bytes = kSuperslabBytes;
    options.lock = true;
    const auto arena = made(options, &files);
    ASSERT_EQ(arena->commit_whole().error, Error::kNone);
    arena->finish_creation();
  }
  const MayLockAnything no(false);
  const MemlockLimit limit(kMiB);
  auto ledger = Ledger::open_file(files.ledger_path);
  ASSERT_TRUE(ledger.ok());
  const auto again = Arena::open(files, std::move(*ledger), false);
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_FALSE((*again)->quarantined());
  EXPECT_TRUE((*again)->options().lock);
  EXPECT_FALSE((*again)->locked());
  EXPECT_TRUE(has((*again)->memory_refusal(), "RLIMIT_MEMLOCK"));
}

TEST(Pinned, LockNeedsIt) {
  ArenaConfig options = pinned();
  options.pinned = false;
  options.lock = true;
  const auto refused = Arena::create(options);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().error, Error::kInvalidOption);
}

TEST(Pinned, PeerRefusesOptionsThatDoNotExist) {
  const auto arena = made(pinned());
  const auto attach = [&] {
    return PeerArena::attach(::dup(arena->data_fd()), ::dup(arena->control_fd()), {5});
  };
  auto peer = attach();
  ASSERT_TRUE(peer.ok()) << peer.error().message;
  EXPECT_TRUE((*peer)->options().pinned);
  arena->control().header().options = kLockBit;  // without kPinnedBit
  EXPECT_FALSE(attach().ok());
  arena->control().header().options = kArenaOptionBits + 1;
  EXPECT_FALSE(attach().ok());
}

}  // namespace
}  // namespace arenad
