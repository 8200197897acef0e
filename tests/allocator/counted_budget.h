// CountedBudget: a budget of so many bytes, for tests.
//
// Threads: one. Crash: a test's.
#pragma once

#include <cstdint>

#include "allocator/arena/memory_budget.h"

namespace arenad {

class CountedBudget final : public MemoryBudget {
 public:
  explicit CountedBudget(std::uint64_t bytes = ~std::uint64_t{0} / 2) : room(bytes) {}

  Failure request(Use use, std::uint64_t bytes, int) override {
    if (bytes > room) return {Error::kMachineFull, "the test's limit"};
    room -= bytes;
    on_the_way += bytes;
    if (use == Use::kPayload) payload += bytes;
    return {};
  }
  void arrived(std::uint64_t bytes) override { on_the_way -= bytes; }
  void give_back(std::uint64_t bytes, int) override { payload -= bytes; }
  void adopt(std::uint64_t bytes) override { payload += bytes; }

  std::uint64_t room;
  std::uint64_t on_the_way = 0;
  std::uint64_t payload = 0;  // that counts now
};

}  // namespace arenad
