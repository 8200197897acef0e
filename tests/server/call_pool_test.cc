// The objects that serve calls: used again, and not kept for ever.
#include "server/rpc/services/call_pool.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace arenad::server {
namespace {

TEST(CallPool, UsesAnIdleObjectAgain) {
  CallPool<int> pool(2);
  int made = 0;
  const auto make = [&made] { return std::make_unique<int>(++made); };
  int& first = pool.take(make);
  pool.put_back(first);
  EXPECT_EQ(&pool.take(make), &first);
  EXPECT_NE(&pool.take(make), &first);
  EXPECT_EQ(made, 2);
}

TEST(CallPool, KeepsSoManyIdleAndDestroysTheOthers) {
  CallPool<std::shared_ptr<int>> pool(2);
  const auto alive = std::make_shared<int>();
  std::vector<std::shared_ptr<int>*> burst;
  for (int i = 0; i < 100; ++i)
    burst.push_back(&pool.take([&] { return std::make_unique<std::shared_ptr<int>>(alive); }));
  EXPECT_EQ(alive.use_count(), 101);
  for (auto* const object : burst) pool.put_back(*object);
  EXPECT_EQ(alive.use_count(), 3);
}

}  // namespace
}  // namespace arenad::server
