// Admin's answers: every field of a message is filled from the table of its facts.
#include "server/rpc/services/admin_messages.h"

#include <google/protobuf/message.h>
#include <gtest/gtest.h>

#include "server/core/control/tunable_registry.h"

namespace arenad::server {
namespace {

TEST(AdminMessages, HeapCountersHaveOneFieldForEachRowOfTheTable) {
  ShardFacts shard;
  std::uint64_t next = 100;
  for (const HeapCounterRow& row : kHeapCounterRows) shard.heap.*row.value = next++;
  DaemonStats stats;
  stats.shards.push_back(shard);
  v1::Stats out;
  fill(out, stats);

  const v1::HeapCounters& message = out.shards(0).heap();
  const auto& descriptor = *v1::HeapCounters::descriptor();
  EXPECT_EQ(descriptor.field_count(), static_cast<int>(kHeapCounterRows.size()));
  for (const HeapCounterRow& row : kHeapCounterRows) {
    const auto* field = descriptor.FindFieldByName(row.name);
    ASSERT_NE(field, nullptr) << row.name;
    EXPECT_EQ(message.GetReflection()->GetUInt64(message, field), shard.heap.*row.value)
        << row.name;
  }
}

TEST(AdminMessages, TunablesHaveOneEntryForEachRowOfTheTable) {
  ServerTunables tunables;
  v1::Tunables out;
  fill(out, TunableRegistry(tunables).get());
  ASSERT_EQ(out.tunables_size(), static_cast<int>(kTunableTable.size()));
  for (int i = 0; i < out.tunables_size(); ++i) {
    const TunableRow& row = kTunableTable[static_cast<std::size_t>(i)];
    EXPECT_EQ(out.tunables(i).name(), row.name);
    EXPECT_EQ(out.tunables(i).default_value(), std::to_string(row.default_value));
    EXPECT_EQ(out.tunables(i).description(), row.description());
    EXPECT_FALSE(out.tunables(i).value().empty());
  }
}

}  // namespace
}  // namespace arenad::server
