// The files of arenas that outlive their daemon, in every state that a daemon may leave them in.
#include "server/core/state/state_directory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <vector>

#include "tests/support/temporary_directory.h"

namespace arenad::server {
namespace {

namespace fs = std::filesystem;

class StateDirectoryTest : public testing::Test {
 protected:
  Answer<StateDirectory> open(const std::string& data = "") {
    return StateDirectory::open(shm.path(), data,
                                [this](const std::string& line) { log += line + "\n"; });
  }
  // What the next daemon finds, by name.
  std::map<std::string, ArenaId> find() {
    log.clear();
    auto state = open();
    EXPECT_TRUE(state.ok()) << state.error().message;
    auto found = state->scan();
    EXPECT_TRUE(found.ok());
    std::map<std::string, ArenaId> names;
    for (StateDirectory::Found& f : *found) {
      const std::string name = fs::path(f.files.ledger_path).stem();
      auto arena = Arena::open(f.files, std::move(f.ledger), false);
      if (arena.ok())
        names[name] = (*arena)->id();
      else
        state->quarantine(name, arena.error().message);
    }
    refused = state->refused("pool");
    return names;
  }
  static ArenaConfig options(const std::string& name, std::uint16_t id = 1) {
    ArenaConfig o;
    o.id = {id};
    o.name = name;
    o.capacity_bytes = kSuperslabBytes;
    o.max_heaps = 8;
    o.map_data = false;
    return o;
  }
  void make(const std::string& name, std::uint16_t id = 1) {
    auto state = open();
    ASSERT_TRUE(state.ok()) << state.error().message;
    const auto arena = state->create(options(name, id), {1001, 1002, 0640});
    ASSERT_TRUE(arena.ok()) << arena.error().message;
  }
  std::string path(const std::string& file) const { return shm.path() + "/" + file; }
  LedgerHeader* header(const std::string& name, Ledger& ledger) {
    auto opened = Ledger::open_file(path(name + ".ledger"));
    EXPECT_TRUE(opened.ok());
    ledger = std::move(*opened);
    return &ledger.header();
  }
  // Files but the lock, with folders.
  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::recursive_directory_iterator(shm.path()))
      if (entry.is_regular_file() && entry.path().filename() != "lock")
        names.push_back(fs::relative(entry.path(), shm.path()));
    std::sort(names.begin(), names.end());
    return names;
  }

  test::TemporaryDirectory shm{test::kMemoryFiles};
  std::string log;
  std::string refused;
};

using Names = std::vector<std::string>;

TEST_F(StateDirectoryTest, MakesADirectoryOfItsOwn) {
  const std::string inner = path("inner");
  ASSERT_TRUE(StateDirectory::open(inner, "", [](const std::string&) {}).ok());
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
  EXPECT_FALSE(StateDirectory::open(path("file"), "", [](const std::string&) {}).ok());
  EXPECT_TRUE(open().ok());
}

