// ControlThread: the thread on which the whole control plane runs.
//
// Purpose: runs what others post, starts sequences (task.h), lets them sleep, and ends.
// Invariants: a call is answered exactly once, also when the thread has ended: then the caller's
// own thread refuses it. stop() lets the operations end that other threads have under way for the
// control thread (broadcasts, censuses). After 2 s it gives up: the loops of the shards ended too
// early then.
// Threads: post, call and end_operation by any thread. start, stop and destroy_sequences by the
// owner's thread. All others on the control thread.
// Crash: private memory of the daemon.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <utility>

#include "server/core/api/api.h"
#include "server/core/control/later.h"
#include "server/core/control/task.h"

namespace boost::asio {
class io_context;
}

namespace arenad::server {

class ControlThread {
 public:
  ControlThread();
  ~ControlThread();
  ControlThread(const ControlThread&) = delete;
  ControlThread& operator=(const ControlThread&) = delete;

  // For sockets and timers of the control plane.
  boost::asio::io_context& io() { return *io_; }

  void start();
  // Runs `last_words` on the thread; from then on every call is refused and no sleeper wakes. Waits
  // for open operations, then ends the thread. Idempotent.
  void stop(std::function<void()> last_words);
  bool stopping() const { return stopping_; }
  // Destroys the sequences that still wait. After stop(), while the objects exist that the
  // sequences belong to.
  void destroy_sequences() { sequences_.destroy_all(); }

  // Runs `f` on the control thread. After the end of the thread `f` may never run. The queue has a
  // mutex, which is held for a few instructions.
  void post(std::function<void()> f);

  // Runs `f` on the control thread and gives what it returns (an Answer<T>, or a Task that ends
  // with one) to `done` there. Refuses with kDraining once the thread is stopping.
  template <class T, class F>
  void call(Done<T> done, F f) {
    post_call([this, done = std::move(done), f = std::move(f)]() mutable {
      if (stopping_) return done(Failure{Error::kDraining, error_advice(Error::kDraining)});
      if constexpr (std::is_same_v<std::invoke_result_t<F&>, Task<Answer<T>>>) {
        run(give(f(), std::move(done)));
      } else {
        done(f());
      }
    });
  }

  // Starts a sequence that nobody waits for.
  void run(Task<> sequence) { sequences_.start(std::move(sequence)); }
  Later<Nothing> sleep(std::chrono::nanoseconds time);

  // Something that another thread does for the control thread. begin_operation() here, then
  // end_operation() on any thread: it gives the value here. stop() waits in between.
  template <class T>
  Later<T> begin_operation() {
    ++open_operations_;
    return Later<T>();
  }
  template <class T>
  void end_operation(const Later<T>& outcome, T value) {
    post([this, outcome, value = std::move(value)]() mutable {
      outcome.set(std::move(value));
      operation_ended();
    });
  }

 private:
  template <class T>
  static Task<> give(Task<Answer<T>> task, Done<T> done) {
    Answer<T> answer = co_await task;
    done(std::move(answer));
  }
  void post_call(std::function<void()> f);
  void operation_ended();
  void run_late();

  struct Stopper;  // the timer of stop() and what keeps the thread waiting for work

  const std::unique_ptr<boost::asio::io_context> io_;
  const std::unique_ptr<Stopper> stopper_;
  Sequences sequences_;
  std::uint32_t open_operations_ = 0;
  bool stopping_ = false;
  // Set when the thread has ended, before run_late. Partner: the load in post_call, which comes
  // after the push. Both sides take the queue's mutex in between, so either the caller sees the
  // flag, or stop() sees the call.
  std::atomic<bool> ended_{false};
  std::mutex late_;  // held by whoever runs the queue after the thread
  std::thread thread_;
};

}  // namespace arenad::server
