#include "allocator/heap/private_guards.h"

#include <vector>

#include "allocator/base/log.h"
#include "allocator/base/tunables.h"
#include "allocator/format/ref_layout.h"

namespace arenad {
namespace {

SlabView view_of(const SlabState& s) {
  SlabView v;
  v.cls = s.cls;
  v.slab = s.slab;
  v.base = s.slab.value * kSlabUnitBytes;
  v.slab_bytes = s.bytes();
  v.stride = static_cast<std::uint32_t>(s.stride_bytes);
  v.capacity = s.capacity;
  v.carved = s.carved;
  v.used = s.out();
  return v;
}

}  // namespace

bool PrivateGuards::on() { return tunables().guards_private.load(std::memory_order_relaxed); }

void PrivateGuards::check_carve(const SlabState& slab, std::uint32_t batch) const {
  const SlabView v = view_of(slab);
  if (const GuardVerdict g = arenad::check_carve(v, batch); g != GuardVerdict::kOk)
    guard_abort(v, batch_carve_line(v, batch), v.base + std::uint64_t{v.carved} * v.stride, g);
}

void PrivateGuards::check_batch(const SlabState& slab, std::span<const std::uint64_t> entries,
                                bool carved) const {
  const SlabView v = view_of(slab);
  const auto count = static_cast<std::uint32_t>(entries.size());
  std::vector<std::uint64_t> addresses;
  for (const std::uint64_t entry : entries)
    addresses.push_back(rows_.offset_of(entry, v.stride) - header_bytes_);
  std::uint64_t offender = 0;
  const GuardVerdict g = check_splice(v, addresses, &offender);
  const std::string line = carved ? linear_carve_line(v, count)
                                  : splice_line(v, addresses.empty() ? 0 : addresses.front(),
                                                addresses.empty() ? 0 : addresses.back(), count);
  if (g != GuardVerdict::kOk) guard_abort(v, line, offender, g);
  for (std::size_t i = 0; i < entries.size(); ++i)
    // relaxed: only this heap changes a FREE word, so there is nothing to order.
    if (!BlockWord(
             words_[RefLayout::slot_of_entry(entries[i]).value].load(std::memory_order_relaxed))
             .is_free())
      guard_abort(v, line, addresses[i], GuardVerdict::kWordNotFree);
  static RateLimit limit(20);
  if (tunables().p0_log.load(std::memory_order_relaxed) && limit.allow()) log_line(line);
}

void PrivateGuards::freed_twice(const SlabState& slab, std::uint64_t entry) const {
  const SlabView v = view_of(slab);
  guard_abort(v, guard_mode_line(), rows_.offset_of(entry, v.stride), GuardVerdict::kTwiceInBatch);
}

}  // namespace arenad
