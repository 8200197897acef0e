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
#include <utility>

#include "client/load/chaos/peer.h"
#include "client/load/link.h"
#include "client/load/runner.h"

namespace arenad::load::chaos {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr std::uint32_t kMostBetweenKillsUs = 8000;
constexpr std::uint32_t kMostDownUs = 150'000;  // a killed daemon stays away at most so long
constexpr std::uint32_t kMostStopForCloseMs = 300;
// A peer with a long call in its way may not begin its close sooner.
constexpr auto kClosesWithin = std::chrono::seconds(8);
constexpr std::uint32_t kDaemonKillOneIn = 20;
constexpr auto kDaemonServesWithin = std::chrono::seconds(20);
constexpr auto kEndWithin = std::chrono::seconds(60);

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
  seat.empty_posts();
  seat.session.store(0);
  seat.order.store(Order::kNone);
  place = {.operations_at_start = seat.operations.load()};
  const PeerPlace at{i, ++lives_, random_.next(), options_.chaos.plant};
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
  board_.seats[i].empty_posts();
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
    std::fprintf(stderr, "the daemon ended by itself; the end of its log:\n%s\n",
                 daemon_.log_tail().c_str());
    daemon_stopped_ = false;
    daemon_away_until_ = Clock::now();
  }
  bring_the_daemon_back();
}

void Driver::bring_the_daemon_back() {
  if ((daemon_.started() && !daemon_stopped_) || Clock::now() < daemon_away_until_) return;
  const bool closes = closing_ && board_.seats[*closing_].order.load() == Order::kClose;
  if (closes && Clock::now() < closing_until_) return;
  closing_.reset();
  daemon_up_ = Clock::now();
  if (daemon_stopped_) {
    daemon_stopped_ = false;
    return daemon_.resume();
  }
  attached_at_start_ = attached();
  daemon_.start(std::exchange(next_start_has_other_boot_, false) ? random_boot_id() : "");
}

// In the form of /proc/sys/kernel/random/boot_id.
std::string Driver::random_boot_id() {
  char text[40];
  const std::uint64_t a = random_.next(), b = random_.next();
  std::snprintf(
      text, sizeof text, "%08llx-%04llx-4%03llx-8%03llx-%012llx",
      static_cast<unsigned long long>(a >> 32), static_cast<unsigned long long>(a >> 16 & 0xffff),
      static_cast<unsigned long long>(a & 0xfff), static_cast<unsigned long long>(b >> 52),
      static_cast<unsigned long long>(b & 0xffff'ffff'ffff));
  return text;
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
  return true;
}

bool Driver::daemon_works() const {
  return daemon_.started() && !daemon_stopped_ && attached() != attached_at_start_;
}

bool Driver::kill_the_daemon(bool other_boot) {
  if (!daemon_.started() || attached() == attached_at_start_) return false;
  daemon_.kill();
  daemon_stopped_ = false;
  next_start_has_other_boot_ = other_boot;
  daemon_away_until_ = Clock::now() + microseconds(random_.below(kMostDownUs));
  return true;
}

// Most stops are short. The longest are rare, but they outlast every small call timeout.
bool Driver::stop_the_daemon(std::uint32_t most_ms) {
  if (!daemon_works()) return false;
  daemon_.suspend();
  daemon_stopped_ = true;
  const double part = random_.below(1000) / 999.0;
  daemon_away_until_ =
      Clock::now() + milliseconds(static_cast<std::int64_t>(most_ms * part * part * part));
  return true;
}

void Driver::close_while_away() {
  if (!daemon_works() || closing_) return;
  const auto seat = give_order(Order::kClose);
  if (!seat) return;
  const bool away = options_.chaos.kill_daemon && random_.below(2) == 0
                        ? kill_the_daemon(false)
                        : stop_the_daemon(kMostStopForCloseMs);
  if (!away) return;
  closing_ = seat;
  closing_until_ = Clock::now() + kClosesWithin;
}

bool Driver::has_order(Order order) const {
  for (std::size_t i = 0; i < places_.size(); ++i)
    if (board_.seats[i].order.load(std::memory_order_relaxed) == order) return true;
  return false;
}

std::optional<std::uint32_t> Driver::give_order(Order order) {
  const auto i = random_.below(static_cast<std::uint32_t>(places_.size()));
  Seat& seat = board_.seats[i];
  if (!works(i) || places_[i].stopped || seat.order.load() != Order::kNone || has_order(order))
    return std::nullopt;
  seat.order_life.store(++lives_);
  // release: pairs with the acquire of the peer.
  seat.order.store(order, std::memory_order_release);
  return i;
}

ChaosCounts Driver::done() const {
  const auto orders = [&](Order order) {
    std::uint64_t n = 0;
    for (std::size_t i = 0; i < places_.size(); ++i)
      n += board_.seats[i].done[static_cast<std::size_t>(order)].load();
    return n;
  };
  return {.kills = kills_,
          .stops = stops_,
          .deletes = orders(Order::kRecreate),
          .execs = orders(Order::kExec),
          .closes = orders(Order::kClose),
          .boot_ids = boot_ids_};
}

