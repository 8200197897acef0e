// Threads that get no heap of their own work in those of others.
#include <atomic>
#include <cstdint>
#include <vector>

#include "tests/client/local_leases.h"
#include "tests/support/workers.h"

namespace arenad::client {
namespace {

using test::Workers;

class SharedHeaps : public LocalArena {};

TEST_F(SharedHeaps, ServeThreadsThatGetNone) {
  make(std::uint64_t{1} << 30);
  const auto p = pool(7);
  counts.heaps = 2;
  std::atomic<int> working{0};
  Workers workers;
  for (int i = 0; i < 16; ++i) {
    workers.start([&] {
      ++working;
      if (!workers.wait_until([&] { return working == 16; })) return;
      for (const std::uint64_t size : {64, 5000, 3 << 20}) {  // a span needs a lease of its own
        std::vector<AllocatedBlock> blocks;
        for (int n = 0; n < 5; ++n) blocks.push_back(take(*p, size, n == 4 ? 4096 : 0));
        for (const AllocatedBlock& b : blocks) EXPECT_EQ(give(*p, b.ref), Error::kNone);
      }
    });
  }
  workers.join();
  EXPECT_EQ(counts.opens, 2u);
  EXPECT_EQ(p->heap_count(), 2u);
  EXPECT_EQ(leases().held, 0u);
}

}  // namespace
}  // namespace arenad::client
