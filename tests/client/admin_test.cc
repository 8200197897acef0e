#include <algorithm>
#include <atomic>

#include "tests/client/client_fixture.h"

namespace arenad::client {
namespace {

class AdminTest : public ClientTest {};

TEST_F(AdminTest, TopologyNamesShardsAsThisProcessReachesThem) {
  const Topology& topology = client.topology();
  ASSERT_EQ(topology.shards.size(), 2u);
  EXPECT_EQ(topology.shards[1].address, "unix:" + shared_daemon().socket_dir() + "/shard-1.sock");
  EXPECT_EQ(topology.handoff_path, shared_daemon().socket_dir() + "/handoff.sock");
  EXPECT_FALSE(topology.version.empty());
  EXPECT_TRUE(client.health().ok());
}

TEST_F(AdminTest, RemoteFreesAreCountedPerPairOfShards) {
  auto producer = attach(AttachMode::kRemote, 0);
  auto consumer = attach(AttachMode::kRemote, 1);
  const auto refs = refs_of(must(producer.arena.allocate_many(256, 500)));
  EXPECT_EQ(must(consumer.arena.free(refs)).done, 500u);
  // Counted when they are published, which is at the end of the turn that answered.
  Stats stats;
  ASSERT_TRUE(eventually([&] {
    stats = must(Admin(client).stats(arena_name));
    return stats.shards.size() == 2 && stats.shards[1].remote_frees_to.at(0) == 500;
  }));
  EXPECT_EQ(stats.shards[0].heap.allocs, 500u);
  EXPECT_EQ(stats.shards[1].heap.remote_frees, 500u);
  EXPECT_GT(stats.shards[0].heap.carves, 0u);
}

TEST_F(AdminTest, HoldersAreListedBySessionAndTagLargestFirst) {
  auto big = attach(AttachMode::kRemote);
  auto small = attach(AttachMode::kRemote);
  (void)must(big.arena.allocate_many(1024, 100, {.tag = 1}));
  (void)must(big.arena.allocate_many(1024, 10, {.tag = 2}));
  (void)must(small.arena.allocate_many(1024, 50, {.tag = 1}));
  const Holders holders = must(Admin(client).holders(arena_name));
  ASSERT_EQ(holders.rows.size(), 3u);
  EXPECT_EQ(holders.rows[0].session, big.session.id());
  EXPECT_EQ(holders.rows[0].tag, 1u);
  EXPECT_EQ(holders.rows[0].blocks, 100u);
  EXPECT_EQ(holders.rows[1].session, small.session.id());
  EXPECT_EQ(holders.rows[2].tag, 2u);
  EXPECT_EQ(holders.total_blocks, 160u);
  EXPECT_EQ(must(Admin(client).holders(arena_name, 1)).rows.size(), 1u);
}

// Each thread works in the arena at the moment of the eviction. None of them may go on afterwards:
// the daemon gives the slabs to others, and the audit would see what a late thread does.
TEST_F(AdminTest, EvictedSessionStopsInTheMiddleOfItsWork) {
  for (const AttachMode mode : {AttachMode::kPeer, AttachMode::kWriter}) {
    auto a = attach(mode);
    auto neighbour = attach(AttachMode::kPeer);
    const Block kept = must(neighbour.arena.allocate(64));
    std::atomic<int> working{0};
    std::atomic<int> evicted{0};
    {
      Workers workers;
      for (int i = 0; i < 3; ++i) {
        workers.start([&] {
          ++working;
          Answer<Block> block = a.arena.allocate(64);
          for (; block && workers.go_on(); block = a.arena.allocate(64)) (void)block->free();
          if (!block && block.error().reason == Error::kEvicted) ++evicted;
        });
      }
      EXPECT_TRUE(eventually([&] { return working == 3; }));
      EXPECT_TRUE(Admin(client).evict(a.session.id()).ok());
      EXPECT_TRUE(workers.wait_until([&] { return evicted == 3; }));
    }
    EXPECT_TRUE(eventually([&] { return a.session.standing() == SessionStanding::kEvicted; }));
    EXPECT_FALSE(a.session.alive());
    EXPECT_EQ(a.session.attach(arena_name, mode).error().reason, Error::kEvicted);
    EXPECT_EQ(a.session.close().error().reason, Error::kEvicted);
    EXPECT_EQ(Admin(client).evict(SessionId{65000}).error().reason, Error::kUnknownSession);
    EXPECT_TRUE(must(Admin(client).audit(arena_name)).exact);
    auto again = attach(mode);  // the process may open another one
    EXPECT_TRUE(must(again.arena.allocate(64)).free().ok());
  }
}

TEST_F(AdminTest, AuditCountsWhatIsHeld) {
  auto a = attach(AttachMode::kRemote);
  (void)must(a.arena.allocate_many(256, 321));
  const AuditReport report = must(Admin(client).audit(arena_name));
  ASSERT_EQ(report.arenas.size(), 1u);
  const ArenaAudit& audit = report.arenas[0];
  EXPECT_TRUE(report.exact);
  EXPECT_EQ(audit.held, 321u);
  EXPECT_EQ(audit.counted_held, 321u);
  EXPECT_EQ(audit.mismatches, 0u);
  EXPECT_EQ(
      audit.held + audit.shared + audit.returning + audit.cached + audit.free + audit.uncarved,
      audit.capacity_blocks);
}

TEST_F(AdminTest, SlabInfoShowsTheClassThatIsUsed) {
  auto a = attach(AttachMode::kRemote, 1);
  (void)must(a.arena.allocate_many(256, 300));
  const auto rows = must(Admin(client).slab_info(arena_name));
  const auto row = std::find_if(rows.begin(), rows.end(),
                                [](const SlabUsage& r) { return r.usable_bytes == 256; });
  ASSERT_NE(row, rows.end());
  EXPECT_EQ(row->arena, arena_name);
  EXPECT_EQ(row->shard, ShardId{1});
  EXPECT_GE(row->active_blocks, 300u);
  EXPECT_GE(row->total_slabs, row->active_slabs);
}

TEST_F(AdminTest, TunablesChangeAllOrNone) {
  const auto value = [](const std::vector<Tunable>& all, const std::string& name) {
    for (const Tunable& t : all)
      if (t.name == name) return t.value;
    return std::string("absent");
  };
  const Admin admin(client);
  const std::string before = value(must(admin.tunables()), "idle_drain_ms");
  EXPECT_EQ(value(must(admin.set_tunables({{"idle_drain_ms", "50"}})), "idle_drain_ms"), "50");
  const auto refused = admin.set_tunables({{"idle_drain_ms", "60"}, {"no_such_tunable", "1"}});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().reason, Error::kInvalidOption);
  EXPECT_EQ(value(must(admin.tunables()), "idle_drain_ms"), "50");
  must(admin.set_tunables({{"idle_drain_ms", before}}));
}

TEST_F(AdminTest, ListsArePagedToTheEnd) {
  for (int i = 0; i < 5; ++i)
    must(client.create_arena("list-" + std::to_string(i), {.capacity_bytes = 2 << 20}));
  const auto arenas = must(client.list_arenas());
  EXPECT_EQ(arenas.size(), 6u);
  EXPECT_TRUE(std::is_sorted(arenas.begin(), arenas.end(),
                             [](const auto& x, const auto& y) { return x.name < y.name; }));
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(client.delete_arena("list-" + std::to_string(i)).ok());
}

TEST_F(AdminTest, UnknownArenasAreRefused) {
  const Admin admin(client);
  EXPECT_EQ(admin.audit("nowhere").error().reason, Error::kUnknownArena);
  EXPECT_EQ(admin.stats("nowhere").error().reason, Error::kUnknownArena);
  EXPECT_EQ(admin.holders("nowhere").error().code, Code::kNotFound);
  EXPECT_EQ(client.get_arena("nowhere").error().reason, Error::kUnknownArena);
  EXPECT_EQ(client.delete_arena("nowhere").reason, Error::kUnknownArena);
}

}  // namespace
}  // namespace arenad::client
