// Daemon: an engine with driven shards in a directory of its own, and calls that wait for their
// answers.
//
// Purpose: tests of server/core, in one process and without gRPC.
// Threads: calls may come from any thread. A call blocks until the engine has answered; a call that
// is never answered fails the test.
// Crash: a test's.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/core/thread_loop.h"
#include "tests/support/eventually.h"
#include "tests/support/sizes.h"
#include "tests/support/temporary_directory.h"

namespace arenad::server {

using test::eventually;
using test::TemporaryDirectory;

// What was promised. A promise that is not kept fails the test instead of hanging it.
template <class T>
Answer<T> answer_of(std::future<Answer<T>> future) {
  if (future.wait_for(test::kDeadline) == std::future_status::ready) return future.get();
  ADD_FAILURE() << "a call was not answered";
  return Failure{Error::kInternal, "a call was not answered"};
}

// What a call with a Done answers, waited for.
template <class T>
Answer<T> wait_for(const std::function<void(Done<T>)>& start) {
  auto promise = std::make_shared<std::promise<Answer<T>>>();
  auto future = promise->get_future();
  start([promise](Answer<T> answer) { promise->set_value(std::move(answer)); });
  return answer_of(std::move(future));
}

class Daemon {
 public:
  // Unless the options say otherwise, a session without a KeepAlive stream lives as long as the
  // test: a busy machine may take its time between two calls.
  explicit Daemon(std::uint32_t shards = 2, EngineOptions options = {}) {
    options.tunables.insert(options.tunables.begin(), {"keepalive_grace_ms", "600000"});
    std::string path = (std::filesystem::temp_directory_path() / "arenad-core-XXXXXX").string();
    directory_ = ::mkdtemp(path.data());
    // As a daemon's directory: clients of other users may look up the socket.
    std::filesystem::permissions(directory_, std::filesystem::perms(0755));
    options.shards = shards;
    options.directory = directory_;
    auto started = Engine::start(std::move(options));
    if (!started.ok()) {
      ADD_FAILURE() << started.error().message;
      std::abort();
    }
    engine_ = std::move(*started);
    for (std::uint32_t i = 0; i < shards; ++i)
      loops_.push_back(
          std::make_unique<ThreadLoop>(*engine_, ShardId{static_cast<std::uint16_t>(i)}));
  }
  ~Daemon() {
    engine_->stop();
    loops_.clear();
    engine_.reset();
    std::filesystem::remove_all(directory_);
  }

  Engine& engine() { return *engine_; }
  ControlApi& control() { return engine_->control(); }
  ThreadLoop& loop(std::uint32_t shard) { return *loops_[shard]; }
  const std::string& directory() const { return directory_; }

