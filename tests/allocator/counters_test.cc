// The table of heap counters: it names each counter once, and addition covers all of them.
#include "allocator/heap/counters.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace arenad {
namespace {

TEST(HeapCounters, AdditionAddsEveryCounter) {
  HeapCounters a, b;
  std::uint64_t n = 1;
  for (const HeapCounterRow& row : kHeapCounterRows) {
    a.*row.value = n;
    b.*row.value = 1000 * n++;
  }
  a += b;
  n = 1;
  for (const HeapCounterRow& row : kHeapCounterRows)
    EXPECT_EQ(a.*row.value, 1001 * n++) << row.name;
}

TEST(HeapCounters, EachRowHasANameAndAHelpTextOfItsOwn) {
  std::set<std::string> names, helps;
  for (const HeapCounterRow& row : kHeapCounterRows) {
    EXPECT_TRUE(names.insert(row.name).second) << row.name;
    EXPECT_TRUE(helps.insert(row.help).second) << row.help;
    EXPECT_FALSE(std::string(row.help).empty()) << row.name;
  }
}

TEST(HeapCounters, TheTableHasTheTwoThatOnceGotLost) {
  std::set<std::string> names;
  for (const HeapCounterRow& row : kHeapCounterRows) names.insert(row.name);
  EXPECT_TRUE(names.contains("adopted_slabs"));
  EXPECT_TRUE(names.contains("flushed_blocks"));
}

}  // namespace
}  // namespace arenad
