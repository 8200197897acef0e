// Task: a sequence of steps of the control thread that reads from top to bottom.
//
// Purpose: what takes several steps with waiting between them (a broadcast to all shards, a census,
// a pause) is one function. Such a function returns a Task and waits with co_await.
// Invariants: a Task runs only while somebody waits for it, or after Sequences::start. Parameters
// of a Task are values, or references to what outlives it. A Task is named before co_await; a
// temporary does not compile, for the reason in later.h. Nothing is thrown: errors are values.
// Threads: the control thread.
// Crash: private memory of the daemon.
#pragma once

#include <coroutine>
#include <cstddef>
#include <exception>
#include <optional>
#include <set>
#include <utility>

namespace arenad::server {

template <class T = void>
class Task;

namespace detail {

// Resumes whoever waits for the task that has just ended.
struct EndOfTask {
  static bool await_ready() noexcept { return false; }
  template <class Promise>
  static std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> ended) noexcept {
    return ended.promise().waiting;
  }
  static void await_resume() noexcept {}
};

struct TaskPromiseBase {
  std::coroutine_handle<> waiting = std::noop_coroutine();
  static std::suspend_always initial_suspend() noexcept { return {}; }
  static EndOfTask final_suspend() noexcept { return {}; }
  [[noreturn]] static void unhandled_exception() noexcept { std::terminate(); }
};

template <class T>
struct TaskPromise : TaskPromiseBase {
  std::optional<T> value;
  Task<T> get_return_object();
  template <class U>
  void return_value(U&& result) {
    value.emplace(std::forward<U>(result));
  }
  T take() { return std::move(*value); }
};

template <>
struct TaskPromise<void> : TaskPromiseBase {
  Task<void> get_return_object();
  static void return_void() {}
  static void take() {}
};

}  // namespace detail

template <class T>
class [[nodiscard]] Task {
 public:
  using promise_type = detail::TaskPromise<T>;
  using Handle = std::coroutine_handle<promise_type>;

  explicit Task(Handle handle) : handle_(handle) {}
  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Task& operator=(Task&&) = delete;
  ~Task() {
    if (handle_) handle_.destroy();
  }

  class Awaiter {
   public:
    explicit Awaiter(Handle task) : task_(task) {}
    static bool await_ready() noexcept { return false; }
    std::coroutine_handle<> await_suspend(std::coroutine_handle<> waiting) const noexcept {
      task_.promise().waiting = waiting;
      return task_;
    }
    T await_resume() const { return task_.promise().take(); }

   private:
    Handle task_;
  };
  Awaiter operator co_await() & { return Awaiter(handle_); }
  void operator co_await() && = delete;  // name it first, see above

 private:
  Handle handle_;
};

template <class T>
Task<T> detail::TaskPromise<T>::get_return_object() {
  return Task<T>(std::coroutine_handle<TaskPromise>::from_promise(*this));
}
inline Task<void> detail::TaskPromise<void>::get_return_object() {
  return Task<void>(std::coroutine_handle<TaskPromise>::from_promise(*this));
}

// The sequences that were started and have not ended. It owns them: destroying it destroys those
// that still wait, and what they hold.
class Sequences {
 public:
  Sequences() = default;
  Sequences(const Sequences&) = delete;
  Sequences& operator=(const Sequences&) = delete;
  ~Sequences() { destroy_all(); }

  // Runs the sequence until it waits for the first time, and later on by itself.
  void start(Task<> task) { run(*this, std::move(task)); }
  // Nobody may set a Later that one of them waits for afterwards.
  void destroy_all() {
    while (!running_.empty()) std::coroutine_handle<>::from_address(*running_.begin()).destroy();
  }
  std::size_t size() const { return running_.size(); }

 private:
  struct Root {
    struct promise_type {
      explicit promise_type(Sequences& owner, Task<>&) : sequences(owner) {
        sequences.running_.insert(address());
      }
      ~promise_type() { sequences.running_.erase(address()); }
      void* address() { return std::coroutine_handle<promise_type>::from_promise(*this).address(); }
      static Root get_return_object() { return {}; }
      static std::suspend_never initial_suspend() noexcept { return {}; }
      static std::suspend_never final_suspend() noexcept { return {}; }
      static void return_void() {}
      [[noreturn]] static void unhandled_exception() noexcept { std::terminate(); }
      Sequences& sequences;
    };
  };
  static Root run(Sequences&, Task<> task) { co_await task; }

  std::set<void*> running_;
};

}  // namespace arenad::server
