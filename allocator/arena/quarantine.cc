#include "allocator/arena/quarantine.h"

#include <memory>

namespace arenad {

void Quarantine::set(const std::string& reason) {
  set_.store(true, std::memory_order_relaxed);
  auto mine = std::make_unique<const std::string>(reason);
  const std::string* none = nullptr;
  if (reason_.compare_exchange_strong(none, mine.get(), std::memory_order_acq_rel))
    (void)mine.release();
}

std::string Quarantine::reason() const {
  const std::string* reason = reason_.load(std::memory_order_acquire);
  return reason != nullptr ? *reason : std::string();
}

}  // namespace arenad