bool Driver::all_done() const {
  const ChaosCounts is = done();
  const ChaosCounts& wanted = options_.chaos.wanted;
  for (const ChaosAction& action : kChaosActions)
    if (is.*action.count < wanted.*action.count) return false;
  return true;
}

// One action, or nothing when its moment is bad.
void Driver::act() {
  const ChaosCounts is = done();
  const ChaosCounts& wanted = options_.chaos.wanted;
  const auto left = [&](const ChaosAction& action) {
    return wanted.*action.count - std::min(is.*action.count, wanted.*action.count);
  };
  std::uint64_t sum = 0;
  for (const ChaosAction& action : kChaosActions) sum += left(action);
  if (sum == 0) return;
  std::uint64_t at = random_.next() % sum;
  const ChaosAction* chosen = kChaosActions;
  for (; at >= left(*chosen); ++chosen) at -= left(*chosen);
  const auto count = chosen->count;

  if (count == &ChaosCounts::stops) {
    if (stop_the_daemon(options_.chaos.most_stop_ms)) ++stops_;
  } else if (count == &ChaosCounts::deletes) {
    give_order(Order::kRecreate);
  } else if (count == &ChaosCounts::execs) {
    give_order(Order::kExec);
  } else if (count == &ChaosCounts::closes) {
    close_while_away();
  } else if (count == &ChaosCounts::boot_ids) {
    if (kill_the_daemon(true)) ++boot_ids_;
  } else if (options_.chaos.kill_daemon && random_.below(kDaemonKillOneIn) == 0) {
    if (kill_the_daemon(false)) ++kills_, ++daemon_kills_;
  } else if (kill_a_peer()) {
    ++kills_;
    stop_some();
  }
}

// Not only after a kill: when all kills are done, other actions still need the stopped peers.
void Driver::continue_some() {
  for (Place& p : places_)
    if (p.stopped && random_.below(10) == 0) {
      ::kill(p.pid, SIGCONT);
      p.stopped = false;
    }
}

// From time to time a peer is stopped while others are killed. Some stopped peers are killed.
void Driver::stop_some() {
  const auto i = random_.below(static_cast<std::uint32_t>(places_.size()));
  if (random_.below(8) != 0 || !works(i)) return;
  ::kill(places_[i].pid, SIGSTOP);
  places_[i].stopped = true;
}

void Driver::show(bool last) {
  const auto now = Clock::now();
  if (options_.quiet || (!last && now - shown_ < milliseconds(1000))) return;
  const double since = std::max(std::chrono::duration<double>(now - shown_).count(), 1e-3);
  std::FILE* const out = options_.chaos.json ? stderr : stdout;
  std::fprintf(
      out,
      "chaos %4.0f s  %llu kills, %llu of the daemon  %llu stops  %.0f kills/s  %llu operations  "
      "%llu findings\n",
      seconds(), static_cast<unsigned long long>(kills_),
      static_cast<unsigned long long>(daemon_kills_), static_cast<unsigned long long>(stops_),
      static_cast<double>(kills_ - shown_kills_) / since,
      static_cast<unsigned long long>(operations()),
      static_cast<unsigned long long>(board_.doubled.load()) + board_.damaged.load());
  std::fflush(out);
  shown_ = now;
  shown_kills_ = kills_;
}

void Driver::run() {
  daemon_.start();
  for (std::uint32_t i = 0; i < places_.size(); ++i) seat(i);
  const double seconds_wanted = options_.chaos.seconds;
  while (!all_done() && !interrupted() && (seconds_wanted == 0 || seconds() < seconds_wanted)) {
    look_after_children();
    show(false);
    if (daemon_.started() && !daemon_stopped_ && attached() == attached_at_start_ &&
        Clock::now() - daemon_up_ > kDaemonServesWithin) {
      board_.found(board_.damaged, "no peer could attach within 20 s of the daemon's start");
      std::fprintf(stderr, "the end of the daemon's log:\n%s\n", daemon_.log_tail().c_str());
      return;
    }
    std::this_thread::sleep_for(microseconds(random_.below(kMostBetweenKillsUs)));
    act();
    continue_some();
  }
  show(true);
}

void Driver::calm() {
  if (std::exchange(daemon_stopped_, false)) daemon_.resume();
  if (!daemon_.started()) daemon_.start();
  for (Place& p : places_) {
    if (p.pid > 0) ::kill(p.pid, SIGCONT);
    p.stopped = false;
  }
}

void Driver::settle() {
  board_.stop.store(1);
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
                     "the peer in seat " + std::to_string(i) + " did not end within 60 s");
        killed = true;
        break;
      }
      std::this_thread::sleep_for(milliseconds(2));
    }
    if (p.pid > 0) end_of(i, status, killed);
  }
}

}  // namespace arenad::load::chaos
