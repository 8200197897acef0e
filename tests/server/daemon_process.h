// DaemonProcess: arenad as a child process of a test, on a socket directory of its own.
//
// Invariants: healthy when the constructor returns; no process and no file stays behind the
// destructor. Threads: one. Crash: a test that dies leaves its daemon to the kernel
// (PR_SET_PDEATHSIG).
#pragma once

#include <sys/types.h>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace grpc {
class Channel;
}

namespace arenad::server {

// Asks until `condition` holds or the deadline is over; true when it held.
bool eventually(const std::function<bool()>& condition,
                std::chrono::milliseconds within = std::chrono::seconds(10));

// How a program that was run to its end ended.
struct Ended {
  int code = -1;       // exit code; 128 + signal
  std::string output;  // stdout and stderr
};
// Runs arenad and waits for its end. `environment` is NAME=value, beside nothing else.
Ended run_arenad(std::vector<std::string> flags, std::vector<std::string> environment = {});

class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::string& path() const { return path_; }
  // Writes a file there and returns its path.
  std::string file(const std::string& name, const std::string& text) const;

 private:
  std::string path_;
};

class DaemonProcess {
 public:
  explicit DaemonProcess(std::vector<std::string> flags = {},
                         std::vector<std::string> environment = {});
  ~DaemonProcess();
  DaemonProcess(const DaemonProcess&) = delete;
  DaemonProcess& operator=(const DaemonProcess&) = delete;

  std::string socket_dir() const { return directory_.path() + "/sockets"; }
  std::string target(const std::string& socket = "arenad.sock") const {
    return "unix:" + socket_dir() + "/" + socket;
  }
  // A connection of its own each time.
  std::shared_ptr<grpc::Channel> connect(const std::string& socket = "arenad.sock") const;
  std::string log() const;
  // "127.0.0.1:12345", where the daemon serves HTTP.
  std::string http_address() const;
  bool running() const;
  void signal(int number) const;
  // Waits for its end: exit code, or 128 + signal. -1 when it does not end in time.
  int wait(std::chrono::milliseconds within = std::chrono::seconds(20));
  // SIGTERM, then wait().
  int stop();

 private:
  TemporaryDirectory directory_;
  pid_t pid_ = -1;
  int pidfd_ = -1;
};

}  // namespace arenad::server
