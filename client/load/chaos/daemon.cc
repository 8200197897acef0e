#include "client/load/chaos/daemon.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>
#include <utility>
#include <vector>

#include "client/load/chaos/board.h"
#include "client/load/chaos/boot_id.h"
#include "client/load/link.h"

namespace arenad::load::chaos {
namespace {

constexpr const char* kMemoryFiles = "/dev/shm";  // a tmpfs, as a state directory must be
constexpr auto kStopsWithin = std::chrono::seconds(20);
constexpr std::streamoff kLogTail = 4000;

std::string private_directory(const std::string& parent) {
  std::string pattern =
      parent + "/arenad-chaos-XXXXXX";  // short: a socket's path has at most 107 characters
  if (::mkdtemp(pattern.data()) == nullptr)
    throw LoadError("cannot make a directory in " + parent + ": " + std::strerror(errno));
  return pattern;
}

}  // namespace

ChaosDaemon::ChaosDaemon(std::string program, std::uint64_t capacity_bytes, bool survives)
    : program_(std::move(program)), capacity_bytes_(capacity_bytes) {
  if (program_.empty())
    program_ = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "arenad";
  if (::access(program_.c_str(), X_OK) != 0)
    throw LoadError(program_ + " cannot be started: " + std::strerror(errno) +
                    "; name one with --arenad");
  const char* temporary = std::getenv("TMPDIR");
  directory_ = private_directory(temporary != nullptr && *temporary != 0 ? temporary : "/tmp");
  sockets_ = directory_ + "/s";
  if (survives) state_ = private_directory(kMemoryFiles);
}

ChaosDaemon::~ChaosDaemon() {
  kill();
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
  if (!state_.empty()) std::filesystem::remove_all(state_, ignored);
}

void ChaosDaemon::start(const std::string& boot_id) {
  std::vector<std::string> words{program_,
                                 "--socket-dir",
                                 sockets_,
                                 "--shards",
                                 "2",
                                 "--http",
                                 "off",
                                 "--drain-deadline-ms",
                                 "1000",
                                 "--arena",
                                 std::string(kMainArena) + ":" + std::to_string(capacity_bytes_),
                                 "--arena",
                                 std::string(kSideArena) + ":" + std::to_string(kSideArenaBytes)};
  if (!state_.empty()) words.insert(words.end(), {"--state-dir", state_});
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const std::string log = directory_ + "/log", boot_id_file = directory_ + "/boot_id";
  if (!boot_id.empty() && !(std::ofstream(boot_id_file) << boot_id << "\n"))
    throw LoadError("cannot write " + boot_id_file);
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ < 0) throw LoadError(std::string("fork: ") + std::strerror(errno));
  if (pid_ > 0) return;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  if (::getppid() != parent || out < 0 || ::dup2(out, 1) < 0 || ::dup2(out, 2) < 0) ::_exit(127);
  if (!boot_id.empty() && !enter_other_boot(boot_id_file).empty()) ::_exit(127);
  ::signal(SIGINT, SIG_IGN);  // ^C of the terminal goes to the driver, which ends the run in order
  ::execv(argv[0], argv.data());
  ::_exit(127);
}

void ChaosDaemon::kill() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(std::exchange(pid_, -1), nullptr, 0);
}

void ChaosDaemon::suspend() {
  if (pid_ > 0) ::kill(pid_, SIGSTOP);
}

void ChaosDaemon::resume() {
  if (pid_ > 0) ::kill(pid_, SIGCONT);
}

int ChaosDaemon::stop() {
  if (pid_ <= 0) return 0;
  ::kill(pid_, SIGTERM);
  int status = 0;
  const auto deadline = std::chrono::steady_clock::now() + kStopsWithin;
  while (::waitpid(pid_, &status, WNOHANG) == 0) {
    if (std::chrono::steady_clock::now() > deadline) {
      kill();
      return -1;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

bool ChaosDaemon::runs() {
  if (pid_ <= 0 || ::waitpid(pid_, nullptr, WNOHANG) == 0) return pid_ > 0;
  pid_ = -1;
  return false;
}

std::string ChaosDaemon::log_tail() const {
  std::ifstream in(directory_ + "/log", std::ios::binary | std::ios::ate);
  const std::streamoff size = in.tellg();
  in.seekg(size > kLogTail ? size - kLogTail : 0);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string ChaosDaemon::log_lines(const std::set<std::string>& words) const {
  std::ifstream in(directory_ + "/log", std::ios::binary);
  std::string lines;
  for (std::string line; std::getline(in, line);)
    if (std::ranges::any_of(words, [&](const auto& word) { return line.find(word) != line.npos; }))
      lines += line + "\n";
  return lines;
}

}  // namespace arenad::load::chaos
