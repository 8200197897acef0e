// The end of a shard's turn.
#include "server/rpc/loop/turn_end.h"

#include <gtest/gtest.h>

namespace arenad::server {
namespace {

struct Counting final : TurnEnd::Task {
  void turn_ends() override { ++runs; }
  int runs = 0;
};

TEST(TurnEnd, TaskRunsOnceATurnHoweverOftenItWasAdded) {
  TurnEnd turn;
  Counting task;
  turn.add(task);
  turn.add(task);
  turn.run();
  EXPECT_EQ(task.runs, 1);
  turn.run();
  EXPECT_EQ(task.runs, 1);
}

TEST(TurnEnd, RemovedTaskDoesNotRun) {
  TurnEnd turn;
  Counting gone, stays;
  turn.add(gone);
  turn.add(stays);
  turn.remove(gone);
  turn.run();
  EXPECT_EQ(gone.runs, 0);
  EXPECT_EQ(stays.runs, 1);
}

}  // namespace
}  // namespace arenad::server
