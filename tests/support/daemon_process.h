// DaemonProcess: arenad as a child process of a test, on a socket directory of its own.
//
// Purpose: the one launcher of daemons for tests in C++. (tests/support/daemon.py is the one for
// Python. arena-load starts its own: client/load/chaos is part of an installed program.)
// Invariants: the daemon serves when the constructor or start() returns. No process and no file
// outlives the destructor. When the running test has failed, the destructor prints the log.
// Threads: one. Crash: the kernel kills the daemon when the thread that started it ends
// (PR_SET_PDEATHSIG); its directory stays.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

#include "tests/support/eventually.h"
#include "tests/support/temporary_directory.h"

namespace arenad::test {

// How a program ended.
struct Ended {
  int code = -1;       // exit code, or 128 + signal
  std::string output;  // stdout and stderr
};

// Runs arenad and waits for its end. `environment` is NAME=value, beside the test's own without
// the variables that would configure a daemon.
Ended run_arenad(std::vector<std::string> flags, std::vector<std::string> environment = {});

class DaemonProcess {
 public:
  // Starts a daemon. Unless the flags say otherwise, it serves HTTP on a free port, and a session
  // without a KeepAlive stream lives for ten minutes.
  // Throws std::runtime_error, with the log in its text, when the daemon does not start.
  explicit DaemonProcess(std::vector<std::string> flags = {},
                         std::vector<std::string> environment = {});
  ~DaemonProcess();
  DaemonProcess(const DaemonProcess&) = delete;
  DaemonProcess& operator=(const DaemonProcess&) = delete;

  // Starts it again after its end: same directory, same log, same flags.
  void start();
  void signal(int number) const;
  // SIGKILL, and the wait for its end. Nothing when it has ended.
  void kill();
  // SIGTERM, and the wait for its end. Returns the exit code, or 128 + signal.
  int stop();
  // Waits for its end. Returns the exit code, 128 + signal, or -1 when it does not end in time.
  int wait(std::chrono::milliseconds deadline = kDeadline);
  bool running() const;
  pid_t pid() const { return pid_; }

  std::string socket_dir() const { return directory_.path() + "/sockets"; }
  // What gRPC connects to: "unix:/tmp/.../arenad.sock".
  std::string target(const std::string& socket = "arenad.sock") const {
    return "unix:" + socket_dir() + "/" + socket;
  }
  // Of the newest start: "127.0.0.1:12345", for HTTP and for gRPC with --listen-plaintext.
  std::string http_address() const { return address_after("HTTP on http://"); }
  std::string tcp_target() const { return address_after("serving plain text on 127.0.0.1:", 10); }
  // Of all starts; and what was added since that many bytes.
  std::string log(std::size_t from = 0) const;

 private:
  void become_ready();
  // The rest of the line after `mark`, with the last `kept` bytes of the mark.
  std::string address_after(const std::string& mark, std::size_t kept = 0) const;

  TemporaryDirectory directory_;
  std::vector<std::string> flags_, environment_;
  std::size_t log_before_start_ = 0;
  pid_t pid_ = -1;
  int pidfd_ = -1;
};

}  // namespace arenad::test