TEST_F(StateDirectoryTest, SaysWhenItIsNotInMemory) {
  const fs::path disk = fs::current_path() / ("state-" + std::to_string(::getpid()));
  std::string said;
  const bool made =
      StateDirectory::open(disk, "", [&said](const std::string& line) { said += line; }).ok();
  struct statfs where;
  const bool memory = ::statfs(disk.c_str(), &where) == 0 && where.f_type == 0x01021994;
  fs::remove_all(disk);
  EXPECT_TRUE(made);
  EXPECT_EQ(said.find("neither on tmpfs nor on hugetlbfs") != std::string::npos, !memory) << said;
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
  EXPECT_NE(refused.find("layout version 3, this arenad knows 2"), std::string::npos) << refused;
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
    EXPECT_NE(log.find("is damaged"), std::string::npos) << what;
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

// ---- killed between any two system calls
// ----------------------------------------------------------------------------------

// Runs state_victim and kills it at the entry of its nth system call. False when it was done
// before.
bool killed_at(int nth, const std::string& verb, const std::string& directory) {
  // Traced from its first instruction: a leak check at its end cannot work then.
  char environment[] = "ASAN_OPTIONS=detect_leaks=0";
  const pid_t pid = ::vfork();
  if (pid == 0) {
    ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    char* const arguments[] = {const_cast<char*>(STATE_VICTIM), const_cast<char*>(verb.c_str()),
                               const_cast<char*>(directory.c_str()), const_cast<char*>("pool"),
                               nullptr};
    char* const variables[] = {environment, nullptr};
    ::execve(STATE_VICTIM, arguments, variables);
    ::_exit(127);
  }
  int status = 0;
  const auto run_to = [&](auto request) {
    ::ptrace(request, pid, nullptr, nullptr);
    ::waitpid(pid, &status, 0);
    return WIFSTOPPED(status);
  };
  ::waitpid(pid, &status, 0);  // at its exec
  ::ptrace(PTRACE_SETOPTIONS, pid, nullptr, PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD);
  while (WIFSTOPPED(status) && WSTOPSIG(status) != SIGSTOP && run_to(PTRACE_CONT)) {}
  bool done = false;
  for (int calls = 0; WIFSTOPPED(status);) {
    if (!run_to(PTRACE_SYSCALL)) break;
    if (WSTOPSIG(status) != (SIGTRAP | 0x80)) continue;
    __ptrace_syscall_info info{};
    ::ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info);
    if (info.op != PTRACE_SYSCALL_INFO_ENTRY) continue;
    done = info.entry.nr == SYS_getppid;
    if (done || ++calls == nth) break;
  }
  if (!WIFSTOPPED(status)) {
    ADD_FAILURE() << "the victim ended by itself, with status " << status;
    return false;
  }
  ::kill(pid, SIGKILL);
  ::waitpid(pid, &status, 0);
  return !done;
}

TEST_F(StateDirectoryTest, ArenaWhoseMakerIsKilledAnywhereIsWholeOrGone) {
  int n = 1, whole = 0;
  for (; killed_at(n, "create", shm.path()); ++n) {
    const auto found = find();
    EXPECT_EQ(files().size(), found.size() * 3) << "killed at call " << n << "\n" << log;
    EXPECT_EQ(log.find("damaged"), std::string::npos) << "killed at call " << n << "\n" << log;
    whole += static_cast<int>(found.size());
    for (const std::string& file : files()) fs::remove(path(file));
  }
  EXPECT_GT(n, 8) << "it makes three files";
  EXPECT_LT(whole, 3) << "whole at the end alone";
  EXPECT_EQ(find().size(), 1u);
}

TEST_F(StateDirectoryTest, ArenaWhoseRemoverIsKilledAnywhereIsGone) {
  int n = 1, whole = 0;
  for (; killed_at(n, "remove", shm.path()); ++n) {
    const auto found = find();
    EXPECT_EQ(files().size(), found.size() * 3) << "killed at call " << n << "\n" << log;
    whole += static_cast<int>(found.size());
    for (const std::string& file : files()) fs::remove(path(file));
  }
  EXPECT_LT(whole, 3) << "whole before the first file went alone";
  EXPECT_GE(n - whole, 3) << "it removes three files";
  EXPECT_TRUE(find().empty());
}

TEST_F(StateDirectoryTest, FilesWhoseMoverIsKilledAnywhereAreAllInOnePlace) {
  const auto all_in_one_place = [this] {
    int folders = 0;
    for (const auto& folder : fs::directory_iterator(path("quarantine"))) {
      const auto inside = std::distance(fs::directory_iterator(folder), fs::directory_iterator());
      EXPECT_TRUE(inside == 3 || inside == 0)
          << folder.path();  // 0: made for files that were never moved
      folders += inside == 3;
    }
    return folders == 1;
  };
  int n = 1;
  for (; killed_at(n, "quarantine", shm.path()); ++n) {
    const bool begun = !fs::exists(path("pool.data"));
    EXPECT_EQ(find().size(), begun ? 0u : 1u) << "killed at call " << n << "\n" << log;
    EXPECT_TRUE(!begun || all_in_one_place()) << "killed at call " << n << "\n" << log;
    for (const auto& entry : fs::directory_iterator(shm.path()))
      fs::remove_all(entry.path());  // each time the same calls
  }
  EXPECT_TRUE(all_in_one_place());
  EXPECT_GE(n, 5) << "it moves three files";
}

}  // namespace
}  // namespace arenad::server
