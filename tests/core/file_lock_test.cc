// FileLock: whose file it is, and what else may lie in its place.
#include "server/core/state/file_lock.h"

#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tests/support/temporary_directory.h"

namespace arenad::server {
namespace {

class FileLockTest : public testing::Test {
 protected:
  Answer<FileLock> take() const { return FileLock::take(path, "directory of a test", "--flag"); }
  std::string refusal() const {
    const auto lock = take();
    EXPECT_FALSE(lock.ok());
    return lock.ok() ? "" : lock.error().message;
  }
  mode_t mode() const {
    struct stat st {};
    EXPECT_EQ(::lstat(path.c_str(), &st), 0);
    return st.st_mode & 07777;
  }

  test::TemporaryDirectory directory;
  const std::string path = directory.path() + "/lock";
};

TEST_F(FileLockTest, IsTheOwnersAlone) {
  const auto lock = take();
  ASSERT_TRUE(lock.ok());
  EXPECT_EQ(mode(), 0600u);
  EXPECT_NE(refusal().find("process " + std::to_string(::getpid())), std::string::npos);
}

TEST_F(FileLockTest, FileThatOthersCouldOpenIsClosedToThem) {
  std::ofstream(path) << "1";
  ASSERT_EQ(::chmod(path.c_str(), 0644), 0);
  EXPECT_TRUE(take().ok());
  EXPECT_EQ(mode(), 0600u);
}

TEST_F(FileLockTest, WhatIsNoPlainFileOfItsOwnIsRefusedAtOnce) {
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  EXPECT_NE(refusal().find("no plain file"), std::string::npos);
  std::filesystem::remove(path);

  const std::string other = directory.path() + "/other";
  std::ofstream(other) << "precious";
  std::filesystem::create_hard_link(other, path);
  EXPECT_NE(refusal().find("no plain file"), std::string::npos);
  std::filesystem::remove(path);

  std::filesystem::create_symlink(other, path);
  EXPECT_NE(refusal().find("cannot open"), std::string::npos);
  EXPECT_EQ(std::filesystem::file_size(other), 8u);  // untouched
  std::filesystem::remove(path);

  if (::geteuid() == 0) {
    std::ofstream(path) << "theirs";
    ASSERT_EQ(::chown(path.c_str(), 65534, 65534), 0);
    EXPECT_NE(refusal().find("no plain file of user 0"), std::string::npos);
  }
}

}  // namespace
}  // namespace arenad::server
