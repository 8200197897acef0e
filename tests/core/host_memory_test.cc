// HostMemory: what is read of a machine and of cgroups v1 and v2, in a made-up root directory.
#include "server/core/host/host_memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "tests/support/sizes.h"
#include "tests/support/temporary_directory.h"

namespace arenad::server {
namespace {

class HostMemoryTest : public ::testing::Test {
 protected:
  void write(const std::string& path, const std::string& text) {
    const std::filesystem::path file = root.path() + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  void machine(std::uint64_t total_kib, std::uint64_t available_kib) {
    write("/proc/meminfo", "MemTotal:       " + std::to_string(total_kib) +
                               " kB\nMemFree:         1 kB\nMemAvailable:   " +
                               std::to_string(available_kib) + " kB\n");
  }
  // One line of mountinfo: which cgroup is mounted where.
  void mount(const std::string& shown, const std::string& point, const std::string& type,
             const std::string& options) {
    mounts += "35 31 0:32 " + shown + " " + point + " rw,relatime shared:9 - " + type + " " + type +
              " " + options + "\n";
    write("/proc/self/mountinfo", "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n" + mounts);
  }
  void cgroup_v2(const std::string& directory, const std::string& max, std::uint64_t current,
                 std::uint64_t inactive_file = 0, const std::string& high = "max") {
    write(directory + "/memory.max", max + "\n");
    write(directory + "/memory.high", high + "\n");
    write(directory + "/memory.current", std::to_string(current) + "\n");
    write(directory + "/memory.stat", "anon 5\nfile 9\ninactive_anon 77\ninactive_file " +
                                          std::to_string(inactive_file) + "\nactive_file 0\n");
  }
  void cgroup_v1(const std::string& directory, std::uint64_t limit, std::uint64_t usage,
                 std::uint64_t active_file = 0) {
    write(directory + "/memory.limit_in_bytes", std::to_string(limit) + "\n");
    write(directory + "/memory.usage_in_bytes", std::to_string(usage) + "\n");
    write(directory + "/memory.stat",
          "inactive_file 3\nactive_file 3\ntotal_inactive_file 0\n"
          "total_active_file " +
              std::to_string(active_file) + "\n");
  }
  std::vector<MemoryBound> bounds() const { return HostMemory(root.path()).bounds(); }
  // The bound whose name has `part`; its numbers are 0 when there is none.
  MemoryBound bound(const std::string& part) const {
    for (const MemoryBound& b : bounds())
      if (b.name.find(part) != std::string::npos) return b;
    return {};
  }

  test::TemporaryDirectory root;
  std::string mounts;
};

constexpr std::uint64_t kNoLimitV1 = 9223372036854771712ULL;

TEST_F(HostMemoryTest, MachineHasWhatTheKernelCallsAvailable) {
  machine(1000, 600);
  ASSERT_EQ(bounds().size(), 1u);
  EXPECT_EQ(bounds()[0].name, "the available memory of this machine");
  EXPECT_EQ(bounds()[0].limit_bytes, 1000u * 1024);
  EXPECT_EQ(bounds()[0].free_bytes, 600u * 1024);
}

TEST_F(HostMemoryTest, NothingReadableBoundsNothing) { EXPECT_TRUE(bounds().empty()); }

TEST_F(HostMemoryTest, OwnCgroupAndAllAncestorsOfV2Bound) {
  mount("/", "/sys/fs/cgroup", "cgroup2", "rw,nsdelegate");
  write("/proc/self/cgroup", "0::/a/b/c\n");
  cgroup_v2("/sys/fs/cgroup/a", "1000", 300);
  cgroup_v2("/sys/fs/cgroup/a/b", "max", 300);
  cgroup_v2("/sys/fs/cgroup/a/b/c", "800", 100);
  ASSERT_EQ(bounds().size(), 2u);
  EXPECT_EQ(bound("cgroup /sys/fs/cgroup/a (memory.max)").free_bytes, 700u);
  EXPECT_EQ(bound("cgroup /sys/fs/cgroup/a/b/c (memory.max)").free_bytes, 700u);
}

TEST_F(HostMemoryTest, OwnCgroupAndAllAncestorsOfV1Bound) {
  mount("/", "/sys/fs/cgroup/cpu", "cgroup", "rw,cpu");
  mount("/", "/sys/fs/cgroup/memory", "cgroup", "rw,memory");
  write("/proc/self/cgroup", "5:cpu:/elsewhere\n4:memory:/a/b\n0::/\n");
  cgroup_v1("/sys/fs/cgroup/memory", kNoLimitV1, 1);
  cgroup_v1("/sys/fs/cgroup/memory/a", 1000, 300);
  cgroup_v1("/sys/fs/cgroup/memory/a/b", kNoLimitV1, 300);
  ASSERT_EQ(bounds().size(), 1u);
  EXPECT_EQ(bounds()[0].name,
            "the memory limit of cgroup /sys/fs/cgroup/memory/a (memory.limit_in_bytes)");
  EXPECT_EQ(bounds()[0].limit_bytes, 1000u);
  EXPECT_EQ(bounds()[0].free_bytes, 700u);
}

TEST_F(HostMemoryTest, ContainerSeesItsCgroupAtTheMountPoint) {
  // Docker with cgroup v1: the path is the host's, and the mount shows that cgroup only.
  mount("/docker/4711", "/sys/fs/cgroup/memory", "cgroup", "ro,memory");
  write("/proc/self/cgroup", "4:memory:/docker/4711/below\n");
  cgroup_v1("/sys/fs/cgroup/memory", 1000, 300);
  cgroup_v1("/sys/fs/cgroup/memory/below", 900, 300);
  EXPECT_EQ(bounds().size(), 2u);
  EXPECT_EQ(bound("cgroup /sys/fs/cgroup/memory (").free_bytes, 700u);
  EXPECT_EQ(bound("cgroup /sys/fs/cgroup/memory/below (").free_bytes, 600u);
  write("/proc/self/cgroup", "4:memory:/docker/47110\n");
  EXPECT_EQ(bounds().size(), 1u) << "another cgroup, whose name begins alike";
  // A cgroup namespace: the process is outside of what the mount shows.
  write("/proc/self/cgroup", "4:memory:/../elsewhere\n");
  EXPECT_EQ(bounds().size(), 1u);
}

TEST_F(HostMemoryTest, PageCacheCountsAsFree) {
  mount("/", "/sys/fs/cgroup", "cgroup2", "rw");
  mount("/", "/sys/fs/cgroup/memory", "cgroup", "rw,memory");
  write("/proc/self/cgroup", "4:memory:/m\n0::/m\n");
  cgroup_v2("/sys/fs/cgroup/m", "1000", 900, 200);
  cgroup_v1("/sys/fs/cgroup/memory/m", 1000, 900, 200);
  EXPECT_EQ(bound("memory.max").free_bytes, 300u);
  EXPECT_EQ(bound("limit_in_bytes").free_bytes, 200u) << "of active cache one half";
}

TEST_F(HostMemoryTest, MemoryHighBoundsLikeALimit) {
  mount("/", "/sys/fs/cgroup", "cgroup2", "rw");
  write("/proc/self/cgroup", "0::/m\n");
  cgroup_v2("/sys/fs/cgroup/m", "1000", 100, 0, "400");
  EXPECT_EQ(bound("(memory.high)").free_bytes, 300u);
  EXPECT_EQ(bound("(memory.max)").free_bytes, 900u);
}

TEST_F(HostMemoryTest, UsageAboveTheLimitLeavesNothing) {
  mount("/", "/sys/fs/cgroup", "cgroup2", "rw");
  write("/proc/self/cgroup", "0::/m\n");
  cgroup_v2("/sys/fs/cgroup/m", "1000", 1200);
  EXPECT_EQ(bound("memory.max").limit_bytes, 1000u);
  EXPECT_EQ(bound("memory.max").free_bytes, 0u);
}

TEST_F(HostMemoryTest, MountPointWithABlankIsFound) {
  mount("/", "/sys/fs/my\\040cgroup", "cgroup2", "rw");
  write("/proc/self/cgroup", "0::/\n");
  cgroup_v2("/sys/fs/my cgroup", "1000", 400);
  EXPECT_EQ(bound("/sys/fs/my cgroup (memory.max)").free_bytes, 600u);
}

// The real files of the machine that runs this test.
TEST(HostMemory, ThisMachineHasMemory) {
  const std::vector<MemoryBound> bounds = HostMemory().bounds();
  ASSERT_FALSE(bounds.empty());
  for (const MemoryBound& bound : bounds) {
    EXPECT_GT(bound.limit_bytes, kMiB) << bound.name;
    EXPECT_LE(bound.free_bytes, bound.limit_bytes) << bound.name;
  }
}

}  // namespace
}  // namespace arenad::server
