// Quarantine: whether an arena's control memory was found to be wrong, and why.
//
// Invariants: once set, it stays set. The first reason wins.
// Threads: any, without locks. Crash: private memory; nothing to recover.
#pragma once

#include <atomic>
#include <concepts>
#include <string>

#include "../base/export.h"

namespace arenad {

class ARENAD_API Quarantine {
 public:
  Quarantine() = default;
  Quarantine(const Quarantine&) = delete;
  Quarantine& operator=(const Quarantine&) = delete;
  ~Quarantine() { delete reason_.load(std::memory_order_relaxed); }

  bool is_set() const { return set_.load(std::memory_order_relaxed); }
  void set(const std::string& reason);
  // `reason` makes the text, and is called only while there is none: whoever finds damage may find
  // it in each of millions of words.
  template <std::invocable Reason>
  void set(const Reason& reason) {
    if (reason_.load(std::memory_order_relaxed) == nullptr) set(std::string(reason()));
  }
  std::string reason() const;  // empty when not set

 private:
  std::atomic<bool> set_{false};  // a hint for allocations; orders nothing
  // Owned. Set once, by a CAS that pairs with the acquire in reason().
  std::atomic<const std::string*> reason_{nullptr};
};

}  // namespace arenad
