// Log lines go to the sink that was set, and a limit tells how many it left out.
#include "allocator/base/log.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace arenad {
namespace {

std::vector<std::string>* lines = nullptr;

TEST(Log, LinesGoToTheSinkUntilItIsTakenAway) {
  std::vector<std::string> got;
  lines = &got;
  set_log_sink([](std::string_view line) { lines->emplace_back(line); });
  log_line("one");
  set_log_sink(nullptr);
  testing::internal::CaptureStderr();
  log_line("two");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "two\n");
  EXPECT_EQ(got, std::vector<std::string>{"one"});
}

TEST(RateLimit, RefusesWhatIsBeyondTheLimitAndCountsIt) {
  RateLimit limit(3);
  std::uint64_t allowed = 0, refused = 0;
  // The clock may reach the next second once or more in the loop. So the number of allowed calls is
  // not certain, but each call is counted once.
  for (int i = 0; i < 1000; ++i) ++(limit.allow() ? allowed : refused);
  EXPECT_GE(allowed, 3u);
  EXPECT_EQ(limit.suppressed(), refused);
  EXPECT_EQ(limit.suppressed(), 0u) << "they were told";
}

TEST(RateLimit, OfZeroRefusesAll) {
  RateLimit limit(0);
  EXPECT_FALSE(limit.allow());
  EXPECT_EQ(limit.suppressed(), 1u);
}

}  // namespace
}  // namespace arenad
