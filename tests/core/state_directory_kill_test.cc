// A process is killed at any system call of its work on a state directory: each arena is whole, or
// gone, or set aside.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/core/state_directory_fixture.h"

namespace arenad::server {
namespace {

namespace fs = std::filesystem;

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
