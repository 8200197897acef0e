// ChaosDaemon: the arenad that a chaos run starts, kills and restarts. It needs no gRPC, so that
// peers can be forked beside it.
//
// Invariants: sockets (and, with a state directory, the arenas) lie in private directories that go
// with this object. Threads: the driver's. Crash: the daemon dies with this process
// (PR_SET_PDEATHSIG); the directories stay.
#pragma once

#include <sys/types.h>

#include <string>

namespace arenad::load::chaos {

class ChaosDaemon {
 public:
  // `program`: empty for the arenad beside this program. Starts nothing yet. Throws LoadError.
  ChaosDaemon(std::string program, std::string arena, std::uint64_t capacity_bytes, bool survives);
  ~ChaosDaemon();
  ChaosDaemon(const ChaosDaemon&) = delete;
  ChaosDaemon& operator=(const ChaosDaemon&) = delete;

  void start();
  void kill();
  // SIGTERM and the wait for it. Returns the exit code, -1 when it had to be killed.
  int stop();
  // False when it has ended by itself.
  bool runs();
  bool started() const { return pid_ > 0; }

  const std::string& sockets() const { return sockets_; }
  // The last lines of its log.
  std::string log_tail() const;

 private:
  std::string program_, arena_, directory_, sockets_, state_;
  std::uint64_t capacity_bytes_;
  pid_t pid_ = -1;
};

}  // namespace arenad::load::chaos