  Answer<ArenaFacts> create(const std::string& name, std::uint64_t capacity,
                            bool holder_only = false, DebugFlags debug = {}) {
    CreateArenaArgs args;
    args.name = name;
    args.capacity_bytes = capacity;
    args.holder_only = holder_only;
    args.debug = debug;
    return create(args);
  }
  Answer<ArenaFacts> create(CreateArenaArgs args) {
    return wait_for<ArenaFacts>(
        [&](auto done) { control().create_arena(daemon_itself(), args, done); });
  }
  Answer<ArenaFacts> arena(const std::string& name) {
    return wait_for<ArenaFacts>(
        [&](auto done) { control().get_arena(daemon_itself(), name, done); });
  }
  // No arena has it. Ids begin at a random place.
  ArenaId absent_id() {
    const auto all = wait_for<Page<ArenaFacts>>(
        [&](auto done) { control().list_arenas(daemon_itself(), 0, "", done); });
    const auto has_id = [&](ArenaId id) {
      return std::ranges::any_of(all->items,
                                 [&](const ArenaFacts& arena) { return arena.id == id; });
    };
    ArenaId id{1};
    while (has_id(id)) ++id.value;
    return id;
  }
  Answer<Nothing> remove(const std::string& name, bool force = false) {
    return wait_for<Nothing>(
        [&](auto done) { control().delete_arena(daemon_itself(), name, force, done); });
  }
  Answer<OpenedSession> open(const std::string& name = "test", std::uint64_t limit_bytes = 0,
                             const Caller& owner = daemon_itself(),
                             std::uint64_t reserve_bytes = 0) {
    return wait_for<OpenedSession>([&](auto done) {
      control().open_session(
          owner, {.name = name, .limit_bytes = limit_bytes, .reserve_bytes = reserve_bytes}, done);
    });
  }
  // Opens a session that lives until it is closed: a KeepAlive stream stands behind it.
  SessionKey open_kept(const std::string& name = "test", std::uint64_t limit_bytes = 0) {
    const auto opened = open(name, limit_bytes);
    EXPECT_TRUE(opened.ok()) << opened.error().message;
    EXPECT_TRUE(keep(opened->key, next_stream_++).ok());
    return opened->key;
  }
  Answer<Nothing> keep(
      SessionKey key, std::uint64_t stream, OnSessionEvent on_event = [](const SessionEvent&) {}) {
    return wait_for<Nothing>([&](auto done) {
      control().keepalive_opened(daemon_itself(), key, stream, on_event, done);
    });
  }
  Answer<AttachedArena> attach(SessionKey key, const std::string& arena,
                               AttachMode mode = AttachMode::kRemote) {
    return wait_for<AttachedArena>(
        [&](auto done) { control().attach_arena(key, arena, mode, done); });
  }
  SessionKey open_attached(const std::string& arena, const std::string& name = "test",
                           AttachMode mode = AttachMode::kRemote, std::uint64_t limit_bytes = 0) {
    const SessionKey key = open_kept(name, limit_bytes);
    const auto attached = attach(key, arena, mode);
    EXPECT_TRUE(attached.ok()) << attached.error().message;
    return key;
  }
  Answer<GivenBack> detach(SessionKey key, ArenaId arena, LeaseEpoch epoch = {},
                           bool give_up_blocks = false) {
    return wait_for<GivenBack>(
        [&](auto done) { control().detach_arena(key, arena, epoch, give_up_blocks, done); });
  }
  Answer<GivenBack> close(SessionKey key) {
    return wait_for<GivenBack>([&](auto done) { control().close_session(key, done); });
  }
  Answer<AuditResult> audit(const std::string& arena = "") {
    return wait_for<AuditResult>([&](auto done) { control().audit(daemon_itself(), arena, done); });
  }
  Answer<DaemonStats> stats(const std::string& arena = "") {
    return wait_for<DaemonStats>(
        [&](auto done) { control().get_stats(daemon_itself(), arena, done); });
  }
  std::vector<SessionFacts> sessions() {
    auto page = wait_for<Page<SessionFacts>>(
        [&](auto done) { control().list_sessions(daemon_itself(), 0, "", done); });
    EXPECT_TRUE(page.ok());
    return page->items;
  }

