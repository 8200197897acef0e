// FileWatch: a path stands while the file that was there is there.
#include "server/core/state/file_watch.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/support/temporary_directory.h"

namespace arenad::server {
namespace {

namespace fs = std::filesystem;

class FileWatchTest : public testing::Test {
 protected:
  FileWatchTest() {
    file_ << "x" << std::flush;
    watch_.add(path_);
  }
  test::TemporaryDirectory directory_{test::kMemoryFiles};
  const std::string path_ = directory_.path() + "/file";
  std::ofstream file_{path_};  // stays open, as a daemon's does
  FileWatch watch_;
};

TEST_F(FileWatchTest, FileThatIsThereStandsWhateverIsWrittenToIt) {
  EXPECT_TRUE(watch_.stands(path_));
  file_ << "more" << std::flush;
  EXPECT_TRUE(watch_.stands(path_));
}

TEST_F(FileWatchTest, FileThatWasRemovedDoesNotStandNorDoesAnotherInItsPlace) {
  fs::remove(path_);
  EXPECT_FALSE(watch_.stands(path_));
  std::ofstream other(path_);
  EXPECT_FALSE(watch_.stands(path_));
  watch_.add(path_);
  EXPECT_TRUE(watch_.stands(path_));
}

TEST_F(FileWatchTest, FileThatIsBackStandsAgain) {
  fs::rename(path_, path_ + ".moved");
  EXPECT_FALSE(watch_.stands(path_));
  fs::rename(path_ + ".moved", path_);
  EXPECT_TRUE(watch_.stands(path_));
}

TEST_F(FileWatchTest, PathThatNobodyAddedOrThatHadNoFileDoesNotStand) {
  EXPECT_FALSE(watch_.stands(directory_.path()));
  watch_.add(directory_.path() + "/none");
  EXPECT_FALSE(watch_.stands(directory_.path() + "/none"));
  watch_.drop(path_);
  EXPECT_FALSE(watch_.stands(path_));
}

}  // namespace
}  // namespace arenad::server
