// The tables of tunables and limits: each row is whole, and no field lacks a row.
#include "server/core/api/tunables.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "server/core/api/limits.h"
#include "server/core/control/tunable_registry.h"

namespace arenad::server {
namespace {

TEST(TunableTable, EachRowHasOneFieldANameOfItsOwnAndADefaultWithinItsBounds) {
  std::set<std::string> names;
  for (const TunableRow& row : kTunableTable) {
    EXPECT_TRUE(names.insert(row.name).second) << row.name;
    EXPECT_NE(row.allocator_switch == nullptr, row.server_number == nullptr) << row.name;
    EXPECT_GE(row.default_value, row.min) << row.name;
    EXPECT_LE(row.default_value, row.max) << row.name;
    EXPECT_EQ(row.is_switch(), std::string(row.unit).empty()) << row.name;
    EXPECT_FALSE(std::string(row.help).empty()) << row.name;
  }
}

TEST(TunableTable, EveryFieldHasARow) {
  std::size_t switches = 0, numbers = 0;
  for (const TunableRow& row : kTunableTable) ++(row.is_switch() ? switches : numbers);
  EXPECT_EQ(sizeof(ServerTunables), numbers * sizeof(std::uint64_t));
  // p0_disable and guards_private are fixed at the start.
  EXPECT_EQ(sizeof(Tunables), switches + 2);
}

TEST(TunableTable, RegistryGivesEveryRowWithItsDefault) {
  ServerTunables server;
  const auto facts = TunableRegistry(server).get();
  ASSERT_EQ(facts.size(), kTunableTable.size());
  for (std::size_t i = 0; i < facts.size(); ++i) {
    EXPECT_EQ(facts[i].name, kTunableTable[i].name);
    EXPECT_EQ(facts[i].default_value, std::to_string(kTunableTable[i].default_value));
    if (!kTunableTable[i].is_switch()) {
      EXPECT_EQ(facts[i].value, facts[i].default_value);
    }
  }
}

TEST(LimitTable, DefaultsAreWithinTheirBoundsAndEachIsChecked) {
  EXPECT_EQ(check_limits(Limits()), "");
  for (const LimitRow& row : kLimitTable) {
    EXPECT_EQ(row.get(Limits()), row.default_value) << row.name;
    if (row.min != 0) {
      Limits limits;
      row.set(limits, row.min - 1);
      EXPECT_NE(check_limits(limits).find(row.name), std::string::npos) << check_limits(limits);
    }
    if (row.max != kNoBound) {
      Limits limits;
      row.set(limits, row.max + 1);
      EXPECT_NE(check_limits(limits).find(row.name), std::string::npos) << check_limits(limits);
    }
  }
}

}  // namespace
}  // namespace arenad::server
