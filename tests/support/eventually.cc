#include "tests/support/eventually.h"

#include <thread>

namespace arenad::test {
namespace {

constexpr int kCloseLooks = 1000;

}  // namespace

bool eventually(const std::function<bool()>& condition, std::chrono::milliseconds deadline) {
  const auto end = std::chrono::steady_clock::now() + deadline;
  // At first without a pause: threads that hand each other work are to meet at close range.
  for (int looks = 0; !condition(); ++looks) {
    if (std::chrono::steady_clock::now() > end) return false;
    if (looks < kCloseLooks) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
  return true;
}

}  // namespace arenad::test
