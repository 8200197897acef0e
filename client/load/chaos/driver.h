// Driver: runs the peers of a chaos run as child processes and chooses the next victim.
//
// Invariants: a kill counts only when the victim had worked. A peer has worked when it did
//   something since it attached. The daemon has worked when it served an attach since its start.
//   The driver empties a dead peer's posts at once, because a block's generation comes round after
//   4,194,304 lives and an old post would then name a new block.
// Threads: one. Crash: the children die with this process (PR_SET_PDEATHSIG).
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "client/load/chaos/board.h"
#include "client/load/chaos/daemon.h"
#include "client/load/kernels/random.h"
#include "client/load/options.h"

namespace arenad::load::chaos {

class Driver {
 public:
  Driver(const Options& options, Board& board, ChaosDaemon& daemon);
  ~Driver();

  void run();     // until all kills are done, the time is over, or ^C
  void settle();  // survivors stop and close their sessions

  std::uint64_t kills() const { return kills_; }
  std::uint64_t daemon_kills() const { return daemon_kills_; }
  std::uint64_t operations() const;
  double seconds() const { return std::chrono::duration<double>(Clock::now() - begin_).count(); }

 private:
  using Clock = std::chrono::steady_clock;
  struct Place {
    pid_t pid = -1;
    std::uint64_t operations_at_start = 0;
    bool stopped = false;
  };

  void seat(std::uint32_t i);
  void look_after_children();
  bool works(std::uint32_t i) const;
  bool kill_a_peer();
  bool kill_the_daemon();
  void stop_and_continue();
  void end_of(std::uint32_t i, int status, bool killed);
  void show(bool last);
  std::uint32_t attached() const;

  const Options& options_;
  Board& board_;
  ChaosDaemon& daemon_;
  Random random_;
  std::vector<Place> places_;
  std::uint64_t kills_ = 0, daemon_kills_ = 0, shown_kills_ = 0;
  std::uint32_t lives_ = 0;
  std::uint32_t attached_at_start_ = 0;  // of the daemon
  Clock::time_point begin_ = Clock::now(), shown_ = begin_, daemon_down_until_ = begin_,
                    daemon_up_ = begin_;
};

}  // namespace arenad::load::chaos
