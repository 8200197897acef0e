#include "server/core/control/liveness.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <map>
#include <utility>
#include <vector>

namespace arenad::server {
namespace asio = boost::asio;
namespace {
using Clock = std::chrono::steady_clock;

constexpr auto kAskEvery = std::chrono::milliseconds(250);
constexpr auto kBeat = std::chrono::milliseconds(250);  // while somebody has a grace
// A beat that is late by as much says that the daemon stood still. What a long grace loses by a
// short standstill does not matter, and a busy machine has many of those.
constexpr auto kShortStandstill = kBeat;
constexpr auto kLongStandstill = std::chrono::milliseconds(1000);
constexpr std::uint64_t kLongGraceMs = 4000;
// Of one session. They mostly are one process that cannot be told from another, and each takes a
// descriptor of the daemon's.
constexpr std::size_t kMostProcesses = 16;
}  // namespace

struct Liveness::Impl {
  struct Watch {
    explicit Watch(asio::io_context& io) : grace(io), question(io) {}
    bool has_grace() const { return grace.expiry() != Clock::time_point::max(); }
    asio::steady_timer grace;
    Clock::time_point grace_since{};
    asio::steady_timer question;
    // Ends the waits, whose handlers keep the descriptors.
    void close_processes() {
      boost::system::error_code ignored;
      for (const auto& process : processes) process->close(ignored);
      processes.clear();
    }
    std::vector<std::shared_ptr<asio::posix::stream_descriptor>> processes;  // that live: pidfds
  };

  // A handler that was ready when its watch was forgotten still runs. It must not act on the watch
  // of another session.
  bool current(SessionId session, const std::shared_ptr<Watch>& watch) const {
    const auto found = watches.find(session);
    return found != watches.end() && found->second == watch;
  }
  const std::shared_ptr<Watch>& of(SessionId session) {
    auto& watch = watches[session];
    if (watch == nullptr) watch = std::make_shared<Watch>(io);
    return watch;
  }

  void beat() {
    if (beating) return;
    beating = true;
    heart.expires_after(kBeat);
    heart.async_wait([this](const boost::system::error_code& stopped) {
      if (stopped) return;
      notice_standstill();
      beating = false;
      for (const auto& [session, watch] : watches)
        if (watch->has_grace()) return beat();
    });
  }
  void notice_standstill() {
    if (!beating) return;
    const auto now = Clock::now();
    const auto late = now - heart.expiry();
    if (late > kShortStandstill) short_standstill_end = now;
    if (late > kLongStandstill) long_standstill_end = now;
  }

  asio::io_context& io;
  OnLoss on_loss;
  std::map<SessionId, std::shared_ptr<Watch>> watches;
  asio::steady_timer heart;
  bool beating = false;
  Clock::time_point short_standstill_end{}, long_standstill_end{};
};

Liveness::Liveness(asio::io_context& io, OnLoss on_loss)
    : impl_(new Impl{io, std::move(on_loss), {}, asio::steady_timer(io)}) {}
Liveness::~Liveness() { forget_all(); }

void Liveness::start_grace(SessionId session, std::uint64_t grace_ms) {
  const auto watch = impl_->of(session);
  watch->grace_since = Clock::now();
  watch->grace.expires_after(std::chrono::milliseconds(grace_ms));
  impl_->beat();
  watch->grace.async_wait([this, impl = impl_.get(), session, watch,
                           grace_ms](const boost::system::error_code& stopped) {
    // stop_grace may have come when this handler was ready already. It moves the expiry away.
    if (stopped || !impl->current(session, watch)) return;
    if (watch->grace.expiry() > Clock::now()) return;
    impl->notice_standstill();
    const auto stood_still_until =
        grace_ms < kLongGraceMs ? impl->short_standstill_end : impl->long_standstill_end;
    if (stood_still_until > watch->grace_since) return start_grace(session, grace_ms);
    impl->on_loss(session, Loss::kGraceOver);
  });
}

void Liveness::stop_grace(SessionId session) {
  const auto found = impl_->watches.find(session);
  if (found != impl_->watches.end()) found->second->grace.expires_at(Clock::time_point::max());
}

void Liveness::watch(SessionId session, UniqueFd pidfd) {
  stop_grace(session);
  const auto watch = impl_->of(session);
  watch->question.expires_at(asio::steady_timer::time_point::max());
  watch->close_processes();
  watch_also(session, std::move(pidfd));
}

void Liveness::watch_also(SessionId session, UniqueFd pidfd) {
  const auto watch = impl_->of(session);
  if (watch->processes.size() == kMostProcesses) return;
  const auto process = std::make_shared<asio::posix::stream_descriptor>(impl_->io, pidfd.release());
  watch->processes.push_back(process);
  process->async_wait(
      asio::posix::descriptor_base::wait_read,
      [impl = impl_.get(), session, watch, process](const boost::system::error_code& stopped) {
        if (stopped || !impl->current(session, watch)) return;
        // Nothing is erased when the watch was replaced after this handler was ready.
        if (std::erase(watch->processes, process) != 0 && watch->processes.empty())
          impl->on_loss(session, Loss::kProcessDied);
      });
}

void Liveness::watch_by(SessionId session, std::function<bool()> gone) {
  stop_grace(session);
  const auto watch = impl_->of(session);
  watch->question.expires_after(kAskEvery);
  watch->question.async_wait([this, session, watch, gone = std::move(gone)](
                                 const boost::system::error_code& stopped) mutable {
    // As with the grace, watch() may have come when this handler was ready already.
    if (stopped || !impl_->current(session, watch) || watch->question.expiry() > Clock::now())
      return;
    if (gone()) return impl_->on_loss(session, Loss::kProcessDied);
    watch_by(session, std::move(gone));
  });
}

void Liveness::forget(SessionId session) {
  const auto found = impl_->watches.find(session);
  if (found == impl_->watches.end()) return;
  found->second->grace.cancel();
  found->second->question.cancel();
  found->second->close_processes();
  impl_->watches.erase(found);
}

void Liveness::forget_all() {
  while (!impl_->watches.empty()) forget(impl_->watches.begin()->first);
  impl_->heart.cancel();
  impl_->beating = false;
}

}  // namespace arenad::server
