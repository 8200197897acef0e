// Task, Later and Sequences by themselves.
#include "server/core/control/task.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "server/core/control/later.h"

namespace arenad::server {
namespace {

Task<> note_when_set(Later<int> later, std::vector<int>& seen) {
  const int value = co_await later;
  seen.push_back(value);
}

TEST(Later, SequenceGoesOnInsideSet) {
  Sequences sequences;
  std::vector<int> seen;
  const Later<int> later;
  sequences.start(note_when_set(later, seen));
  EXPECT_TRUE(seen.empty());
  EXPECT_FALSE(later.is_set());
  later.set(7);
  EXPECT_EQ(seen, std::vector<int>{7});
  EXPECT_EQ(sequences.size(), 0u);
}

TEST(Later, ValueThatIsThereAlreadyIsNotWaitedFor) {
  Sequences sequences;
  std::vector<int> seen;
  const Later<int> later;
  later.set(7);
  sequences.start(note_when_set(later, seen));
  EXPECT_EQ(seen, std::vector<int>{7});
}

Task<std::string> name_of(Later<int> later, std::shared_ptr<int> held) {
  const int value = co_await later;
  co_return std::to_string(value + *held);
}

Task<> join(std::vector<Later<int>> laters, std::shared_ptr<int> held, std::string& out) {
  for (const Later<int>& later : laters) {
    auto named = name_of(later, held);
    const std::string name = co_await named;
    out += name + " ";
  }
}

TEST(Task, WaitsForAnotherTaskAndGetsItsValue) {
  Sequences sequences;
  std::string out;
  const auto held = std::make_shared<int>(100);
  const std::vector<Later<int>> own{Later<int>(), Later<int>(), Later<int>()};
  sequences.start(join(own, held, out));
  own[0].set(1);
  own[2].set(3);  // before anybody waits for it
  EXPECT_EQ(out, "101 ");
  own[1].set(2);
  EXPECT_EQ(out, "101 102 103 ");
  EXPECT_EQ(held.use_count(), 1);
  EXPECT_EQ(sequences.size(), 0u);
}

TEST(Sequences, DestroysWhatStillWaits) {
  const auto held = std::make_shared<int>(1);
  const Later<int> never;
  std::string out;
  {
    Sequences sequences;
    sequences.start(join({never}, held, out));
    sequences.start(join({never}, held, out));
    EXPECT_EQ(sequences.size(), 2u);
    EXPECT_GT(held.use_count(), 2);
  }
  EXPECT_EQ(held.use_count(), 1);
  EXPECT_EQ(out, "");
}

TEST(Task, NotStartedRunsNothingAndFreesItsParameters) {
  const auto held = std::make_shared<int>(1);
  std::string out;
  {
    const auto task = join({Later<int>()}, held, out);
    EXPECT_EQ(held.use_count(), 2);
  }
  EXPECT_EQ(held.use_count(), 1);
}

}  // namespace
}  // namespace arenad::server
