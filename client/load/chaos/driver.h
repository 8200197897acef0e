// Driver: runs the peers of a chaos run as child processes and chooses the next victim.
//
// Purpose: the next action is random. The more of its kind are left to do, the likelier it is.
// Invariants: a kill counts only when the victim had worked. A peer has worked when it did
//   something since it attached. The daemon has worked when it served an attach since its start.
//   The driver empties a dead peer's posts at once, because a block's generation comes round after
//   4,194,304 lives and an old post would then name a new block.
// Threads: one. Crash: the children die with this process (PR_SET_PDEATHSIG).
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
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

  void run();     // until all is done, the time is over, or ^C
  void calm();    // the daemon and all survivors work; nobody is killed or stopped any more
  void settle();  // survivors stop and close their sessions

  // What was done so far. The kinds are those of `wanted`.
  ChaosCounts done() const;
  std::uint64_t daemon_kills() const { return daemon_kills_; }
  bool all_done() const;
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
  // Kills or stops the daemon for a while, when it has served somebody. False when it has not.
  bool kill_the_daemon(bool other_boot);
  bool stop_the_daemon(std::uint32_t most_ms);
  // A peer closes its session while the daemon is away.
  void close_while_away();
  void bring_the_daemon_back();
  bool daemon_works() const;
  // The seat of a peer that works and has no order; it gets this one. Nothing when there is none,
  // or when another peer has an order of that kind.
  std::optional<std::uint32_t> give_order(Order order);
  bool has_order(Order order) const;
  std::string random_boot_id();
  void act();
  void stop_some();
  void continue_some();
  void end_of(std::uint32_t i, int status, bool killed);
  void show(bool last);
  std::uint32_t attached() const;

  const Options& options_;
  Board& board_;
  ChaosDaemon& daemon_;
  Random random_;
  std::vector<Place> places_;
  std::uint64_t kills_ = 0, daemon_kills_ = 0, stops_ = 0, boot_ids_ = 0, shown_kills_ = 0;
  std::uint32_t lives_ = 0;
  std::uint32_t attached_at_start_ = 0;  // of the daemon
  bool daemon_stopped_ = false;
  bool next_start_has_other_boot_ = false;
  // The seat whose peer closes while the daemon is away. The daemon waits for the peer, but not
  // longer than until closing_until_.
  std::optional<std::uint32_t> closing_;
  Clock::time_point begin_ = Clock::now(), shown_ = begin_, daemon_away_until_ = begin_,
                    daemon_up_ = begin_, closing_until_ = begin_;
};

}  // namespace arenad::load::chaos
