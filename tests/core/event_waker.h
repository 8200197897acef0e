// EventWaker: a Waker on an eventfd, for loops that wait in poll or epoll (the control thread,
// tests).
//
// Threads: wake by any; clear by the loop. Crash: nothing is shared.
#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>

#include "allocator/base/unique_fd.h"
#include "server/core/api/api.h"

namespace arenad::server {

class EventWaker final : public Waker {
 public:
  EventWaker() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  void wake() override {
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(fd_.get(), &one, sizeof one);
  }
  // Before the loop looks at its inbox: a task pushed after that wakes again.
  void clear() {
    std::uint64_t count;
    [[maybe_unused]] const auto got = ::read(fd_.get(), &count, sizeof count);
  }
  int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_;
};

}  // namespace arenad::server
