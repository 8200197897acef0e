// The floor: the same loops with no allocator.
//
// A block comes from a row of fixed places: the one that was freed last, then the ones behind it.
// So pair touches one place, batch a thousand in order, churn the place of its victim; what remains
// is loops, rings, random numbers and the first byte of each block.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "tests/bench/subject.h"

namespace {

class FloorContext {
 public:
  using Handle = std::uint64_t;
  Handle allocate(std::size_t) {
    const std::uint64_t place = next_;
    next_ = (place + kPlaceBytes) & (kBytes - 1);
    arenad::load::touch(base_.get() + place);
    return place;
  }
  void free(Handle place) { next_ = place; }
  void flush() {}

 private:
  static constexpr std::uint64_t kPlaceBytes = 256;
  static constexpr std::uint64_t kBytes = std::uint64_t{4}
                                          << 20;  // the 10,000 live blocks of churn fit

  std::unique_ptr<std::byte[]> base_ = std::make_unique<std::byte[]>(kBytes);
  std::uint64_t next_ = 0;
};

class FloorSubject {
 public:
  using Context = FloorContext;
  explicit FloorSubject(std::size_t threads) : contexts_(threads) {}
  Context& context(std::size_t thread) { return contexts_[thread]; }

 private:
  std::vector<Context> contexts_;
};

}  // namespace

int main(int argc, char** argv) { return arenad::bench::subject_main<FloorSubject>(argc, argv); }
