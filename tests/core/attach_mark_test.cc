#include "server/core/state/attach_mark.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <string>

#include "allocator/base/unique_fd.h"

namespace arenad::server {
namespace {

class AttachMark : public ::testing::Test {
 protected:
  AttachMark() : daemons(::memfd_create("arena", MFD_CLOEXEC)) {
    EXPECT_EQ(::ftruncate(daemons.get(), 4096), 0);
  }
  // As a handoff makes it.
  UniqueFd handed(SessionId session, int flags = O_RDWR) {
    UniqueFd fd(
        ::open(("/proc/self/fd/" + std::to_string(daemons.get())).c_str(), flags | O_CLOEXEC));
    EXPECT_TRUE(set_attach_mark(fd.get(), session));
    return fd;
  }
  bool stands(SessionId session) const { return has_attach_mark(daemons.get(), session); }

  UniqueFd daemons;
};

TEST_F(AttachMark, StandsForItsSessionAloneAndAsLongAsTheDescriptor) {
  UniqueFd fd = handed({7});
  EXPECT_TRUE(stands({7}));
  EXPECT_FALSE(stands({6}));
  EXPECT_FALSE(stands({8}));
  fd = UniqueFd();
  EXPECT_FALSE(stands({7}));
}

TEST_F(AttachMark, StandsOnAReadOnlyDescriptionBeyondTheEndOfTheFile) {
  const UniqueFd fd = handed({65534}, O_RDONLY);
  EXPECT_TRUE(stands({65534}));
}

TEST_F(AttachMark, StandsAsLongAsAMappingWhoseDescriptorIsClosed) {
  UniqueFd fd = handed({7});
  void* const memory = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  ASSERT_NE(memory, MAP_FAILED);
  fd = UniqueFd();
  EXPECT_TRUE(stands({7}));
  ::munmap(memory, 4096);
  EXPECT_FALSE(stands({7}));
}

TEST_F(AttachMark, StandsForSeveralSessionsAndDescriptionsAtOnce) {
  UniqueFd a = handed({7}), again = handed({7}), b = handed({8});
  a = UniqueFd();
  EXPECT_TRUE(stands({7}));
  again = UniqueFd();
  EXPECT_FALSE(stands({7}));
  EXPECT_TRUE(stands({8}));
}

TEST_F(AttachMark, GoesWithAProcessThatIsKilled) {
  UniqueFd fd = handed({7});
  const pid_t child = ::fork();
  if (child == 0) {
    ::pause();
    ::_exit(0);
  }
  ASSERT_GT(child, 0);
  fd = UniqueFd();  // the child has it alone
  EXPECT_TRUE(stands({7}));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_FALSE(stands({7}));
}

}  // namespace
}  // namespace arenad::server
