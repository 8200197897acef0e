#include "client/load/chaos/driver.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <thread>

#include "client/load/chaos/peer.h"
#include "client/load/link.h"
#include "client/load/runner.h"

namespace arenad::load::chaos {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr std::uint32_t kMostBetweenKillsUs = 8000;
constexpr std::uint32_t kMostDownUs = 150'000;  // a killed daemon stays away at most so long
constexpr std::uint32_t kDaemonKillOneIn = 20;
constexpr auto kDaemonServesWithin = std::chrono::seconds(20);
constexpr auto kEndWithin = std::chrono::seconds(40);

}  // namespace

Driver::Driver(const Options& options, Board& board, ChaosDaemon& daemon)
    : options_(options),
      board_(board),
      daemon_(daemon),
      random_(options.seed),
      places_(options.chaos.peers) {}

Driver::~Driver() {
  for (const Place& p : places_)
    if (p.pid > 0) {
      ::kill(p.pid, SIGKILL);
      ::waitpid(p.pid, nullptr, 0);
    }
}

std::uint64_t Driver::operations() const {
  std::uint64_t n = 0;
  for (std::size_t i = 0; i < places_.size(); ++i)
    n += board_.seats[i].operations.load(std::memory_order_relaxed);
  return n;
}

std::uint32_t Driver::attached() const {
  std::uint32_t n = 0;
  for (std::size_t i = 0; i < places_.size(); ++i)
    n += board_.seats[i].attached.load(std::memory_order_relaxed);
  return n;
}

void Driver::seat(std::uint32_t i) {
  Place& place = places_[i];
  Seat& seat = board_.seats[i];
  for (Post& post : seat.posts) post.ref.store(0, std::memory_order_release);
  seat.session.store(0);
  place = {.operations_at_start = seat.operations.load()};
  const PeerPlace at{daemon_.sockets(),
                     options_.arena,
                     i,
                     static_cast<std::uint32_t>(places_.size()),
                     ++lives_,
                     random_.next(),
                     options_.chaos.plant};
  const pid_t parent = ::getpid();
  std::fflush(nullptr);
  place.pid = ::fork();
  if (place.pid < 0) throw LoadError(std::string("fork: ") + std::strerror(errno));
  if (place.pid > 0) return;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::signal(SIGINT, SIG_IGN);
  ::_exit(::getppid() == parent ? run_peer(at, board_) : 1);
}

void Driver::end_of(std::uint32_t i, int status, bool killed) {
  for (Post& post : board_.seats[i].posts) post.ref.store(0, std::memory_order_release);
  places_[i].pid = -1;
  if (killed) return;
  if (WIFSIGNALED(status))
    board_.found(board_.damaged, "the peer in seat " + std::to_string(i) + " was ended by signal " +
                                     std::to_string(WTERMSIG(status)));
}

// A peer that ended by itself wrote the reason to the board, or it crashed. Another peer takes
// its seat.
void Driver::look_after_children() {
  for (std::uint32_t i = 0; i < places_.size(); ++i) {
    int status = 0;
    if (places_[i].pid <= 0 || ::waitpid(places_[i].pid, &status, WNOHANG) != places_[i].pid)
      continue;
    end_of(i, status, false);
    seat(i);
  }
  if (daemon_.started() && !daemon_.runs()) {
    board_.found(board_.damaged, "the daemon ended by itself");
    std::printf("the daemon ended by itself; the end of its log:\n%s\n",
                daemon_.log_tail().c_str());
    daemon_down_until_ = Clock::now();
  }
  if (!daemon_.started() && Clock::now() >= daemon_down_until_) {
    attached_at_start_ = attached();
    daemon_up_ = Clock::now();
    daemon_.start();
  }
}

bool Driver::works(std::uint32_t i) const {
  return places_[i].pid > 0 && board_.seats[i].operations.load(std::memory_order_relaxed) >
                                   places_[i].operations_at_start;
}

