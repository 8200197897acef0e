// A peer that is a malloc: glibc, mimalloc, jemalloc, tcmalloc, by what this file is linked with;
// TBB's by its own names.
//
// ARENAD_BENCH_LIBRARY is a part of the file name that malloc must come from, so that a link line
// which silently lost its library cannot measure glibc under another name.
#include <dlfcn.h>

#include <cstddef>
#include <cstdlib>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/bench/subject.h"

#ifdef ARENAD_BENCH_TBB
#include <oneapi/tbb/scalable_allocator.h>
#define ARENAD_BENCH_MALLOC scalable_malloc
#define ARENAD_BENCH_FREE scalable_free
#else
#define ARENAD_BENCH_MALLOC std::malloc
#define ARENAD_BENCH_FREE std::free
#endif
#define ARENAD_BENCH_TEXT_(x) #x
#define ARENAD_BENCH_TEXT(x) ARENAD_BENCH_TEXT_(x)

namespace {

using arenad::load::opaque;
using arenad::load::touch;

class MallocContext {
 public:
  using Handle = void*;
  Handle allocate(std::size_t bytes) {
    void* block = opaque(ARENAD_BENCH_MALLOC(bytes));
    if (block == nullptr) [[unlikely]]
      throw std::bad_alloc();
    touch(block);
    return block;
  }
  void free(Handle block) { ARENAD_BENCH_FREE(block); }
  void flush() {}

  // --- LargeContext. A malloc has no holders.
  arenad::load::Placed<Handle> allocate_placed(std::size_t bytes) {
    void* const block = allocate(bytes);
    return {block, static_cast<std::byte*>(block)};
  }
  std::optional<Handle> try_allocate(std::size_t bytes) {
    void* block = opaque(ARENAD_BENCH_MALLOC(bytes));
    if (block == nullptr) return {};
    touch(block);
    return block;
  }
  std::byte* take_over(Handle block) { return static_cast<std::byte*>(block); }
};

class MallocSubject {
 public:
  using Context = MallocContext;
  explicit MallocSubject(std::size_t threads) : contexts_(threads) { check_library(); }
  Context& context(std::size_t thread) { return contexts_[thread]; }

 private:
  static void check_library() {
#ifdef ARENAD_BENCH_TBB
    const char* name = "scalable_malloc";
#else
    const char* name = "malloc";
#endif
    Dl_info info{};
    void* symbol = dlsym(RTLD_DEFAULT, name);
    const std::string file =
        symbol != nullptr && dladdr(symbol, &info) != 0 ? info.dli_fname : "nowhere";
    if (file.find(ARENAD_BENCH_TEXT(ARENAD_BENCH_LIBRARY)) == std::string::npos)
      throw std::runtime_error(std::string(name) + " comes from " + file + ", not from " +
                               ARENAD_BENCH_TEXT(ARENAD_BENCH_LIBRARY) +
                               ": build the benchmark again");
  }

  std::vector<Context> contexts_;
};

}  // namespace

int main(int argc, char** argv) { return arenad::bench::subject_main<MallocSubject>(argc, argv); }
