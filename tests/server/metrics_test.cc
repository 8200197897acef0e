// The text of /metrics: its form, and that no fact of the contract is missing.
#include "server/rpc/metrics.h"

#include <gtest/gtest.h>

#include <set>
#include <sstream>

#include "arenad/v1/admin.pb.h"
#include "arenad/v1/arenas.pb.h"
#include "server/core/control/tunable_registry.h"

namespace arenad::server {
namespace {

MetricsFacts three_shards() {
  MetricsFacts facts;
  for (std::uint32_t i = 0; i < 3; ++i) {
    ShardFacts shard;
    shard.shard = {static_cast<std::uint16_t>(i)};
    shard.remote_frees_to = {10 * i, 10 * i + 1, 10 * i + 2};
    shard.heap.p0_counter_ok = 7;
    facts.stats.shards.push_back(shard);
  }
  ArenaFacts arena;
  arena.name = "pool";
  arena.held_bytes = 4096;
  facts.arenas.push_back(arena);
  ServerTunables tunables;
  facts.tunables = TunableRegistry(tunables).get();
  return facts;
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

template <class Message>
std::set<std::string> fields() {
  std::set<std::string> names;
  const auto& descriptor = *Message::descriptor();
  for (int i = 0; i < descriptor.field_count(); ++i) names.insert(descriptor.field(i)->name());
  return names;
}

TEST(Metrics, EverySampleFollowsItsFamily) {
  std::istringstream lines(metrics_text(three_shards()));
  std::string family;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("# HELP ")) family = line.substr(7, line.find(' ', 7) - 7);
    if (line.starts_with("#")) continue;
    EXPECT_EQ(line.substr(0, line.find_first_of("{ ")), family);
  }
}

TEST(Metrics, EveryPairOfShardsHasASample) {
  const std::string text = metrics_text(three_shards());
  EXPECT_TRUE(has(text, "arenad_remote_frees_between_total{from=\"2\",to=\"1\"} 21\n"));
  EXPECT_FALSE(has(text, "{from=\"1\",to=\"1\"}"));
}

TEST(Metrics, EveryHeapCounterOfTheContractHasASample) {
  const std::string text = metrics_text(three_shards());
  for (const std::string& name : fields<v1::HeapCounters>())
    EXPECT_TRUE(has(text, "arenad_heap_" + name + "_total{shard=\"2\"} ")) << name;
  EXPECT_TRUE(has(text, "arenad_heap_p0_counter_ok_total{shard=\"0\"} 7\n"));
}

TEST(Metrics, EveryShardCounterOfTheContractHasASample) {
  const std::string text = metrics_text(three_shards());
  std::set<std::string> names = fields<v1::ShardStats>();
  for (const char* other : {"shard", "heap", "remote_frees_to"}) ASSERT_EQ(names.erase(other), 1u);
  for (const std::string& name : names)
    EXPECT_TRUE(has(text, "arenad_shard_" + name + "_total{shard=\"0\"} ")) << name;
}

TEST(Metrics, EveryCountOfAnArenaHasASample) {
  MetricsFacts facts = three_shards();
  facts.name_arenas = true;
  const std::string text = metrics_text(facts);
  std::set<std::string> names = fields<v1::Arena>();
  for (const char* fixed : {"id", "name", "holder_only", "debug", "pinned", "locked", "zero",
                            "scrub", "huge_pages", "numa", "access", "quarantine_reason"})
    ASSERT_EQ(names.erase(fixed), 1u);
  for (const std::string& name : names)
    EXPECT_TRUE(has(text, "arenad_arena_" + name + "{arena=\"pool\"} ")) << name;
  EXPECT_TRUE(has(text, "arenad_arena_held_bytes{arena=\"pool\"} 4096\n"));
  EXPECT_TRUE(has(text, "arenad_arena_huge_page_bytes{arena=\"pool\"} "));
}

TEST(Metrics, SamplesAreSumsOfAllArenasUnlessArenasMayBeNamed) {
  MetricsFacts facts = three_shards();
  ArenaFacts other;
  other.name = "secret";
  other.held_bytes = 1000;
  other.quarantined = true;
  facts.arenas.push_back(other);
  const std::string text = metrics_text(facts);
  EXPECT_TRUE(has(text, "\narenad_arena_held_bytes 5096\n"));
  EXPECT_TRUE(has(text, "\narenad_arena_quarantined 1\n"));
  EXPECT_FALSE(has(text, "secret"));
  EXPECT_FALSE(has(text, "pool"));
}

TEST(Metrics, EveryCountOfTheDaemonHasASample) {
  const std::string text = metrics_text(three_shards());
  std::set<std::string> names = fields<v1::Stats>();
  ASSERT_EQ(names.erase("shards"), 1u);
  // Prometheus adds these up from the arenas.
  for (const char* sum : {"committed_bytes", "capacity_bytes", "held_blocks", "held_bytes"})
    ASSERT_EQ(names.erase(sum), 1u);
  ASSERT_EQ(names.erase("uptime_ms"), 1u);
  names.insert("uptime_seconds");
  ASSERT_EQ(names.erase("sessions_reaped"), 1u);
  names.insert("sessions_reaped_total");
  for (const std::string& name : names) EXPECT_TRUE(has(text, "\narenad_" + name + " 0\n")) << name;
}

TEST(Metrics, EveryTunableAndEveryLimitHasASample) {
  MetricsFacts facts = three_shards();
  facts.limits.max_sessions = 77;
  const std::string text = metrics_text(facts);
  for (const TunableRow& row : kTunableTable)
    EXPECT_TRUE(has(text, std::string("arenad_tunable{name=\"") + row.name + "\"} ")) << row.name;
  for (const LimitRow& row : kLimitTable)
    EXPECT_TRUE(has(text, std::string("arenad_limit{name=\"") + row.name + "\"} ")) << row.name;
  EXPECT_TRUE(has(text, "arenad_limit{name=\"max_sessions\"} 77\n"));
}

}  // namespace
}  // namespace arenad::server
