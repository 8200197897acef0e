// allocator/base/format.h: sizes and the system's errors as operators read them.
#include "allocator/base/format.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace arenad {
namespace {

TEST(Format, SizesHaveTheLargestUnitThatLeavesAtLeastOne) {
  EXPECT_EQ(bytes_text(0), "0 B");
  EXPECT_EQ(bytes_text(1023), "1023 B");
  EXPECT_EQ(bytes_text(1536), "1.5 KiB");
  EXPECT_EQ(bytes_text(std::uint64_t{64} << 20), "64 MiB");
  EXPECT_EQ(bytes_text(~std::uint64_t{0}), "16 EiB");
}

TEST(Format, FailureOfTheSystemHasItsWordsAndTheAdvice) {
  const Failure failure = system_failure(Error::kMachineFull, "mmap of 4096 bytes", ENOMEM);
  EXPECT_EQ(failure.error, Error::kMachineFull);
  EXPECT_EQ(failure.message, std::string("mmap of 4096 bytes: Cannot allocate memory; ") +
                                 error_advice(Error::kMachineFull));
}

}  // namespace
}  // namespace arenad
