// The floor: the same loops with no allocator.
//
// A block comes from a row of fixed places: the one that was freed last, then the ones behind it.
// So pair touches one place, batch a thousand in order, churn the place of its victim; what remains
// is loops, rings, random numbers and the first byte of each block.
//
// Large blocks come from a committed memfd in the same way. So large_rotation has four fixed places
// in shared memory, large_handoff shows the ring, and large_growth commits and touches.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string_view>
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

// A shared mapping of a memfd, which ends with the process. It is committed where it is used.
class SharedPlaces {
 public:
  static constexpr std::uint64_t kBytes = arenad::bench::kLargeLiveBytes;

  SharedPlaces() : fd_(::memfd_create("bench-floor", MFD_CLOEXEC)) {
    if (fd_ < 0 || ::ftruncate(fd_, kBytes) != 0)
      throw std::runtime_error("no memfd for the floor");
    void* memory = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
    if (memory == MAP_FAILED) throw std::runtime_error("cannot map the floor's memfd");
    base_ = static_cast<std::byte*>(memory);
  }
  std::byte* at(std::uint64_t place) const { return base_ + place; }
  void commit(std::uint64_t place, std::size_t bytes) const {
    if (::fallocate(fd_, 0, static_cast<off_t>(place), static_cast<off_t>(bytes)) != 0)
      throw std::runtime_error("cannot commit the floor's memory");
  }

 private:
  int fd_;
  std::byte* base_ = nullptr;
};

// One size at a time, a power of two.
class LargeFloorContext {
 public:
  using Handle = std::uint64_t;
  explicit LargeFloorContext(const SharedPlaces& places) : places_(&places) {}

  arenad::load::Placed<Handle> allocate_placed(std::size_t bytes) {
    const std::uint64_t place = next_;
    if (place + bytes > committed_) {
      places_->commit(place, bytes);
      committed_ = place + bytes;
    }
    next_ = (place + bytes) & (SharedPlaces::kBytes - 1);
    arenad::load::touch(places_->at(place));
    return {place, places_->at(place)};
  }
  // So that no later allocation commits.
  void commit_all() {
    places_->commit(0, SharedPlaces::kBytes);
    committed_ = SharedPlaces::kBytes;
    for (std::uint64_t place = 0; place < committed_; place += arenad::bench::kLargeSizes[0].bytes)
      arenad::load::touch(places_->at(place));
  }
  Handle allocate(std::size_t bytes) { return allocate_placed(bytes).handle; }
  std::optional<Handle> try_allocate(std::size_t bytes) { return allocate(bytes); }
  std::byte* take_over(Handle place) { return places_->at(place); }
  void free(Handle place) { next_ = place; }
  void flush() {}

 private:
  const SharedPlaces* places_;
  std::uint64_t next_ = 0, committed_ = 0;
};

class LargeFloorSubject {
 public:
  using Context = LargeFloorContext;
  explicit LargeFloorSubject(std::size_t threads) : contexts_(threads, Context(places_)) {
    if (threads == 2) contexts_[0].commit_all();  // large_handoff, which goes through all places
  }
  Context& context(std::size_t thread) { return contexts_[thread]; }

 private:
  SharedPlaces places_;
  std::vector<Context> contexts_;
};

}  // namespace

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i)
    if (std::string_view(argv[i]).starts_with("large_"))
      return arenad::bench::subject_main<LargeFloorSubject>(argc, argv);
  return arenad::bench::subject_main<FloorSubject>(argc, argv);
}
