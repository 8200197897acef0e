// The files of arenas that outlive their daemon, in every state that a daemon may leave them in.
#include "server/core/state/state_directory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <vector>

#include "tests/core/state_directory_fixture.h"

namespace arenad::server {
namespace {

namespace fs = std::filesystem;

using Names = std::vector<std::string>;

TEST_F(StateDirectoryTest, MakesADirectoryOfItsOwn) {
  const std::string inner = path("inner");
  ASSERT_TRUE(StateDirectory::open(inner, "", [](LogLevel, const std::string&) {}).ok());
  struct stat st;
  ASSERT_EQ(::stat(inner.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0700u);
}

TEST_F(StateDirectoryTest, RefusesWhatOthersCanReachAndSaysWhatToDo) {
  ASSERT_EQ(::chmod(shm.path().c_str(), 0750), 0);
  auto opened = open();
  ASSERT_FALSE(opened.ok());
  EXPECT_NE(opened.error().message.find("run 'chmod 0700 " + shm.path() + "'"), std::string::npos)
      << opened.error().message;
  ASSERT_EQ(::chmod(shm.path().c_str(), 0700), 0);
  if (::geteuid() == 0) {  // only root can give a directory away
    ASSERT_EQ(::chown(shm.path().c_str(), 12345, 12345), 0);
    opened = open();
    ASSERT_FALSE(opened.ok());
    EXPECT_NE(opened.error().message.find("belongs to user 12345"), std::string::npos)
        << opened.error().message;
    ASSERT_EQ(::chown(shm.path().c_str(), 0, 0), 0);
  }
  std::ofstream(path("file")) << "x";
  EXPECT_FALSE(StateDirectory::open(path("file"), "", [](LogLevel, const std::string&) {}).ok());
  EXPECT_TRUE(open().ok());
}

TEST_F(StateDirectoryTest, SaysWhenItIsNotInMemory) {
  const fs::path disk = fs::current_path() / ("state-" + std::to_string(::getpid()));
  std::string said;
  const bool made = StateDirectory::open(disk, "", [&said](LogLevel, const std::string& line) {
                      said += line;
                    }).ok();
  struct statfs where;
  const bool memory = ::statfs(disk.c_str(), &where) == 0 && where.f_type == 0x01021994;
  fs::remove_all(disk);
  EXPECT_TRUE(made);
  EXPECT_EQ(said.find("neither on tmpfs nor on hugetlbfs") != std::string::npos, !memory) << said;
}

// The clean-up of a temporary directory may take the file away under a running daemon.
TEST_F(StateDirectoryTest, IsOneDaemonsAtATimeThoughItsLockFileIsGone) {
  const auto first = open();
  ASSERT_TRUE(first.ok());
  ASSERT_TRUE(fs::remove(path("lock")));
  const auto second = open();
  ASSERT_FALSE(second.ok());
  EXPECT_NE(second.error().message.find("another arenad uses the state directory"),
            std::string::npos)
      << second.error().message;
  ASSERT_FALSE(fs::exists(path("lock"))) << "it would name a process that is not there";
}

TEST_F(StateDirectoryTest, IsOneDaemonsAtATime) {
  const auto first = open();
  ASSERT_TRUE(first.ok());
  const auto second = open();
  ASSERT_FALSE(second.ok());
  EXPECT_NE(
      second.error().message.find("another arenad (process " + std::to_string(::getpid()) + ")"),
      std::string::npos)
      << second.error().message;
  EXPECT_NE(second.error().message.find("--state-dir"), std::string::npos);
}

TEST_F(StateDirectoryTest, FindsWhatWasMadeWithItsAccess) {
  make("pool", 7);
  make("sessions", 8);
  EXPECT_EQ(files(), (Names{"pool.control", "pool.data", "pool.ledger", "sessions.control",
                            "sessions.data", "sessions.ledger"}));
  EXPECT_EQ(find(), (std::map<std::string, ArenaId>{{"pool", {7}}, {"sessions", {8}}}));
  EXPECT_EQ(log, "");
  Ledger ledger;
  const LedgerHeader& h = *header("pool", ledger);
  EXPECT_EQ(h.access_uid, 1001u);
  EXPECT_EQ(h.access_gid, 1002u);
  EXPECT_EQ(h.access_mode, 0640u);
  struct stat st;
  for (const std::string& file : files()) {
    ASSERT_EQ(::stat(path(file).c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 07777, 0600u) << file;
  }
}

TEST_F(StateDirectoryTest, DataMayLieElsewhere) {
  test::TemporaryDirectory data{test::kMemoryFiles};
  {
    auto state = open(data.path());
    ASSERT_TRUE(state.ok());
    ASSERT_TRUE(state->create(options("pool"), {}).ok());
  }
  EXPECT_TRUE(fs::exists(data.path() + "/pool.data"));
  EXPECT_EQ(files(), (Names{"pool.control", "pool.ledger"}));
  {
    auto state = open(data.path());
    EXPECT_EQ(state->scan()->size(), 1u);
    state->quarantine("pool", "a test says so");
  }
  EXPECT_TRUE(fs::exists(data.path() + "/quarantine/pool.1/pool.data"));
  EXPECT_EQ(files(), (Names{"quarantine/pool.1/pool.control", "quarantine/pool.1/pool.ledger"}));
}

TEST_F(StateDirectoryTest, WhatWasRemovedIsGone) {
  auto state = open();
  auto arena = state->create(options("pool"), {});
  ASSERT_TRUE(arena.ok());
  state->remove(**arena);
  EXPECT_EQ(files(), Names{});
  EXPECT_TRUE(state->create(options("pool"), {}).ok()) << "the name is free at once";
}

TEST_F(StateDirectoryTest, WithoutADirectoryArenasAreInMemoryAlone) {
  StateDirectory none;
  auto arena = none.create(options("pool"), {});
  ASSERT_TRUE(arena.ok());
  none.remove(**arena);
  EXPECT_EQ(none.refused("pool"), "");
}

TEST_F(StateDirectoryTest, DoesNotTouchAFileThatIsInTheWay) {
  std::ofstream(path("pool.control")) << "somebody's";
  auto state = open();
  const auto arena = state->create(options("pool"), {});
  ASSERT_FALSE(arena.ok());
  EXPECT_NE(arena.error().message.find("pool.control is in the way"), std::string::npos);
  EXPECT_EQ(files(), Names{"pool.control"});
}

TEST_F(StateDirectoryTest, HalfMadeAndHalfRemovedArenasAreRemoved) {
  for (const std::uint32_t life : {LedgerHeader::kCreating, LedgerHeader::kDeleting}) {
    for (const Names& missing : {Names{}, Names{"pool.data"}, Names{"pool.data", "pool.control"}}) {
      make("pool");
      {
        Ledger ledger;
        header("pool", ledger)->life.store(life);
      }
      for (const std::string& file : missing) fs::remove(path(file));
      EXPECT_TRUE(find().empty());
      EXPECT_EQ(files(), Names{});
      EXPECT_NE(log.find(life == LedgerHeader::kCreating ? "was being made" : "was being deleted"),
                std::string::npos)
          << log;
    }
  }
}

TEST_F(StateDirectoryTest, LedgerThatWasOnlyJustBegunIsRemoved) {
  for (const std::size_t bytes : {0ul, 10ul, 4096ul, 100000ul}) {
    std::ofstream(path("pool.ledger")) << std::string(bytes, '\0');
    EXPECT_TRUE(find().empty());
    EXPECT_EQ(files(), Names{}) << bytes << "\n" << log;
  }
}

TEST_F(StateDirectoryTest, AnotherLayoutVersionIsLeftAloneAndItsNameStaysTaken) {
  make("pool");
  {
    Ledger ledger;
    header("pool", ledger)->version = kLayoutVersion + 1;
  }
  EXPECT_TRUE(find().empty());
  EXPECT_NE(refused.find("layout version 6, this arenad knows 5"), std::string::npos) << refused;
  EXPECT_EQ(files(), (Names{"pool.control", "pool.data", "pool.ledger"}));
}

TEST_F(StateDirectoryTest, DamagedLedgersAreMovedAwayNeverDeleted) {
  const std::vector<std::pair<const char*, std::function<void()>>> damages = {
      {"magic",
       [this] {
         Ledger l;
         header("pool", l)->magic ^= 1;
       }},
      {"capacity",
       [this] {
         Ledger l;
         header("pool", l)->max_heaps ^= 1;
       }},
      {"access",
       [this] {
         Ledger l;
         header("pool", l)->access_mode = 0777;
       }},
      {"life",
       [this] {
         Ledger l;
         header("pool", l)->life.store(0x55);
       }},
      {"name",
       [this] {
         for (const char* e : {"ledger", "control", "data"})
           fs::rename(path(std::string("pool.") + e), path(std::string("p.") + e));
       }},
      {"cut short", [this] { fs::resize_file(path("pool.ledger"), 100); }},
      {"cut", [this] { fs::resize_file(path("pool.ledger"), 8192); }},
      {"longer", [this] { fs::resize_file(path("pool.ledger"), 1 << 20); }},
      {"not a file",
       [this] {
         fs::remove(path("pool.ledger"));
         fs::create_symlink("pool.data", path("pool.ledger"));
       }},
  };
  int n = 0;
  for (const auto& [what, damage] : damages) {
    make("pool");
    damage();
    EXPECT_TRUE(find().empty()) << what;
    EXPECT_NE(errors.find("is damaged"), std::string::npos) << what;
    const std::string folder =
        std::string(what) == "name" ? "quarantine/p.1" : "quarantine/pool." + std::to_string(++n);
    const auto inside =
        std::distance(fs::directory_iterator(path(folder)), fs::directory_iterator());
    EXPECT_EQ(inside, 3) << what << "\n" << log;
    EXPECT_NE(log.find(folder), std::string::npos) << log;
    EXPECT_FALSE(fs::exists(path("pool.data"))) << what;
  }
}

TEST_F(StateDirectoryTest, FilesWithoutALedgerAreMovedAway) {
  make("pool");
  fs::remove(path("pool.ledger"));
  EXPECT_TRUE(find().empty());
  EXPECT_EQ(files(), (Names{"quarantine/pool.1/pool.control", "quarantine/pool.1/pool.data"}));
}

TEST_F(StateDirectoryTest, SecondArenaWithAnIdIsMovedAway) {
  make("first", 3);
  make("second", 3);
  EXPECT_EQ(find(), (std::map<std::string, ArenaId>{{"first", {3}}}));
  EXPECT_NE(log.find("it has the id of arena 'first'"), std::string::npos) << log;
}

// Names go into logs, metrics and answers. CreateArena takes no such name.
TEST_F(StateDirectoryTest, ArenaWithANameThatNoArenaCanHaveIsMovedAway) {
  for (const std::string name : {"two words", "line\nfeed", "\xff"}) {
    make(name);
    EXPECT_TRUE(find().empty()) << name;
    EXPECT_NE(errors.find("no arena can have that name"), std::string::npos) << errors;
    EXPECT_TRUE(fs::exists(path("quarantine/" + name + ".1/" + name + ".ledger"))) << name;
  }
}

TEST_F(StateDirectoryTest, DoesNotWaitForTheWriterOfAFifo) {
  make("pool");
  fs::remove(path("pool.ledger"));
  ASSERT_EQ(::mkfifo(path("pool.ledger").c_str(), 0600), 0);
  EXPECT_TRUE(find().empty());
  EXPECT_FALSE(fs::exists(path("pool.ledger")));
}

}  // namespace
}  // namespace arenad::server
