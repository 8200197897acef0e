// ShardGroup: all shards, as the control thread sees them.
//
// Purpose: broadcasts. A broadcast is a message to every shard; each shard answers, and then the
// control thread goes on. It is the only way in which the control thread changes what shards know.
// Invariants: broadcasts that start earlier reach every shard earlier. The control thread never
// blocks on a shard.
// Threads: the control thread; `visit` runs on each shard's thread.
// Crash: private memory of the daemon.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "server/core/control/control_thread.h"
#include "server/core/shard/shard.h"

namespace arenad::server {

class ShardGroup {
 public:
  using Shards = std::vector<std::unique_ptr<Shard>>;

  ShardGroup(ControlThread& thread, Shards& shards) : thread_(thread), shards_(shards) {}

  std::size_t size() const { return shards_.size(); }
  Shard& operator[](std::size_t index) const { return *shards_[index]; }

  // Starts a broadcast at once. The answers are what `visit` returned (Nothing where it returns
  // nothing), in the order of the shards.
  template <class Visit>
  auto broadcast(Visit visit) {
    using Returned = std::invoke_result_t<const Visit&, Shard&>;
    using Answer = std::conditional_t<std::is_void_v<Returned>, Nothing, Returned>;
    static_assert(!std::is_same_v<Answer, bool>, "shards would share the bytes of a vector<bool>");
    struct State {
      State(Visit v, std::size_t shards) : visit(std::move(v)), answers(shards), missing(shards) {}
      const Visit visit;
      std::vector<Answer> answers;
      std::atomic<std::size_t> missing;  // acq_rel with itself: the last shard sees all answers
    };
    auto answered = thread_.begin_operation<std::vector<Answer>>();
    const auto state = std::make_shared<State>(std::move(visit), shards_.size());
    for (std::size_t i = 0; i < shards_.size(); ++i) {
      Shard* const shard = shards_[i].get();
      shard->post([thread = &thread_, answered, state, shard, i] {
        [[maybe_unused]] Answer& answer = state->answers[i];
        if constexpr (std::is_void_v<Returned>) {
          state->visit(*shard);
        } else {
          answer = state->visit(*shard);
        }
        if (state->missing.fetch_sub(1, std::memory_order_acq_rel) == 1)
          thread->end_operation(answered, std::move(state->answers));
      });
    }
    return answered;
  }

  // One shard takes over runs that were leased to a dead session. The answer is what was adopted.
  Later<ReapResult> adopt(std::size_t index, std::shared_ptr<ArenaState> arena, SessionId dead,
                          PaidBy paid_by, std::vector<SlabIndex> runs) {
    auto adopted = thread_.begin_operation<ReapResult>();
    Shard* const shard = shards_[index].get();
    shard->post([thread = &thread_, adopted, shard, arena = std::move(arena), dead, paid_by,
                 runs = std::move(runs)]() mutable {
      shard->adopt(std::move(arena), dead, paid_by, std::move(runs),
                   [thread, adopted](const ReapResult& result) {
                     thread->end_operation(adopted, ReapResult(result));
                   });
    });
    return adopted;
  }

  // On one shard `to` pays from here on for what `from` pays for in `where`.
  Later<Nothing> pass_on(std::size_t index, std::shared_ptr<ArenaState> arena,
                         std::shared_ptr<const Footprint> where, SessionId from, SessionId to) {
    auto passed = thread_.begin_operation<Nothing>();
    Shard* const shard = shards_[index].get();
    shard->post([thread = &thread_, passed, shard, arena = std::move(arena),
                 where = std::move(where), from, to]() mutable {
      shard->pass_on(std::move(arena), std::move(where), from, to,
                     [thread, passed] { thread->end_operation(passed, Nothing{}); });
    });
    return passed;
  }

 private:
  ControlThread& thread_;
  Shards& shards_;
};

}  // namespace arenad::server
