// ZeroedArray: an array of trivial elements that starts as zeros and costs no memory where it was never written.
//
// Threads and crash: private memory, owner's rules.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <type_traits>

namespace arenad {

template <class T>
class ZeroedArray {
  static_assert(std::is_trivial_v<T>);

 public:
  // calloc takes large arrays from fresh pages, which are zero already.
  explicit ZeroedArray(std::size_t size) : data_(static_cast<T*>(std::calloc(size, sizeof(T)))) {
    if (data_ == nullptr) throw std::bad_alloc();
  }
  T& operator[](std::size_t i) { return data_.get()[i]; }
  const T& operator[](std::size_t i) const { return data_.get()[i]; }

 private:
  struct Free {
    void operator()(T* p) const { std::free(p); }
  };
  std::unique_ptr<T[], Free> data_;
};

}  // namespace arenad
