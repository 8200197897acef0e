// Guards over a heap's private state (ARENAD_GUARDS_PRIVATE): they abort with the predecessor's
// lines, for triage.
#include <vector>

#include "allocator/base/log.h"
#include "allocator/base/tunables.h"
#include "allocator/heap/heap.h"

namespace arenad {

SlabView Heap::view_of(const SlabState& s) const {
  SlabView v;
  v.cls = s.cls;
  v.slab = s.slab.value;
  v.base = s.slab.value * kSlabUnitBytes;
  v.slab_bytes = s.units * kSlabUnitBytes;
  v.stride = geometry_.size_class(s.cls).stride_bytes;
  v.capacity = s.capacity;
  v.carved = s.carved;
  v.used = s.out();
  return v;
}

void Heap::guard_carve(const SlabState& slab, std::uint32_t batch) const {
  const SlabView v = view_of(slab);
  if (const GuardVerdict g = check_carve(v, batch); g != GuardVerdict::kOk)
    guard_abort(v, batch_carve_line(v, batch), v.base + std::uint64_t{v.carved} * v.stride, g);
}

// The `count` entries above m.top, just taken from `slab`.
void Heap::guard_batch(const SlabState& slab, const Magazine& m, std::uint32_t count,
                       bool carved) const {
  const SlabView v = view_of(slab);
  std::vector<std::uint64_t> addresses;
  for (std::uint32_t i = 0; i < count; ++i)
    addresses.push_back(offset_of(m.top[i], v.stride) - header_bytes_);
  std::uint64_t offender = 0;
  const GuardVerdict g = check_splice(v, addresses, &offender);
  const std::string line = carved ? linear_carve_line(v, count)
                                  : splice_line(v, addresses.empty() ? 0 : addresses.front(),
                                                addresses.empty() ? 0 : addresses.back(), count);
  if (g != GuardVerdict::kOk) guard_abort(v, line, offender, g);
  for (std::uint32_t i = 0; i < count; ++i)
    if (!BlockWord(words_[m.top[i] & Ref::kSlotMask].load(std::memory_order_relaxed)).is_free())
      guard_abort(v, line, addresses[i], GuardVerdict::kWordNotFree);
  static RateLimit limit(20);
  if (tunables().p0_log.load(std::memory_order_relaxed) && limit.allow()) log_line(line);
}

}  // namespace arenad
