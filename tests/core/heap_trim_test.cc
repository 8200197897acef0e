// When memory of the daemon's own malloc goes back to the system.
#include "server/core/control/heap_trim.h"

#include <gtest/gtest.h>

namespace arenad::server {
namespace {

constexpr std::size_t kMuch = HeapTrim::kWorthIt;

TEST(HeapTrim, WaitsForTheEndOfABurstThatFreedMuch) {
  HeapTrim trim;
  EXPECT_FALSE(trim.due(1000));
  EXPECT_FALSE(trim.due(1000 + kMuch));      // frees still
  EXPECT_FALSE(trim.due(1000 + 2 * kMuch));  // and still
  EXPECT_TRUE(trim.due(1000 + 2 * kMuch));
}

TEST(HeapTrim, LittleIsNotWorthIt) {
  HeapTrim trim;
  EXPECT_FALSE(trim.due(1000));
  EXPECT_FALSE(trim.due(1000 + kMuch - 1));
  EXPECT_FALSE(trim.due(1000 + kMuch - 1));
}

TEST(HeapTrim, WhatWasGivenBackCountsAgainOnlyAfterItWasUsed) {
  HeapTrim trim;
  EXPECT_FALSE(trim.due(0));
  EXPECT_FALSE(trim.due(2 * kMuch));
  EXPECT_TRUE(trim.due(2 * kMuch));
  EXPECT_FALSE(trim.due(2 * kMuch));
  EXPECT_FALSE(trim.due(kMuch / 2));  // the next burst uses it
  EXPECT_FALSE(trim.due(2 * kMuch));
  EXPECT_TRUE(trim.due(2 * kMuch - 10));
}

}  // namespace
}  // namespace arenad::server
