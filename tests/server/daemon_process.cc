#include "tests/server/daemon_process.h"

#include <fcntl.h>
#include <grpcpp/create_channel.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "grpc/health/v1/health.grpc.pb.h"

namespace arenad::server {
namespace {

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (std::string& text : texts) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

pid_t spawn(std::vector<std::string> flags, std::vector<std::string> environment,
            const std::string& output) {
  flags.insert(flags.begin(), ARENAD_PROGRAM);
  auto argv = pointers(flags), envp = pointers(environment);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(127);
  const int out = ::open(output.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  ::dup2(out, 1);
  ::dup2(out, 2);
  ::execve(ARENAD_PROGRAM, argv.data(), envp.data());
  ::_exit(127);
}

int code_of(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

bool eventually(const std::function<bool()>& condition, std::chrono::milliseconds within) {
  const auto end = std::chrono::steady_clock::now() + within;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

TemporaryDirectory::TemporaryDirectory() {
  std::string path = (std::filesystem::temp_directory_path() / "arenad-test-XXXXXX").string();
  if (::mkdtemp(path.data()) == nullptr) throw std::runtime_error("mkdtemp " + path);
  path_ = path;
}
TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}
std::string TemporaryDirectory::file(const std::string& name, const std::string& text) const {
  std::ofstream(path_ + "/" + name) << text;
  return path_ + "/" + name;
}

Ended run_arenad(std::vector<std::string> flags, std::vector<std::string> environment) {
  TemporaryDirectory directory;
  const std::string output = directory.path() + "/output";
  const pid_t pid = spawn(std::move(flags), std::move(environment), output);
  int status = 0;
  if (::waitpid(pid, &status, 0) != pid) throw std::runtime_error("waitpid");
  return {code_of(status), text_of(output)};
}

DaemonProcess::DaemonProcess(std::vector<std::string> flags, std::vector<std::string> environment) {
  flags.insert(flags.begin(), {"--socket-dir", socket_dir(), "--http", "127.0.0.1:0"});
  pid_ = spawn(std::move(flags), std::move(environment), directory_.path() + "/log");
  pidfd_ = static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0));
  const auto healthy = [this] {
    if (!running()) throw std::runtime_error("arenad ended while starting:\n" + log());
    if (log().find(" ready: ") == std::string::npos) return false;  // HTTP is up too
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(2));
    grpc::health::v1::HealthCheckResponse response;
    const auto stub = grpc::health::v1::Health::NewStub(connect());
    return stub->Check(&context, {}, &response).ok() &&
           response.status() == grpc::health::v1::HealthCheckResponse::SERVING;
  };
  if (!eventually(healthy, std::chrono::seconds(20)))
    throw std::runtime_error("arenad is not healthy:\n" + log());
}

DaemonProcess::~DaemonProcess() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  ::close(pidfd_);
}

std::shared_ptr<grpc::Channel> DaemonProcess::connect(const std::string& socket) const {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(target(socket), grpc::InsecureChannelCredentials(), arguments);
}

std::string DaemonProcess::log() const { return text_of(directory_.path() + "/log"); }

std::string DaemonProcess::http_address() const {
  const std::string text = log(), mark = "HTTP on http://";
  const auto at = text.find(mark);
  if (at == std::string::npos) throw std::runtime_error("no HTTP address in the log:\n" + text);
  return text.substr(at + mark.size(), text.find('\n', at) - at - mark.size());
}

bool DaemonProcess::running() const {
  pollfd poll_for{pidfd_, POLLIN, 0};
  return pid_ > 0 && ::poll(&poll_for, 1, 0) == 0;
}

void DaemonProcess::signal(int number) const { ::kill(pid_, number); }

int DaemonProcess::wait(std::chrono::milliseconds within) {
  pollfd poll_for{pidfd_, POLLIN, 0};
  if (::poll(&poll_for, 1, static_cast<int>(within.count())) != 1) return -1;
  int status = 0;
  ::waitpid(std::exchange(pid_, -1), &status, 0);
  return code_of(status);
}

int DaemonProcess::stop() {
  signal(SIGTERM);
  return wait();
}

}  // namespace arenad::server
