// ZeroedArray: an array that starts as zeros, and costs no memory where it was never written. Zero
// bytes must be a value of the element's type: of a trivial type, or of atomics.
//
// The pages come from the kernel and not from calloc. calloc may recycle a large freed block, and
// then it clears all of the block, which takes memory for all of it.
// Threads: the owner's rules. Crash: private memory.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <new>
#include <type_traits>

namespace arenad {

template <class T>
class ZeroedArray {
  static_assert(std::is_trivially_destructible_v<T>);  // nobody constructs or destroys elements

 public:
  // NORESERVE: most of it is never written, so it does not count as promised memory. Throws
  // std::bad_alloc.
  explicit ZeroedArray(std::size_t size)
      : bytes_(size * sizeof(T)),
        data_(static_cast<T*>(::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0))) {
    if (data_ == MAP_FAILED) throw std::bad_alloc();
    ::madvise(data_, bytes_, MADV_NOHUGEPAGE);  // one element written is to cost 4 KiB, not 2 MiB
  }
  ~ZeroedArray() { ::munmap(data_, bytes_); }
  ZeroedArray(const ZeroedArray&) = delete;
  ZeroedArray& operator=(const ZeroedArray&) = delete;

  T& operator[](std::size_t i) { return data_[i]; }
  const T& operator[](std::size_t i) const { return data_[i]; }

 private:
  const std::size_t bytes_;
  T* const data_;
};

}  // namespace arenad
