// OffsetPtr<T>: a pointer that means the same in every process, wherever the arena is mapped.
//
// Purpose: links between structures in an arena. The pointer stores the distance from itself to its
//   target. So pointer and target must lie in the same arena, or both in one process: a copy on the
//   stack works in that process. get() gives a plain T*.
// Invariants: the distance 1 means null. No pointer needs this distance: its target would start one
//   byte into the pointer itself. A copy keeps the target, not the distance, so never copy an
//   OffsetPtr with memcpy.
// Standard containers: OffsetPtr is a fancy pointer, and arenad/pmr.h says what works with it.
// Threads, crash: as of a plain pointer in shared memory.
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
  // Implicit, as the conversions of a plain pointer are.
  OffsetPtr(std::nullptr_t) {}
  OffsetPtr(T* to) { set(to); }
  OffsetPtr(const OffsetPtr& o) { set(o.get()); }
  template <class U>
  requires std::is_convertible_v<U*, T*> OffsetPtr(const OffsetPtr<U>& o) { set(o.get()); }
  // static_cast back from void, or from a base.
  template <class U>
  requires(!std::is_convertible_v<U*, T*> &&
           requires(U * u) { static_cast<T*>(u); }) explicit OffsetPtr(const OffsetPtr<U>& o) {
    set(static_cast<T*>(o.get()));
  }
  OffsetPtr& operator=(const OffsetPtr& o) {
    set(o.get());
    return *this;
  }

  T* get() const {
    if (distance_ == kNull) return nullptr;
    // Arithmetic on the number: for the compiler pointer and target are different objects.
    const std::uintptr_t target =
        reinterpret_cast<std::uintptr_t>(this) + static_cast<std::uintptr_t>(distance_);
    return reinterpret_cast<T*>(target);  // NOLINT(performance-no-int-to-ptr)
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