bool Driver::kill_a_peer() {
  const auto i = random_.below(static_cast<std::uint32_t>(places_.size()));
  if (!works(i)) return false;
  ::kill(places_[i].pid, SIGKILL);
  int status = 0;
  ::waitpid(places_[i].pid, &status, 0);
  end_of(i, status, true);
  seat(i);
  ++kills_;
  return true;
}

bool Driver::kill_the_daemon() {
  if (!daemon_.started() || attached() == attached_at_start_) return false;
  daemon_.kill();
  daemon_down_until_ = Clock::now() + microseconds(random_.below(kMostDownUs));
  ++kills_;
  ++daemon_kills_;
  return true;
}

// From time to time a peer is stopped while others are killed. Some stopped peers are killed.
void Driver::stop_and_continue() {
  for (Place& p : places_)
    if (p.stopped && random_.below(6) == 0) {
      ::kill(p.pid, SIGCONT);
      p.stopped = false;
    }
  const auto i = random_.below(static_cast<std::uint32_t>(places_.size()));
  if (random_.below(8) != 0 || !works(i)) return;
  ::kill(places_[i].pid, SIGSTOP);
  places_[i].stopped = true;
}

void Driver::show(bool last) {
  const auto now = Clock::now();
  if (options_.quiet || (!last && now - shown_ < milliseconds(1000))) return;
  const double since = std::max(std::chrono::duration<double>(now - shown_).count(), 1e-3);
  std::printf(
      "chaos %4.0f s  %llu kills, %llu of the daemon  %.0f kills/s  %llu operations  %llu "
      "findings\n",
      seconds(), static_cast<unsigned long long>(kills_),
      static_cast<unsigned long long>(daemon_kills_),
      static_cast<double>(kills_ - shown_kills_) / since,
      static_cast<unsigned long long>(operations()),
      static_cast<unsigned long long>(board_.doubled.load()) + board_.damaged.load());
  std::fflush(stdout);
  shown_ = now;
  shown_kills_ = kills_;
}

void Driver::run() {
  daemon_.start();
  for (std::uint32_t i = 0; i < places_.size(); ++i) seat(i);
  const ChaosOptions& wanted = options_.chaos;
  while (kills_ < wanted.kills && !interrupted() &&
         (wanted.seconds == 0 || seconds() < wanted.seconds)) {
    look_after_children();
    show(false);
    if (daemon_.started() && attached() == attached_at_start_ &&
        Clock::now() - daemon_up_ > kDaemonServesWithin) {
      board_.found(board_.damaged, "no peer could attach within 20 s of the daemon's start");
      std::printf("the end of the daemon's log:\n%s\n", daemon_.log_tail().c_str());
      return;
    }
    std::this_thread::sleep_for(microseconds(random_.below(kMostBetweenKillsUs)));
    if (wanted.kill_daemon && random_.below(kDaemonKillOneIn) == 0)
      kill_the_daemon();
    else if (kill_a_peer())
      stop_and_continue();
  }
  show(true);
}

void Driver::settle() {
  if (!daemon_.started()) daemon_.start();
  board_.stop.store(1);
  for (Place& p : places_)
    if (p.pid > 0) ::kill(p.pid, SIGCONT);
  const auto deadline = Clock::now() + kEndWithin;
  for (std::uint32_t i = 0; i < places_.size(); ++i) {
    Place& p = places_[i];
    int status = 0;
    bool killed = false;
    while (p.pid > 0 && ::waitpid(p.pid, &status, WNOHANG) == 0) {
      if (Clock::now() > deadline) {
        ::kill(p.pid, SIGKILL);
        ::waitpid(p.pid, &status, 0);
        board_.found(board_.damaged,
                     "the peer in seat " + std::to_string(i) + " did not end within 40 s");
        killed = true;
        break;
      }
      std::this_thread::sleep_for(milliseconds(2));
    }
    if (p.pid > 0) end_of(i, status, killed);
  }
}

}  // namespace arenad::load::chaos
