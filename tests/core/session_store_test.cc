// What is written down of sessions, and how their processes are found again.
#include "server/core/state/session_store.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>

#include "tests/core/client_process.h"
#include "tests/core/daemon.h"
#include "tests/support/temporary_directory.h"

namespace arenad::server {
namespace {

KeptSession session(std::uint16_t id, const std::string& name) {
  KeptSession s;
  s.key = {{id}, 0x1234567890abcdefu + id};
  s.name = name;
  s.limit_bytes = 1 << 20;
  s.reserve_bytes = 5 << 10;
  s.opened_ns = 42;
  s.owner_uid = 500;
  s.owner_gid = 600;
  return s;
}

class SessionStoreTest : public testing::Test {
 protected:
  SessionStore open() {
    auto opened = SessionStore::open(path);
    EXPECT_TRUE(opened.ok()) << opened.error().message;
    return std::move(*opened);
  }
  void poke(std::uint64_t at, char byte) const {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(at));
    file.put(byte);
  }
  static constexpr std::uint64_t record_at(std::uint16_t id) { return 4096 + id * 256u; }

  test::TemporaryDirectory shm{test::kMemoryFiles};
  const std::string path = shm.path() + "/sessions.table";
};

TEST_F(SessionStoreTest, NameThatNoSessionCanHaveIsDamage) {
  SessionStore store = open();
  ASSERT_TRUE(store.put(session(1, "a\nb")).ok());
  EXPECT_TRUE(store.all().at({1}).damaged);
}

TEST_F(SessionStoreTest, KeepsWhatWasPut) {
  {
    SessionStore ledger = open();
    EXPECT_TRUE(ledger.all().empty());
    for (const auto id : std::to_array<std::uint16_t>({1, 15, 16, 4000, 65534}))
      ASSERT_TRUE(ledger.put(session(id, "s" + std::to_string(id))).ok());
    ProcessMark mark;
    mark.pid = 77;
    mark.start_time = 88;
    ledger.bind({16}, mark, 1000, 2000);
    ledger.mark_ending({4000});
    ledger.clear({15});
  }
  const auto all = open().all();
  ASSERT_EQ(all.size(), 4u);
  const KeptSession& bound = all.at({16});
  EXPECT_EQ(bound.key, (SessionKey{{16}, 0x1234567890abcdef + 16}));
  EXPECT_EQ(bound.name, "s16");
  EXPECT_EQ(bound.limit_bytes, 1u << 20);
  EXPECT_EQ(bound.reserve_bytes, 5u << 10);
  SessionStore store = open();
  store.set_limit({16}, 7 << 20);
  EXPECT_EQ(store.all().at({16}).limit_bytes, 7u << 20);
  EXPECT_FALSE(store.all().at({16}).damaged);
  store.set_limit({16}, ~std::uint64_t{0});
  EXPECT_EQ(store.all().at({16}).limit_bytes, (std::uint64_t{1} << 48) - 1) << "as good as none";
  EXPECT_EQ(bound.opened_ns, 42u);
  EXPECT_EQ(bound.owner_uid, 500u);
  EXPECT_EQ(bound.owner_gid, 600u);
  EXPECT_TRUE(bound.bound);
  EXPECT_EQ(bound.process.pid, 77);
  EXPECT_EQ(bound.process.start_time, 88u);
  EXPECT_EQ(bound.uid, 1000u);
  EXPECT_EQ(bound.gid, 2000u);
  EXPECT_TRUE(all.at({4000}).ending);
  EXPECT_FALSE(all.at({1}).bound);
  for (const auto& [id, kept] : all) EXPECT_FALSE(kept.damaged) << id.value;
}

TEST_F(SessionStoreTest, AnIdMayBeUsedAgain) {
  SessionStore ledger = open();
  ASSERT_TRUE(
      ledger.put(session(5, "a-rather-long-name-of-64-characters-01234567890123456789012345678901"))
          .ok());
  ledger.bind({5}, {}, 0, 0);
  ledger.mark_ending({5});
  ledger.clear({5});
  ASSERT_TRUE(ledger.put(session(5, "b")).ok());
  const auto all = ledger.all();
  EXPECT_EQ(all.at({5}).name, "b");
  EXPECT_FALSE(all.at({5}).bound);
  EXPECT_FALSE(all.at({5}).ending);
  EXPECT_FALSE(all.at({5}).damaged);
}

TEST_F(SessionStoreTest, LooksTakeNoMemory) {
  SessionStore ledger = open();
  ASSERT_TRUE(ledger.put(session(30000, "one")).ok());
  EXPECT_EQ(ledger.all().size(), 1u);
  struct stat st;
  ASSERT_EQ(::stat(path.c_str(), &st), 0);
  EXPECT_LE(st.st_blocks * 512, 2 * 4096) << "the header's page and the record's";
}

TEST_F(SessionStoreTest, EveryDamagedByteOfARecordIsSeen) {
  {
    SessionStore ledger = open();
    ASSERT_TRUE(ledger.put(session(3, "third")).ok());
    ledger.bind({3}, {}, 1, 2);
  }
  std::ifstream file(path, std::ios::binary);
  std::string whole(static_cast<std::size_t>(record_at(4)), '\0');
  file.read(whole.data(), static_cast<std::streamsize>(whole.size()));
  constexpr std::uint64_t kUsed = 8 + 32 + 72 + 8 + 48 + 8 + 8;
  for (std::uint64_t i = 0; i < kUsed; ++i) {
    if (i >= 4 && i < 8) continue;  // `bound` is true with any value
    poke(record_at(3) + i, static_cast<char>(whole[record_at(3) + i] ^ 0x10));
    const auto all = open().all();
    ASSERT_TRUE(all.contains({3})) << i;
    EXPECT_TRUE(all.at({3}).damaged) << i;
    poke(record_at(3) + i, whole[record_at(3) + i]);
  }
  EXPECT_FALSE(open().all().at({3}).damaged);
}

TEST_F(SessionStoreTest, ABindingHalfWrittenHasNotHappened) {
  {
    SessionStore ledger = open();
    ASSERT_TRUE(ledger.put(session(3, "third")).ok());
  }
  poke(record_at(3) + 8 + 32 + 72 + 8 + 10, 1);  // some of the process, `bound` not yet
  const KeptSession kept = open().all().at({3});
  EXPECT_FALSE(kept.bound);
  EXPECT_FALSE(kept.damaged);
}

TEST_F(SessionStoreTest, DamagedFilesAreRefusedAndOtherVersionsToldApart) {
  { open(); }
  poke(0, 'x');
  EXPECT_EQ(SessionStore::open(path).error().error, Error::kInvalidOption);
  std::filesystem::remove(path);
  { open(); }
  poke(8, 9);
  const auto other = SessionStore::open(path);
  EXPECT_EQ(other.error().error, Error::kModeUnavailable);
  EXPECT_NE(other.error().message.find("has version 9, this arenad knows 4"), std::string::npos)
      << other.error().message;
  std::filesystem::resize_file(path, 5000);
  EXPECT_EQ(SessionStore::open(path).error().error, Error::kInvalidOption);
}

TEST_F(SessionStoreTest, AFileThatWasOnlyJustMadeIsMadeReady) {
  std::ofstream(path) << "";
  std::filesystem::resize_file(path, 4096 + 65536 * 256);
  EXPECT_TRUE(open().all().empty());
  EXPECT_FALSE(open().is_new()) << "the one before has made it";
  std::filesystem::resize_file(path, 0);
  EXPECT_EQ(SessionStore::open(path).error().error, Error::kNone)
      << "killed between making it and giving it its size";
}

TEST(SessionStore, WithoutAFileNothingIsKept) {
  SessionStore none;
  EXPECT_TRUE(none.put(session(1, "one")).ok());
  none.bind({1}, {}, 0, 0);
  none.mark_ending({1});
  none.clear({1});
  EXPECT_TRUE(none.all().empty());
}

// ---- processes

// A living process that is connected to this one.
class Stranger {
 public:
  Stranger() {
    int pair[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    mine_ = UniqueFd(pair[0]);
    theirs_ = UniqueFd(pair[1]);
  }
  // The credentials of a socketpair are its maker's: this process.
  ProcessMark mark() { return mark_of(*peer_process(mine_.get())); }

 private:
  UniqueFd mine_, theirs_;
};

TEST(ProcessMark, ALivingProcessIsFoundAgainWithAPidfd) {
  const ProcessMark mark = Stranger().mark();
  EXPECT_EQ(mark.pid, ::getpid());
  EXPECT_NE(mark.start_time, 0u);
  const FoundProcess found = find_again(mark);
  EXPECT_EQ(found.life, Life::kAlive);
  EXPECT_TRUE(found.pidfd);
  EXPECT_EQ(found.identity.pid, ::getpid());
}

TEST(ProcessMark, AnotherProcessWithItsPidIsNotTakenForIt) {
  ProcessMark mark = Stranger().mark();
  if (mark.pidfs_inode != 0) {
    ++mark.pidfs_inode;
    EXPECT_EQ(find_again(mark).life, Life::kDead);
    mark.pidfs_inode = 0;  // as of a kernel without pidfs
  }
  EXPECT_EQ(find_again(mark).life, Life::kAlive);
  ++mark.start_time;
  const FoundProcess found = find_again(mark);
  EXPECT_EQ(found.life, Life::kDead);
  EXPECT_FALSE(found.pidfd);
}

TEST(ProcessMark, ADeadProcessIsDeadAlsoBeforeItsParentKnows) {
  test::TemporaryDirectory shm{test::kMemoryFiles};
  ProcessMark mark = Stranger().mark();
  const pid_t child = ::vfork();
  if (child == 0) ::_exit(0);
  mark.pid = child;
  mark.pidfs_inode = 0;
  siginfo_t info;
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT), 0);
  EXPECT_EQ(find_again(mark).life, Life::kDead) << "a zombie";
  ::waitpid(child, nullptr, 0);
  EXPECT_EQ(find_again(mark).life, Life::kDead);
}

TEST(ProcessMark, AProcessOfAnotherBootIdMayLive) {
  for (const bool is_dead : {false, true}) {
    ProcessMark mark = Stranger().mark();
    mark.start_time += is_dead;
    mark.boot[0] ^= 1;
    EXPECT_EQ(find_again(mark).life, Life::kUnknown) << "a container may have its own";
    mark.boot[0] = mark.boot[1] = 0;
    EXPECT_EQ(find_again(mark).life, Life::kUnknown) << "the id could not be read";
  }
}

TEST(ProcessMark, WhatCannotBeSeenMayLive) {
  ProcessMark mark = Stranger().mark();
  mark.pid_namespace += 1;
  EXPECT_EQ(find_again(mark).life, Life::kUnknown);
  mark = Stranger().mark();
  mark.pid = 0;
  const FoundProcess found = find_again(mark);
  EXPECT_EQ(found.life, Life::kUnknown);
  EXPECT_EQ(found.identity.pidfs_inode, mark.pidfs_inode) << "it is known again when it comes";
  mark = Stranger().mark();
  mark.start_time = mark.pidfs_inode = 0;
  EXPECT_EQ(find_again(mark).life, Life::kUnknown);
}

}  // namespace
}  // namespace arenad::server
