// Tables and texts of arenactl.
#include "client/ctl/output.h"

#include <gtest/gtest.h>

#include <sstream>

namespace arenad::ctl {
namespace {

TEST(CtlOutput, DurationHasTheUnitThatPeopleUse) {
  EXPECT_EQ(human_duration(0), "0 ms");
  EXPECT_EQ(human_duration(9'999), "9999 ms");
  EXPECT_EQ(human_duration(10'000), "10 s");
  EXPECT_EQ(human_duration(599'999), "599 s");
  EXPECT_EQ(human_duration(600'000), "10 min");
  EXPECT_EQ(human_duration(36'000'000), "10 h 00 min");
  EXPECT_EQ(human_duration(11'040'000'000), "3066 h 40 min");
}

TEST(CtlOutput, ColumnsLineUpAndNumbersStandToTheRight) {
  Table table({"NAME", ">SIZE", "MODE"});
  table.add({"frames", "7", "0660"});
  table.add({"a", "12345", ""});
  std::ostringstream out;
  table.print(out);
  EXPECT_EQ(out.str(),
            "NAME     SIZE  MODE\n"
            "frames      7  0660\n"
            "a       12345\n");
}

TEST(CtlOutput, EmptyTableHasItsTitles) {
  std::ostringstream out;
  Table({"NAME", ">ID"}).print(out);
  EXPECT_EQ(out.str(), "NAME  ID\n");
}

}  // namespace
}  // namespace arenad::ctl
