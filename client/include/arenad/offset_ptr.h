// OffsetPtr<T>: a pointer that means the same in every process that maps an arena, wherever it is
// mapped.
//
// Purpose: structures in an arena: it stores the distance from itself to its target, so both must
// lie in the same arena, or
//   be in one process: a copy on the stack works there, and get() gives a plain T*.
// Invariants: null is the distance 1, which no pointer needs (a target one byte into the pointer
// itself). Copies keep the target,
//   not the distance, so it must never be copied with memcpy.
// With the standard library: it is a fancy pointer. libstdc++ 12 keeps fancy pointers in
// std::vector (that is tested), and raw
//   ones inside its nodes (list, map, unordered_map): those containers work in an arena for the
//   process that made them only.
// Threads and crash: as of a plain pointer in shared memory.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <type_traits>

namespace arenad::client {

template <class T>
class OffsetPtr {
 public:
  using element_type = T;
  using value_type = std::remove_cv_t<T>;
  using difference_type = std::ptrdiff_t;
  using pointer = OffsetPtr;
  using reference = std::add_lvalue_reference_t<T>;
  using iterator_category = std::random_access_iterator_tag;
  template <class U>
  using rebind = OffsetPtr<U>;

  OffsetPtr() = default;
  OffsetPtr(std::nullptr_t) {}   // NOLINT: as a plain pointer
  OffsetPtr(T* to) { set(to); }  // NOLINT
  OffsetPtr(const OffsetPtr& o) { set(o.get()); }
  template <class U>
  requires std::is_convertible_v<U*, T*> OffsetPtr(const OffsetPtr<U>& o) {
    set(o.get());
  }                   // NOLINT
  template <class U>  // the way back from void and from a base, by static_cast
  requires(!std::is_convertible_v<U*, T*> &&
           requires(U * u) { static_cast<T*>(u); }) explicit OffsetPtr(const OffsetPtr<U>& o) {
    set(static_cast<T*>(o.get()));
  }
  OffsetPtr& operator=(const OffsetPtr& o) {
    set(o.get());
    return *this;
  }

  T* get() const {
    return distance_ == kNull ? nullptr
                              : reinterpret_cast<T*>(reinterpret_cast<std::uintptr_t>(this) +
                                                     static_cast<std::uintptr_t>(distance_));
  }
  explicit operator bool() const { return distance_ != kNull; }
  T* operator->() const { return get(); }
  reference operator*() const requires(!std::is_void_v<T>) { return *get(); }
  reference operator[](difference_type i) const requires(!std::is_void_v<T>) { return get()[i]; }
  template <class U = T>
  requires(!std::is_void_v<U>) static OffsetPtr pointer_to(U& to) {
    return OffsetPtr(std::addressof(to));
  }

  OffsetPtr& operator+=(difference_type n) { return *this = OffsetPtr(get() + n); }
  OffsetPtr& operator-=(difference_type n) { return *this = OffsetPtr(get() - n); }
  OffsetPtr& operator++() { return *this += 1; }
  OffsetPtr& operator--() { return *this -= 1; }
  OffsetPtr operator++(int) {
    const OffsetPtr before = *this;
    ++*this;
    return before;
  }
  OffsetPtr operator--(int) {
    const OffsetPtr before = *this;
    --*this;
    return before;
  }
  friend OffsetPtr operator+(const OffsetPtr& p, difference_type n) {
    return OffsetPtr(p.get() + n);
  }
  friend OffsetPtr operator+(difference_type n, const OffsetPtr& p) {
    return OffsetPtr(p.get() + n);
  }
  friend OffsetPtr operator-(const OffsetPtr& p, difference_type n) {
    return OffsetPtr(p.get() - n);
  }
  friend difference_type operator-(const OffsetPtr& a, const OffsetPtr& b) {
    return a.get() - b.get();
  }
  friend bool operator==(const OffsetPtr& a, const OffsetPtr& b) { return a.get() == b.get(); }
  friend bool operator==(const OffsetPtr& a, std::nullptr_t) { return !a; }
  friend auto operator<=>(const OffsetPtr& a, const OffsetPtr& b) {
    return std::compare_three_way{}(a.get(), b.get());
  }

 private:
  static constexpr std::int64_t kNull = 1;

  void set(T* to) {
    distance_ = to == nullptr ? kNull
                              : static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(to) -
                                                          reinterpret_cast<std::uintptr_t>(this));
  }

  std::int64_t distance_ = kNull;
};

}  // namespace arenad::client
