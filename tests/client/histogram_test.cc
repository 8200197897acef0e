// client/load/histogram.h
#include "client/load/histogram.h"

#include <gtest/gtest.h>

#include <memory>

namespace arenad::load {
namespace {

TEST(Histogram, EveryValueIsWithinTwoPercentOfItsBucketsEnd) {
  for (std::uint64_t ns = 1; ns < (std::uint64_t{1} << 38); ns = ns * 5 / 4 + 1) {
    auto h = std::make_unique<Histogram>();
    h->record(ns);
    h->record(ns * 2);  // so that the quantile is not cut by the maximum
    const std::uint64_t q = h->quantile(0.5);
    EXPECT_GE(q, ns);
    EXPECT_LE(q, ns + ns / 50);
  }
}

TEST(Histogram, QuantilesOfAUniformSpread) {
  auto h = std::make_unique<Histogram>();
  for (std::uint64_t ns = 1; ns <= 100'000; ++ns) h->record(ns);
  EXPECT_NEAR(static_cast<double>(h->quantile(0.5)), 50'000, 1000);
  EXPECT_NEAR(static_cast<double>(h->quantile(0.99)), 99'000, 2000);
  EXPECT_EQ(h->max(), 100'000u);
  EXPECT_EQ(h->count(), 100'000u);
  EXPECT_EQ(h->quantile(1), 100'000u);
}

TEST(Histogram, SumHasTheCountsOfBoth) {
  auto a = std::make_unique<Histogram>(), b = std::make_unique<Histogram>();
  a->record(10, 3);
  b->record(1'000'000);
  a->add(*b);
  EXPECT_EQ(a->count(), 4u);
  EXPECT_EQ(a->quantile(0.5), 10u);
  EXPECT_EQ(a->max(), 1'000'000u);
}

TEST(Histogram, EmptyAnswersZero) {
  auto h = std::make_unique<Histogram>();
  EXPECT_EQ(h->quantile(0.99), 0u);
  EXPECT_EQ(h->max(), 0u);
}

TEST(Histogram, ValuesBeyondTheRangeCountInTheLastBucket) {
  auto h = std::make_unique<Histogram>();
  h->record(~std::uint64_t{0} >> 1);
  EXPECT_EQ(h->count(), 1u);
  EXPECT_GT(h->quantile(0.5), std::uint64_t{1} << 38);
}

}  // namespace
}  // namespace arenad::load