  // Data plane, on a shard's thread.
  std::future<Answer<AllocatedBlocks>> allocate_later(std::uint32_t shard, AllocateArgs args) {
    auto promise = std::make_shared<std::promise<Answer<AllocatedBlocks>>>();
    auto future = promise->get_future();
    ShardApi& api = loop(shard).shard();
    api.post([&api, args = std::move(args), promise] {
      api.allocate(args, [promise](Answer<AllocatedBlocks> answer) {
        promise->set_value(std::move(answer));
      });
    });
    return future;
  }
  Answer<AllocatedBlocks> allocate(std::uint32_t shard, SessionKey key, ArenaId arena,
                                   std::uint64_t size, std::uint32_t count = 1,
                                   std::uint32_t wait_ms = 0) {
    AllocateArgs args;
    args.session = key;
    args.arena_id = arena;
    args.size_bytes = size;
    args.count = count;
    args.wait_ms = wait_ms;
    return answer_of(allocate_later(shard, std::move(args)));
  }
  Answer<PerRefAnswer> free(std::uint32_t shard, SessionKey key, ArenaId arena,
                            std::vector<std::uint64_t> refs, FreeScope scope = FreeScope::kAll) {
    return loop(shard).run([=](ShardApi& api) { return api.free(key, arena, refs, scope); });
  }
  Answer<PerRefAnswer> acquire(std::uint32_t shard, SessionKey key, ArenaId arena,
                               std::vector<std::uint64_t> refs, std::uint32_t tag = 0) {
    return loop(shard).run([=](ShardApi& api) { return api.acquire(key, arena, refs, tag); });
  }
  Answer<PerRefAnswer> share(std::uint32_t shard, SessionKey key, ArenaId arena,
                             std::vector<std::uint64_t> refs) {
    return loop(shard).run([=](ShardApi& api) { return api.share(key, arena, refs); });
  }
  Answer<PerRefAnswer> release(std::uint32_t shard, SessionKey key, ArenaId arena,
                               std::vector<std::uint64_t> refs) {
    return loop(shard).run([=](ShardApi& api) { return api.release(key, arena, refs); });
  }
  // Peers.
  Answer<HeapId> open_heap(std::uint32_t shard, SessionKey key, ArenaId arena,
                           LeaseEpoch epoch = {}) {
    return loop(shard).run([=](ShardApi& api) { return api.open_heap({key, arena, epoch}); });
  }
  std::future<Answer<LeasedSlabs>> lease_later(std::uint32_t shard, LeaseArgs args) {
    auto promise = std::make_shared<std::promise<Answer<LeasedSlabs>>>();
    auto future = promise->get_future();
    ShardApi& api = loop(shard).shard();
    api.post([&api, args, promise] {
      api.lease_slabs(
          args, [promise](Answer<LeasedSlabs> answer) { promise->set_value(std::move(answer)); });
    });
    return future;
  }
  Answer<LeasedSlabs> lease(std::uint32_t shard, LeaseArgs args) {
    return answer_of(lease_later(shard, args));
  }
  Answer<ReturnedSlabs> give_back(std::uint32_t shard, SessionKey key, ArenaId arena,
                                  std::vector<SlabIndex> slabs, LeaseEpoch epoch = {}) {
    return loop(shard).run([=](ShardApi& api) {
      return api.return_slabs({key, arena, epoch}, slabs);
    });
  }
  Answer<ResumedLeases> resume(std::uint32_t shard, const LeaseCaller& caller,
                               const ResumeArgs& known) {
    return loop(shard).run([=](ShardApi& api) { return api.resume(caller, known); });
  }
  Answer<std::vector<BlockFacts>> describe(std::uint32_t shard, SessionKey key, ArenaId arena,
                                           std::vector<std::uint64_t> refs) {
    return loop(shard).run([=](ShardApi& api) { return api.describe(key, arena, refs); });
  }

 private:
  std::string directory_;
  std::unique_ptr<Engine> engine_;
  std::vector<std::unique_ptr<ThreadLoop>> loops_;
  std::uint64_t next_stream_ = 1'000'000;
};

inline std::vector<std::uint64_t> refs_of(const AllocatedBlocks& blocks) {
  std::vector<std::uint64_t> refs;
  for (const Allocation& block : blocks.blocks) refs.push_back(block.ref.value);
  return refs;
}

// An audit that must be exact, with this many blocks held in all arenas.
inline void expect_exact(Daemon& daemon, std::uint64_t held) {
  const auto audit = daemon.audit();
  ASSERT_TRUE(audit.ok()) << audit.error().message;
  std::uint64_t found = 0;
  for (const AuditedArena& a : audit->arenas) {
    found += a.report.held + a.report.shared;
    for (const std::string& finding : a.report.findings) ADD_FAILURE() << finding;
  }
  EXPECT_TRUE(audit->exact);
  EXPECT_EQ(audit->p0_counter_mismatch, 0u);
  EXPECT_EQ(found, held);
}

}  // namespace arenad::server
