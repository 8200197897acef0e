#include "allocator/arena/sharers.h"

#include "allocator/base/crash_point.h"

namespace arenad {

std::uint64_t Sharers::bits_of(SessionId session) const {
  std::uint64_t bits = 0;
  for (std::uint32_t i = 0; i < kMaxSharers; ++i)
    // acquire: pairs with the CAS in claim and the store in release.
    if (table_.sessions[i].load(std::memory_order_acquire) == session.value)
      bits |= std::uint64_t{1} << i;
  return bits;
}

std::uint64_t Sharers::claim(SessionId session) {
  if (const std::uint64_t bits = bits_of(session); bits != 0) return bits;
  for (auto& entry : table_.sessions) {
    std::uint32_t nobody = 0;
    if (entry.load(std::memory_order_relaxed) != 0) continue;
    CRASH_POINT("share.claim");
    if (entry.compare_exchange_strong(nobody, session.value, std::memory_order_acq_rel))
      return bits_of(session);
  }
  return 0;
}

void Sharers::release(SessionId session) {
  for (auto& entry : table_.sessions)
    if (entry.load(std::memory_order_relaxed) == session.value) {
      CRASH_POINT("forget.sharer");
      entry.store(0, std::memory_order_release);
    }
}

}  // namespace arenad
