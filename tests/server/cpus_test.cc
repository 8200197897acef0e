// How many cpus this process may use, by affinity and by cgroup.
#include "server/rpc/machine/cpus.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/support/temporary_directory.h"

namespace arenad::server {
namespace {

class Cgroup : public testing::Test {
 protected:
  void limit(const std::string& group, const std::string& cpu_max) {
    std::filesystem::create_directories(directory_.path() + group);
    std::ofstream(directory_.path() + group + "/cpu.max") << cpu_max << "\n";
  }
  unsigned cpus(const std::string& group) {
    return cgroup_cpus("0::" + group + "\n", directory_.path());
  }
  test::TemporaryDirectory directory_;
};

TEST_F(Cgroup, NoLimitIsNone) {
  EXPECT_EQ(cpus("/a/b"), 0u);
  limit("/a/b", "max 100000");
  EXPECT_EQ(cpus("/a/b"), 0u);
}

TEST_F(Cgroup, PartOfACpuCountsAsOne) {
  limit("/a", "50000 100000");
  EXPECT_EQ(cpus("/a"), 1u);
  limit("/a", "250000 100000");
  EXPECT_EQ(cpus("/a"), 3u);
}

TEST_F(Cgroup, TightestOnTheWayToTheRootHolds) {
  limit("/a", "200000 100000");
  limit("/a/b", "800000 100000");
  limit("", "400000 100000");
  EXPECT_EQ(cpus("/a/b"), 2u);
  EXPECT_EQ(cpus("/other"), 4u);
}

TEST(Cpus, ThereIsAlwaysOne) { EXPECT_FALSE(allowed_cpus().empty()); }

}  // namespace
}  // namespace arenad::server
