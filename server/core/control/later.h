// Later: one value that the control thread gets later, and that one sequence waits for.
//
// Purpose: the end of everything asynchronous in control/: a broadcast to the shards, a census, a
// timer, the answers of peers. A sequence (task.h) writes
//
//     auto asked = shards.broadcast([](Shard& shard) { return shard.facts(kAllArenas); });
//     const std::vector<ShardFacts> facts = co_await asked;
//
// Invariants: the value is set once. At most one sequence waits. `co_await` takes a named Later; a
// temporary does not compile. Reason: g++ 12 copies temporaries of a co_await expression bit by
// bit, and so destroys their captures twice.
// Threads: the control thread. Copies share one value, and any thread may carry a copy.
// Crash: private memory of the daemon.
#pragma once

#include <coroutine>
#include <memory>
#include <optional>
#include <utility>

namespace arenad::server {

template <class T>
class Later {
  struct State;

 public:
  Later() : state_(std::make_shared<State>()) {}

  bool is_set() const { return state_->value.has_value(); }

  // Gives the value. The sequence that waits goes on inside this call.
  void set(T value) const {
    const std::shared_ptr<State> kept = state_;  // the sequence may drop the last other copy
    kept->value = std::move(value);
    if (const auto waiting = std::exchange(kept->waiting, nullptr)) waiting.resume();
  }

  class Awaiter {
   public:
    explicit Awaiter(const Later& later) : state_(later.state_.get()) {}
    bool await_ready() const noexcept { return state_->value.has_value(); }
    void await_suspend(std::coroutine_handle<> sequence) const noexcept {
      state_->waiting = sequence;
    }
    T await_resume() const { return std::move(*state_->value); }

   private:
    State* state_;
  };
  Awaiter operator co_await() const& { return Awaiter(*this); }
  void operator co_await() && = delete;  // name it first, see above

 private:
  struct State {
    std::optional<T> value;
    std::coroutine_handle<> waiting;
  };
  std::shared_ptr<State> state_;
};

}  // namespace arenad::server
