// ChaosDaemon: the arenad that a chaos run starts, kills and restarts.
//
// Purpose: works without gRPC, so that the driver can fork peers beside it.
// Invariants: the sockets, and the arenas of a state directory, lie in private directories. The
//   directories are removed with this object.
// Threads: the driver's.
// Crash: the daemon dies with this process (PR_SET_PDEATHSIG). The directories stay.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <set>
#include <string>

namespace arenad::load::chaos {

class ChaosDaemon {
 public:
  // `program`: the arenad to start; empty: the one beside this program. Starts nothing yet.
  // Throws LoadError.
  ChaosDaemon(std::string program, std::uint64_t capacity_bytes, bool survives);
  ~ChaosDaemon();
  ChaosDaemon(const ChaosDaemon&) = delete;
  ChaosDaemon& operator=(const ChaosDaemon&) = delete;

  // `boot_id`: the daemon sees this boot id (boot_id.h); empty: the machine's.
  void start(const std::string& boot_id = {});
  void kill();
  void suspend();  // SIGSTOP
  void resume();   // SIGCONT
  // Sends SIGTERM and waits. Returns the exit code, or -1 when the daemon had to be killed.
  int stop();
  // False when the daemon has ended by itself.
  bool runs();
  bool started() const { return pid_ > 0; }

  const std::string& sockets() const { return sockets_; }
  // The last lines of its log.
  std::string log_tail() const;
  // The lines of its log that have one of the words.
  std::string log_lines(const std::set<std::string>& words) const;

 private:
  std::string program_, directory_, sockets_, state_;
  std::uint64_t capacity_bytes_;
  pid_t pid_ = -1;
};

}  // namespace arenad::load::chaos
