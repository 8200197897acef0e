// The control thread itself: its loop, rounds over the shards, draining and stopping.
#include "server/core/control/control.h"

#include "server/core/api/clock.h"
#include "server/core/api/text.h"

namespace arenad::server {
namespace asio = boost::asio;
namespace {

// stop() waits this long for rounds that shards have not answered; only a driver that stopped its
// loops too early needs it.
constexpr auto kStopWithin = std::chrono::seconds(2);

}  // namespace

Control::Control(std::vector<std::unique_ptr<Shard>>& shards, SharedState& shared,
                 const Limits& limits, const std::string& handoff_path, StateDirectory state,
                 Log log)
    : io_(1),
      wake_event_(io_),
      shards_(shards),
      shared_(shared),
      log_(log ? std::move(log) : [](const std::string&) {}),
      state_(std::move(state)),
      arenas_(limits, state_),
      sessions_(limits),
      tunables_(shared.tunables),
      maintenance_(shared.tunables, log_),
      liveness_(io_,
                [this](SessionId session, Liveness::Loss loss) {
                  end_session(session,
                              loss == Liveness::Loss::kProcessDied ? EndCause::kProcessDied
                                                                   : EndCause::kGraceOver,
                              {});
                }),
      handoff_(io_, handoff_path, *this),
      started_ns_(now_ns()),
      drain_timer_(io_),
      stop_timer_(io_) {}

Control::~Control() { stop(); }

Answer<Nothing> Control::start() {
  // The handoff socket first: where another daemon answers, nothing is touched.
  if (auto opened = handoff_.open(); !opened.ok()) return opened.error();
  if (auto recovered = recover(); !recovered.ok()) return recovered.error();
  wake_event_.assign(::dup(waker_.fd()));
  inbox_.set_waker(&waker_);
  watch_inbox();
  maintenance_.start();
  census_.start();
  thread_ = std::thread([this] { io_.run(); });
  return Nothing{};
}

void Control::watch_inbox() {
  wake_event_.async_wait(asio::posix::descriptor_base::wait_read,
                         [this](const boost::system::error_code& stopped) {
                           if (stopped) return;
                           run_inbox();
                           watch_inbox();
                         });
}

void Control::run_inbox() {
  waker_.clear();
  inbox_.run();
}

void Control::visit_all(std::function<void(Shard&)> visit, std::function<void()> then) {
  round<Nothing>(
      [visit = std::move(visit)](Shard& shard) {
        visit(shard);
        return Nothing{};
      },
      [then = std::move(then)](std::vector<Nothing>) { then(); });
}

void Control::round_over() {
  --open_rounds_;
  if (stopping_ && open_rounds_ == 0) io_.stop();
}

void Control::begin_drain(std::function<void()> drained) {
  draining_.store(true, std::memory_order_release);
  inbox_.push([this, drained = std::move(drained)] {
    if (stopping_ || drained_) return;  // one drain; a second signal changes nothing
    drained_ = drained ? drained : [] {};
    // With a state directory nobody has to finish: who lives goes on with the next daemon.
    if (state_.is_open()) {
      log_(concat("draining: ", arenas_.all().size(), " arenas and ", sessions_.all().size(),
                  " sessions are kept for the next daemon"));
      return std::exchange(drained_, [] {})();
    }
    log_(concat("draining: ", sessions_.all().size(), " sessions are open"));
    for (auto& [id, session] : sessions_.all())
      for (auto& [stream, on_event] : session.keepalives) on_event({SessionEvent::Kind::kDraining});
    const auto within = std::chrono::milliseconds(
        shared_.tunables.drain_deadline_ms.load(std::memory_order_relaxed));
    drain_timer_.expires_after(within);
    drain_timer_.async_wait([this](const boost::system::error_code& stopped) {
      if (stopped || !drained_) return;
      log_(concat("drain deadline: ", sessions_.all().size(), " sessions are still open"));
      std::exchange(drained_, [] {})();
    });
    tell_drained_if_done();
  });
}

void Control::tell_drained_if_done() {
  if (!drained_ || !sessions_.all().empty()) return;
  drain_timer_.cancel();
  std::exchange(drained_, [] {})();
}

void Control::stop() {
  if (!thread_.joinable()) return;
  draining_.store(true, std::memory_order_release);
  inbox_.push([this] {
    stopping_ = true;
    handoff_.close();
    liveness_.forget_all();
    drain_timer_.cancel();
    stop_timer_.expires_after(kStopWithin);
    stop_timer_.async_wait([this](const boost::system::error_code& stopped) {
      if (!stopped) io_.stop();
    });
    visit_all([](Shard& shard) { shard.fail_parked(Error::kDraining); }, [] {});
  });
  thread_.join();
  maintenance_.stop();
  census_.stop();
  stopped_.store(true, std::memory_order_seq_cst);
  run_late();
}

// Calls that come when the thread has ended are refused, but each is answered.
void Control::run_late() {
  const std::lock_guard lock(late_);
  inbox_.run();
}

std::uint64_t Control::uptime_ms() const { return (now_ns() - started_ns_) / kNsPerMs; }

}  // namespace arenad::server
