// ControlBench: the core of the control plane with driven shards and without an engine, for tests
// of one part.
//
// Purpose: a test makes the part that it is about, and nothing else of the control plane.
// Threads: one test thread. on_control and answer block until the control thread has done the work.
// Crash: a test's.
#pragma once

#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "server/core/api/clock.h"
#include "server/core/control/control_core.h"
#include "tests/core/thread_loop.h"

namespace arenad::server {

// What shards ask the control thread for, noted down.
class NotedLink final : public ControlLink {
 public:
  void need_memory(ArenaId, ShardId, std::uint64_t) override { ++memory; }
  void need_free_round(ArenaId, ShardId, std::uint64_t) override { ++free_rounds; }
  void memory_returned(ArenaId) override { ++returned; }
  void need_commit(std::shared_ptr<ArenaState>, ShardId, std::uint64_t, CommitNeed) override {
  }  // arenas of the bench commit at once
  void kick_maintenance(ArenaId) override {}
  std::atomic<int> memory{0}, free_rounds{0}, returned{0};
};

class ControlBench {
 public:
  explicit ControlBench(std::uint32_t shards = 2, const Limits& limits = {},
                        StateDirectory state = {})
      : shared_(limits.max_session_bytes) {
    shared_.control = &link;
    for (std::uint32_t i = 0; i < shards; ++i) {
      const ShardId id{static_cast<std::uint16_t>(i)};
      shards_.push_back(std::make_unique<Shard>(id, shards, shared_));
    }
    core_ = std::make_unique<ControlCore>(
        shards_, shared_, limits, std::move(state),
        [this](LogLevel level, const std::string& line) { note(level, line); });
  }
  ~ControlBench() {
    stop();
    core_->thread.destroy_sequences();
  }
  ControlBench(const ControlBench&) = delete;
  ControlBench& operator=(const ControlBench&) = delete;

  ControlCore& core() { return *core_; }
  SharedState& shared() { return shared_; }
  ThreadLoop& loop(std::size_t shard) { return *loops_[shard]; }

  // The shards' loops and the control thread run from here on. Parts are made before.
  void start() {
    for (const auto& shard : shards_)
      loops_.push_back(std::make_unique<ThreadLoop>(
          *shard, [s = shard.get()](Waker* waker) { s->set_waker(waker); }));
    core_->maintenance.start();
    core_->census.start();
    core_->thread.start();
  }
  // A test calls this before its parts end: sequences and shards may use them until then.
  void stop() {
    core_->thread.stop([] {});
    core_->maintenance.stop();
    core_->census.stop();
    loops_.clear();
  }

  // What `f` returns on the control thread.
  template <class F>
  auto on_control(F f) -> std::invoke_result_t<F&> {
    std::promise<std::invoke_result_t<F&>> promise;
    auto future = promise.get_future();
    core_->thread.post([&] {
      if constexpr (std::is_void_v<std::invoke_result_t<F&>>) {
        f();
        promise.set_value();
      } else {
        promise.set_value(f());
      }
    });
    return future.get();
  }

  // What the call answers, once it does. `f` returns an Answer<T> or a Task of one.
  template <class T, class F>
  std::future<Answer<T>> answer_later(F f) {
    const auto promise = std::make_shared<std::promise<Answer<T>>>();
    core_->thread.call<T>([promise](Answer<T> answer) { promise->set_value(std::move(answer)); },
                          std::move(f));
    return promise->get_future();
  }
  template <class T, class F>
  Answer<T> answer(F f) {
    return answer_later<T>(std::move(f)).get();
  }

  // An arena that every shard knows.
  ArenaId add_arena(const std::string& name, std::uint64_t capacity_bytes) {
    const std::shared_ptr<ArenaState> state = on_control([&] {
      CreateArenaArgs args;
      args.name = name;
      args.capacity_bytes = capacity_bytes;
      const auto made = core_->arenas.create(*daemon_itself(), args);
      EXPECT_TRUE(made.ok()) << made.error().message;
      return (*made)->state;
    });
    for (const auto& loop : loops_)
      loop->run([&](ShardApi& shard) {
        dynamic_cast<Shard&>(shard).add_arena(state);
        return 0;
      });
    return state->arena->id();
  }
  // A session that every shard knows.
  SessionKey add_session(const std::string& name, std::uint64_t limit_bytes = 0,
                         const Caller& owner = daemon_itself()) {
    const SessionKey key = on_control([&] {
      const SessionKey opened = (*core_->sessions.open(owner, name, now_ns()))->key;
      core_->open_account(opened.id, limit_bytes, *owner);
      return opened;
    });
    for (const auto& loop : loops_) {
      loop->run([&](ShardApi& shard) {
        dynamic_cast<Shard&>(shard).add_session(key.id, key.secret, owner->uid);
        return 0;
      });
    }
    return key;
  }
  void attach(SessionKey key, ArenaId arena, AttachMode mode = AttachMode::kRemote) {
    on_control([&] {
      ArenaRecord& record = *core_->arenas.find(arena);
      record.sessions.insert(key.id);
      core_->sessions.find(key.id)->attached[arena] = mode;
      Arena& memory = *record.state->arena;
      memory.ledger().set_attach_mode(key.id, static_cast<std::uint8_t>(mode));
      memory.mark_session(key.id, SessionEntry::kLive);
      if (mode == AttachMode::kPeer) record.state->counts_from_words = true;
    });
    for (const auto& loop : loops_) {
      loop->run([&](ShardApi& shard) {
        dynamic_cast<Shard&>(shard).attach(key.id, arena, mode);
        return 0;
      });
    }
  }
  // A block of the session's, from this shard.
  Answer<AllocatedBlocks> allocate(std::size_t shard, SessionKey key, ArenaId arena,
                                   std::uint64_t size_bytes, std::uint32_t count = 1) {
    return allocate_later(shard, key, arena, size_bytes, count).get();
  }
  std::future<Answer<AllocatedBlocks>> allocate_later(std::size_t shard, SessionKey key,
                                                      ArenaId arena, std::uint64_t size_bytes,
                                                      std::uint32_t count = 1) {
    AllocateArgs args;
    args.session = key;
    args.arena_id = arena;
    args.size_bytes = size_bytes;
    args.count = count;
    const auto promise = std::make_shared<std::promise<Answer<AllocatedBlocks>>>();
    ShardApi& api = loop(shard).shard();
    api.post([&api, args, promise] {
      api.allocate(args, [promise](Answer<AllocatedBlocks> answer) {
        promise->set_value(std::move(answer));
      });
    });
    return promise->get_future();
  }

  // What `f` returns on the shard's thread.
  template <class F>
  auto on_shard(std::size_t index, F f) {
    return loop(index).run([&f](ShardApi& shard) { return f(dynamic_cast<Shard&>(shard)); });
  }

  // The lines of at least this level.
  std::vector<std::string> log_lines(LogLevel level = LogLevel::kInfo) {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> found;
    for (const auto& [level_of_line, line] : lines_)
      if (level_of_line >= level) found.push_back(line);
    return found;
  }

  NotedLink link;

 private:
  void note(LogLevel level, const std::string& line) {
    const std::lock_guard lock(mutex_);
    lines_.emplace_back(level, line);
  }

  SharedState shared_;
  ShardGroup::Shards shards_;
  std::mutex mutex_;
  std::vector<std::pair<LogLevel, std::string>> lines_;
  std::unique_ptr<ControlCore> core_;
  std::vector<std::unique_ptr<ThreadLoop>> loops_;
};

}  // namespace arenad::server
