// Audit: exact at any moment, while every shard works and sessions come and go.
#include <atomic>
#include <mutex>
#include <random>

#include "tests/core/client_process.h"
#include "tests/core/daemon.h"

namespace arenad::server {
namespace {

// Work that keeps itself going on one shard: allocates, and frees what any shard allocated, a bit
// each turn.
class Load {
 public:
  Load(Daemon& daemon, SessionKey key, ArenaId arena) : daemon_(daemon), key_(key), arena_(arena) {
    for (std::uint32_t i = 0; i < daemon.engine().shard_count(); ++i) {
      ++running_;
      start(i, std::make_shared<std::mt19937_64>(i + 1));
    }
  }
  ~Load() { EXPECT_TRUE(stop()); }
  bool stop() {
    stop_ = true;
    return eventually([this] { return running_ == 0; });
  }
  std::uint64_t turns() const { return turns_; }
  // What is left in the pool when the load stands: still held.
  std::vector<std::uint64_t> left() {
    const std::lock_guard lock(mutex_);
    return pool_;
  }

 private:
  void start(std::uint32_t shard, std::shared_ptr<std::mt19937_64> random) {
    ShardApi& api = daemon_.loop(shard).shard();
    api.post([this, shard, random, &api] {
      if (stop_) {
        --running_;
        return;
      }
      turn(api, *random);
      ++turns_;
      start(shard, random);
    });
  }
  void turn(ShardApi& api, std::mt19937_64& random) {
    AllocateArgs args;
    args.session = key_;
    args.arena_id = arena_;
    args.size_bytes = std::uint64_t{8} << random() % 11;
    if (random() % 50 == 0) args.size_bytes = 200'000;
    args.count = static_cast<std::uint32_t>(args.size_bytes > 100'000 ? 1 : 1 + random() % 64);
    api.allocate(args, [this](Answer<AllocatedBlocks> got) {
      ASSERT_TRUE(got.ok()) << got.error().message;
      const std::lock_guard lock(mutex_);
      for (const Allocation& b : got->blocks) pool_.push_back(b.ref.value);
    });
    std::vector<std::uint64_t> mine;
    {
      const std::lock_guard lock(mutex_);
      for (std::size_t n = pool_.size() > 20'000 ? 200 : random() % 64; n > 0 && !pool_.empty();
           --n) {
        std::swap(pool_[random() % pool_.size()], pool_.back());
        mine.push_back(pool_.back());
        pool_.pop_back();
      }
    }
    const auto freed = api.free(key_, arena_, mine, FreeScope::kAll);
    ASSERT_TRUE(freed.ok()) << freed.error().message;
    EXPECT_EQ(freed->done, mine.size());
  }

  Daemon& daemon_;
  const SessionKey key_;
  const ArenaId arena_;
  std::atomic<bool> stop_{false};
  std::atomic<int> running_{0};
  std::atomic<std::uint64_t> turns_{0};
  std::mutex mutex_;
  std::vector<std::uint64_t> pool_;
};

TEST(Audit, IsExactUnderLoadOfAllShards) {
  EngineOptions options;
  options.limits.max_user_waiting_calls = 1'000'000;  // the load waits for no answer
  options.tunables = {{"idle_drain_ms", "3"}};
  Daemon daemon(4, options);
  const auto arena = daemon.create("a", 256 * kMiB);
  const SessionKey key = daemon.open_attached("a");
  Load load(daemon, key, arena->id);
  for (int i = 0; i < 20; ++i) {
    const std::uint64_t turns = load.turns();
    const auto audit = daemon.audit("a");
    ASSERT_TRUE(audit.ok()) << audit.error().message;
    ASSERT_EQ(audit->arenas.size(), 1u);
    for (const std::string& finding : audit->arenas[0].report.findings) ADD_FAILURE() << finding;
    ASSERT_TRUE(audit->exact);
    EXPECT_EQ(audit->p0_counter_mismatch, 0u);
    const VerifyReport& r = audit->arenas[0].report;
    EXPECT_EQ(r.held + r.shared + r.returning + r.cached + r.free + r.uncarved, r.capacity_blocks);
    ASSERT_TRUE(eventually([&] { return load.turns() > turns + 20; }));  // the shards go on
  }
  ASSERT_TRUE(load.stop());
  const auto left = load.left();
  expect_exact(daemon, left.size());
  EXPECT_EQ(daemon.stats()->held_blocks, left.size());
  EXPECT_EQ(daemon.close(key)->blocks, left.size());
  expect_exact(daemon, 0);
  const auto stats = daemon.stats();
  for (const ShardFacts& shard : stats->shards) {
    EXPECT_GT(shard.heap.drains, 0u);
    EXPECT_GT(shard.heap.carves, 0u);
    EXPECT_GT(shard.heap.remote_frees, 0u);
    EXPECT_GT(shard.heap.p0_counter_ok, 0u);
    EXPECT_EQ(shard.heap.p0_counter_mismatch, 0u);
  }
}

TEST(Audit, IsExactWhileSessionsDieAndArenasComeAndGo) {
  Daemon daemon(3);
  const auto arena = daemon.create("a", 128 * kMiB);
  const SessionKey key = daemon.open_attached("a");
  Load load(daemon, key, arena->id);
  for (int i = 0; i < 10; ++i) {
    const auto opened = daemon.open("victim");
    ASSERT_TRUE(daemon.attach(opened->key, "a").ok());
    ClientProcess client(daemon.engine().handoff_path());
    ASSERT_NE(client.hand_off(opened->handoff_token).find("status=0"), std::string::npos);
    for (std::uint32_t shard = 0; shard < 3; ++shard)
      ASSERT_TRUE(daemon.allocate(shard, opened->key, arena->id, 4096, 500).ok());
    client.kill_without_wait();
    // Audits and the reap meet at any point.
    for (int k = 0; k < 3; ++k) {
      const auto audit = daemon.audit();
      ASSERT_TRUE(audit.ok()) << audit.error().message;
      for (const AuditedArena& a : audit->arenas)
        for (const std::string& finding : a.report.findings) ADD_FAILURE() << finding;
      ASSERT_TRUE(audit->exact);
    }
    ASSERT_TRUE(daemon.create("brief", 4 * kMiB).ok());
    ASSERT_TRUE(daemon.remove("brief").ok());
    EXPECT_TRUE(eventually([&] { return daemon.sessions().size() == 1; }));
  }
  ASSERT_TRUE(load.stop());
  EXPECT_EQ(daemon.stats()->sessions_reaped, 10u);
  expect_exact(daemon, load.left().size());
}

TEST(Audit, SeveralAtOnceAreAllAnswered) {
  Daemon daemon(3);
  ASSERT_TRUE(daemon.create("a", 4 * kMiB).ok());
  std::vector<std::future<Answer<AuditResult>>> answers;
  for (int i = 0; i < 5; ++i) {
    auto promise = std::make_shared<std::promise<Answer<AuditResult>>>();
    answers.push_back(promise->get_future());
    daemon.control().audit(daemon_itself(), "", [promise](Answer<AuditResult> answer) {
      promise->set_value(std::move(answer));
    });
  }
  for (auto& answer : answers) EXPECT_TRUE(answer.get()->exact);
}

TEST(Audit, IsExactOrRefusedWhenAnArenaIsDeletedUnderIt) {
  Daemon daemon(3);
  for (int i = 0; i < 30; ++i) {
    const auto arena = daemon.create("brief", 4 * kMiB);
    const SessionKey key = daemon.open_attached("brief");
    ASSERT_TRUE(daemon.allocate(i % 3, key, arena->id, 64, 100).ok());
    std::promise<Answer<AuditResult>> of_all, of_one;
    daemon.control().audit(daemon_itself(), "", [&](Answer<AuditResult> answer) {
      of_all.set_value(std::move(answer));
    });
    daemon.control().audit(daemon_itself(), "brief", [&](Answer<AuditResult> answer) {
      of_one.set_value(std::move(answer));
    });
    ASSERT_TRUE(daemon.remove("brief", true).ok());
    const auto all = of_all.get_future().get(), one = of_one.get_future().get();
    ASSERT_TRUE(all.ok()) << all.error().message;
    EXPECT_TRUE(all->exact);
    if (one.ok()) {
      EXPECT_TRUE(one->exact);
    } else {
      EXPECT_EQ(one.error().error, Error::kUnknownArena);
    }
    ASSERT_TRUE(daemon.close(key).ok());
  }
}

TEST(Audit, OfAnUnknownArenaIsRefused) {
  Daemon daemon(1);
  EXPECT_EQ(daemon.audit("nobody").error().error, Error::kUnknownArena);
  EXPECT_EQ(daemon.stats("nobody").error().error, Error::kUnknownArena);
  EXPECT_TRUE(daemon.audit()->arenas.empty());
}

}  // namespace
}  // namespace arenad::server
