#include "server/core/state/file_users.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <string>

#include "server/core/state/attach_mark.h"

namespace arenad::server {
namespace {

// An arena's file: a memfd, or a file of a directory that was removed since.
class FileUsers : public ::testing::TestWithParam<const char*> {
 protected:
  FileUsers() {
    if (GetParam() == std::string("memfd")) {
      daemons = UniqueFd(::memfd_create("arena", MFD_CLOEXEC));
    } else {
      std::string path = "/dev/shm/arenad-file-users-XXXXXX";
      daemons = UniqueFd(::mkostemp(path.data(), O_CLOEXEC));
      ::unlink(path.c_str());
    }
    EXPECT_EQ(::ftruncate(daemons.get(), 4096), 0);
  }
  UniqueFd opened(int flags) {
    return UniqueFd(
        ::open(("/proc/self/fd/" + std::to_string(daemons.get())).c_str(), flags | O_CLOEXEC));
  }

  UniqueFd daemons;
};

TEST_P(FileUsers, DescriptorsAndMappingsOfOthersCount) {
  const UniqueFd watched = watch_users(daemons.get());
  UniqueFd handed[] = {opened(O_RDWR), opened(O_RDONLY)};
  daemons = UniqueFd();  // the daemon has let go of the arena
  EXPECT_TRUE(has_other_users(watched));
  handed[0] = UniqueFd();
  EXPECT_TRUE(has_other_users(watched)) << "a reader";
  void* const mapped = ::mmap(nullptr, 4096, PROT_READ, MAP_SHARED, handed[1].get(), 0);
  ASSERT_NE(mapped, MAP_FAILED);
  handed[1] = UniqueFd();
  EXPECT_TRUE(has_other_users(watched)) << "a mapping";
  ASSERT_EQ(::munmap(mapped, 4096), 0);
  EXPECT_FALSE(has_other_users(watched));
  EXPECT_FALSE(has_other_users(watched)) << "a look leaves nothing behind";
}

TEST_P(FileUsers, ClientThatTakesItsMarkAwayCounts) {
  const UniqueFd watched = watch_users(daemons.get());
  UniqueFd handed = opened(O_RDWR);
  ASSERT_TRUE(set_attach_mark(handed.get(), {7}));
  EXPECT_TRUE(has_attach_marks(daemons.get()));
  struct flock unlock {};
  unlock.l_type = F_UNLCK;
  ASSERT_EQ(::fcntl(handed.get(), F_OFD_SETLK, &unlock), 0);
  EXPECT_FALSE(has_attach_marks(daemons.get()));
  daemons = UniqueFd();
  EXPECT_TRUE(has_other_users(watched));
  handed = UniqueFd();
  EXPECT_FALSE(has_other_users(watched));
}

INSTANTIATE_TEST_SUITE_P(, FileUsers, ::testing::Values("memfd", "file"),
                         [](const auto& kind) { return std::string(kind.param); });

}  // namespace
}  // namespace arenad::server
