// Sharing: SHARED words and whose their 48 bits are. Giving a share up is Heap::release (heap.cc),
// because the last one frees.
#include "allocator/arena/arena.h"
#include "allocator/base/crash_point.h"

namespace arenad {

std::uint64_t Arena::sharer_bits(SessionId session) const {
  const SharerTable& table = view_.sharers();
  std::uint64_t bits = 0;
  for (std::uint32_t i = 0; i < kMaxSharers; ++i)
    if (table.sessions[i].load(std::memory_order_acquire) == session.value)
      bits |= std::uint64_t{1} << i;
  return bits;
}

// Two threads of one session may claim a bit each: either stands for the session, and a word never
// has both.
std::uint64_t Arena::claim_sharer_bits(SessionId session) {
  if (const std::uint64_t bits = sharer_bits(session); bits != 0) return bits;
  SharerTable& table = view_.sharers();
  for (std::uint32_t i = 0; i < kMaxSharers; ++i) {
    std::uint32_t nobody = 0;
    if (table.sessions[i].load(std::memory_order_relaxed) != 0) continue;
    CRASH_POINT("share.claim");
    if (table.sessions[i].compare_exchange_strong(nobody, session.value, std::memory_order_acq_rel))
      return sharer_bits(session);
  }
  return 0;
}

Error Arena::share(UntrustedRef untrusted, SessionId session) {
  const auto ref = validate(untrusted);
  if (!ref) return ref.error();
  const std::uint64_t mine = claim_sharer_bits(session);
  if (mine == 0) return Error::kSharersFull;
  if (attached()) touch(ref->slot().slab());
  AtomicWord& w = word(ref->slot());
  std::uint64_t bits = w.load(std::memory_order_acquire);
  for (;;) {
    const BlockWord seen{bits};
    const bool mine_held = seen.is_held() && seen.holder().session() == session;
    if (seen.generation() != ref->generation() || !(mine_held || seen.is_shared()))
      return refusal(*ref, session);
    if (seen.is_shared() && (seen.sharers() & mine) != 0) return Error::kNone;
    const std::uint64_t next =
        BlockWord::shared(bits, (seen.is_shared() ? seen.sharers() : 0) | (mine & -mine));
    CRASH_POINT("share.word");
    // acq_rel: what the sharers before wrote is seen, and a release that follows carries what this
    // one writes.
    if (w.compare_exchange_weak(bits, next, std::memory_order_acq_rel, std::memory_order_acquire))
      return Error::kNone;
  }
}

}  // namespace arenad
