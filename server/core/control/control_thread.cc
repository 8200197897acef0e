#include "server/core/control/control_thread.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

namespace arenad::server {
namespace asio = boost::asio;
namespace {

constexpr auto kStopWithin = std::chrono::seconds(2);

}  // namespace

struct ControlThread::Stopper {
  explicit Stopper(asio::io_context& io) : work(io.get_executor()), timer(io) {}
  asio::executor_work_guard<asio::io_context::executor_type> work;
  asio::steady_timer timer;
};

ControlThread::ControlThread()
    : io_(std::make_unique<asio::io_context>(1)), stopper_(std::make_unique<Stopper>(*io_)) {}

ControlThread::~ControlThread() {
  stop([] {});
}

void ControlThread::start() {
  thread_ = std::thread([this] { io_->run(); });
}

void ControlThread::stop(std::function<void()> last_words) {
  if (!thread_.joinable()) return;
  post([this, last_words = std::move(last_words)] {
    stopping_ = true;
    last_words();
    if (open_operations_ == 0) return io_->stop();
    stopper_->timer.expires_after(kStopWithin);
    stopper_->timer.async_wait([this](const boost::system::error_code& error) {
      if (!error) io_->stop();
    });
  });
  thread_.join();
  ended_.store(true, std::memory_order_release);
  run_late();
}

void ControlThread::post(std::function<void()> f) { asio::post(*io_, std::move(f)); }

void ControlThread::post_call(std::function<void()> f) {
  post(std::move(f));
  if (ended_.load(std::memory_order_acquire)) [[unlikely]]
    run_late();
}

void ControlThread::run_late() {
  const std::lock_guard lock(late_);
  io_->restart();
  io_->poll();
}

void ControlThread::operation_ended() {
  --open_operations_;
  if (stopping_ && open_operations_ == 0) io_->stop();
}

Later<Nothing> ControlThread::sleep(std::chrono::nanoseconds time) {
  Later<Nothing> over;
  const auto timer = std::make_shared<asio::steady_timer>(*io_, time);
  timer->async_wait([this, over, timer](const boost::system::error_code& error) {
    if (!error && !stopping_) over.set({});
  });
  return over;
}

}  // namespace arenad::server
