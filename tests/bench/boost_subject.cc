// A peer: Boost.Interprocess with its default algorithm, rbtree_best_fit under a process-shared
// mutex, over a MAP_SHARED memfd.
#include <sys/mman.h>
#include <unistd.h>

#include <boost/interprocess/indexes/iset_index.hpp>
#include <boost/interprocess/managed_external_buffer.hpp>
#include <boost/interprocess/mem_algo/rbtree_best_fit.hpp>
#include <boost/interprocess/sync/mutex_family.hpp>
#include <cstddef>
#include <cstdint>
#include <new>
#include <optional>
#include <stdexcept>
#include <vector>

#include "tests/bench/subject.h"

namespace {

namespace ipc = boost::interprocess;

// As managed_shared_memory, but over memory of our own. (managed_external_buffer by itself takes no
// mutex.)
using Segment = ipc::basic_managed_external_buffer<char, ipc::rbtree_best_fit<ipc::mutex_family>,
                                                   ipc::iset_index>;

class BoostContext {
 public:
  using Handle = std::uint64_t;  // the address, which is the same in forked processes
  explicit BoostContext(Segment& segment) : segment_(&segment) {}
  Handle allocate(std::size_t bytes) {
    void* block = segment_->allocate(bytes);
    arenad::load::touch(block);
    return reinterpret_cast<Handle>(block);
  }
  void free(Handle block) { segment_->deallocate(take_over(block)); }
  void flush() {}

  // --- LargeContext. Boost has no holders.
  arenad::load::Placed<Handle> allocate_placed(std::size_t bytes) {
    const Handle block = allocate(bytes);
    return {block, take_over(block)};
  }
  std::optional<Handle> try_allocate(std::size_t bytes) {
    void* block = segment_->allocate(bytes, std::nothrow);
    if (block == nullptr) return {};
    arenad::load::touch(block);
    return reinterpret_cast<Handle>(block);
  }
  std::byte* take_over(Handle block) {
    // NOLINTNEXTLINE(performance-no-int-to-ptr): the other process has it as a number
    return reinterpret_cast<std::byte*>(block);
  }

 private:
  Segment* segment_;
};

class BoostSubject {
 public:
  using Context = BoostContext;
  static constexpr bool kAcrossProcesses = true;
  explicit BoostSubject(std::size_t threads)
      : segment_(ipc::create_only, map(), kBytes), contexts_(threads, BoostContext(segment_)) {}
  Context& context(std::size_t thread) { return contexts_[thread]; }

 private:
  static constexpr std::size_t kBytes = std::size_t{1} << 30;

  // Mapped until the process ends.
  static void* map() {
    const int fd = memfd_create("boost_interprocess", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, kBytes) != 0)
      throw std::runtime_error("no memfd of 1 GiB could be made");
    void* base = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (base == MAP_FAILED) throw std::runtime_error("1 GiB could not be mapped");
    return base;
  }

  Segment segment_;
  std::vector<Context> contexts_;
};

}  // namespace

int main(int argc, char** argv) { return arenad::bench::subject_main<BoostSubject>(argc, argv); }
