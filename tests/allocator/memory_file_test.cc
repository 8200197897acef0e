// MemoryFile: a file of fixed size, backed where it was committed.
#include "allocator/format/memory_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/temporary_directory.h"

namespace arenad {
namespace {

constexpr std::uint64_t kBytes = 1 << 20;

std::uint64_t backed_bytes(const MemoryFile& file) {
  struct stat st {};
  EXPECT_EQ(::fstat(file.fd(), &st), 0);
  return static_cast<std::uint64_t>(st.st_blocks) * 512;
}

TEST(MemoryFile, TakesMemoryOnlyWhereItWasCommittedAndGivesItBackAsZeros) {
  auto file = MemoryFile::create("test", kBytes, true);
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ(backed_bytes(*file), 0u);
  EXPECT_EQ(file->commit(4096, 8192), Error::kNone);
  EXPECT_EQ(backed_bytes(*file), 8192u);
  std::memset(file->base() + 4096, 7, 8192);
  file->give_back(4096, 4096);
  EXPECT_EQ(backed_bytes(*file), 4096u);
  EXPECT_EQ(file->base()[4096], std::byte{0});
  EXPECT_EQ(file->base()[8192], std::byte{7});
}

TEST(MemoryFile, MemfdKeepsItsSize) {
  const auto file = MemoryFile::create("test", kBytes, false);
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(file->base(), nullptr);
  EXPECT_NE(::ftruncate(file->fd(), kBytes / 2), 0);
  EXPECT_NE(::ftruncate(file->fd(), kBytes * 2), 0);
}

TEST(MemoryFile, CommitThatTheSystemRefusesIsMachineFull) {
  const MemoryFile file = MemoryFile::hold(::open("/dev/null", O_RDWR | O_CLOEXEC));
  EXPECT_EQ(file.commit(0, 4096), Error::kMachineFull);
}

TEST(MemoryFile, FileOfADirectoryIsMadeOnceAndOpenedOnlyWithItsSize) {
  const test::TemporaryDirectory directory;
  const std::string path = directory.path() + "/pool.data";
  EXPECT_EQ(MemoryFile::open(path, kBytes, false).error().error, Error::kInvalidOption);
  {
    auto made = MemoryFile::create_at(path, kBytes, true);
    ASSERT_TRUE(made.ok()) << made.error().message;
    made->base()[100] = std::byte{7};
  }
  EXPECT_EQ(MemoryFile::create_at(path, kBytes, false).error().error, Error::kInvalidOption);
  const auto other = MemoryFile::open(path, kBytes + 4096, false);
  ASSERT_FALSE(other.ok());
  EXPECT_EQ(other.error().error, Error::kInvalidOption);
  EXPECT_NE(other.error().message.find("1048576 bytes instead of 1052672"), std::string::npos)
      << other.error().message;
  const auto again = MemoryFile::open(path, kBytes, true);
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_EQ(again->base()[100], std::byte{7});
}

TEST(MemoryFile, DescriptorOfAnotherSizeIsNotMapped) {
  const auto file = MemoryFile::create("test", kBytes, false);
  ASSERT_TRUE(file.ok());
  MemoryFile held = MemoryFile::hold(::dup(file->fd()));
  EXPECT_EQ(held.map_whole(kBytes * 2).error, Error::kInvalidOption);
  EXPECT_EQ(held.base(), nullptr);
  EXPECT_EQ(held.map_whole(kBytes).error, Error::kNone);
  EXPECT_EQ(held.bytes(), kBytes);
  held.base()[kBytes - 1] = std::byte{1};
}

TEST(MemoryFile, LargeMappingsBeginAtAMultipleOfAHugePage) {
  std::vector<MemoryFile> files;
  for (int i = 0; i < 8; ++i) {
    auto file = MemoryFile::create("test", kHugePageBytes * 3, true);
    ASSERT_TRUE(file.ok()) << file.error().message;
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(file->base()) % kHugePageBytes, 0u);
    file->base()[0] = file->base()[kHugePageBytes * 3 - 1] = std::byte{1};
    files.push_back(std::move(*file));
  }
}

}  // namespace
}  // namespace arenad
