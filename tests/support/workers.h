// Workers: the threads of a test that works from several.
//
// Purpose: a failed assertion ends its test, in whichever thread it fails. With plain threads it
// hangs the test (others wait for the thread that returned) or ends the program (std::thread is
// destroyed while it runs).
// Invariants: after stop(), a failed assertion or an exception in any thread of the test, every
// go_on() and wait_until() of every thread answers false. No thread outlives the destructor. An
// exception in a body is a failure of the test.
// Threads: start() and join() by one thread at a time; everything else by any.
// Crash: a test's.
//
//   Workers workers;
//   workers.start([&] {
//     while (workers.go_on()) ASSERT_TRUE(step());   // a failure stops all others
//   });
//   workers.start([&] {
//     if (!workers.wait_until([&] { return steps > 100; })) return;
//     ...
//   });
//   ...                    // an ASSERT here ends the workers too
//   workers.join();
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

#include "tests/support/eventually.h"

namespace arenad::test {

class Workers {
 public:
  Workers();
  ~Workers();  // stop() and join()
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  // Runs `body` in a thread of its own.
  void start(std::function<void()> body);
  // False when the work is to end.
  bool go_on() const {
    return !stop_.load(std::memory_order_acquire) && failures() == failures_before_;
  }
  // Asks all threads to end.
  void stop() { stop_.store(true, std::memory_order_release); }
  // Waits until every body has returned. Bodies that run until go_on() is false need stop() first.
  void join();

  // Waits until `condition` holds. False when the work is to end before. The deadline is a failure.
  bool wait_until(const std::function<bool()>& condition,
                  std::chrono::milliseconds deadline = kDeadline) const;

 private:
  // Failed assertions of this program so far.
  static std::uint64_t failures();

  std::atomic<bool> stop_{false};  // pairs with itself: stop() and go_on()
  std::uint64_t failures_before_;
  std::vector<std::thread> threads_;
};

// Runs `body` in a thread of its own and waits for its end.
void in_another_thread(std::function<void()> body);

// MeetingPoint: a barrier that lets go when the work ends, for example because one of those that
// were to come has failed.
//
// Threads: any. It can be used again and again.
class MeetingPoint {
 public:
  MeetingPoint(const Workers& workers, std::size_t count) : workers_(workers), count_(count) {}
  // Waits until `count` threads have come. False when the work is to end before.
  bool arrive_and_wait();

 private:
  const Workers& workers_;
  const std::size_t count_;
  std::atomic<std::size_t> arrived_{0};  // pairs with itself: each arrival and all that wait
};

}  // namespace arenad::test
