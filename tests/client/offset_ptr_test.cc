#include "arenad/offset_ptr.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

namespace arenad::client {
namespace {

TEST(OffsetPtr, NullIsRepresentableAndCopiesKeepTheTarget) {
  OffsetPtr<int> null;
  EXPECT_FALSE(null);
  EXPECT_EQ(null, nullptr);
  EXPECT_EQ(null.get(), nullptr);
  int value = 4;
  OffsetPtr<int> p = &value;
  const OffsetPtr<int> copy = p;
  EXPECT_EQ(copy.get(), &value);
  p = null;
  EXPECT_EQ(p, nullptr);
  EXPECT_EQ(*copy, 4);
  const OffsetPtr<const int> constant = copy;
  EXPECT_EQ(constant.get(), &value);
  EXPECT_EQ(static_cast<OffsetPtr<int>>(OffsetPtr<void>(copy)).get(), &value);
}

TEST(OffsetPtr, PointsToItselfToo) {
  struct Self {
    OffsetPtr<Self> me;
  } self;
  self.me = &self;  // distance 0 is no null
  EXPECT_EQ(self.me.get(), &self);
}

TEST(OffsetPtr, IsARandomAccessIterator) {
  static_assert(std::random_access_iterator<OffsetPtr<int>>);
  int values[] = {5, 3, 9, 1};
  std::sort(OffsetPtr<int>(values), OffsetPtr<int>(values + 4));
  EXPECT_EQ(values[0], 1);
  EXPECT_EQ(values[3], 9);
  EXPECT_EQ(OffsetPtr<int>(values + 3) - OffsetPtr<int>(values), 3);
}

TEST(OffsetPtr, MeansTheSameAtAnotherAddress) {
  struct Node {
    int value;
    OffsetPtr<Node> next;
  };
  const int fd = ::memfd_create("nodes", MFD_CLOEXEC);
  ASSERT_EQ(::ftruncate(fd, 4096), 0);
  auto* const here =
      static_cast<std::byte*>(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  auto* const there = static_cast<std::byte*>(::mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd, 0));
  auto* const first = new (here) Node{1, {}};
  auto* const second = new (here + 1024) Node{2, {}};
  first->next = second;
  const auto* const seen = reinterpret_cast<const Node*>(there);
  EXPECT_EQ(reinterpret_cast<const std::byte*>(seen->next.get()), there + 1024);
  EXPECT_EQ(seen->next->value, 2);
  EXPECT_EQ(seen->next->next, nullptr);
  ::munmap(here, 4096);
  ::munmap(there, 4096);
  ::close(fd);
}

}  // namespace
}  // namespace arenad::client
