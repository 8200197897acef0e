// Canaries: known bytes around each payload in the data file, written at allocation and compared at
// free.
//
// The value depends on the block's place, so that a copied neighbour does not pass for it.
#include <cstring>

#include "allocator/heap/heap.h"

namespace arenad {
namespace {

std::uint64_t canary_value(std::uint64_t offset) {
  return (offset + 0x9e3779b97f4a7c15) * 0xbf58476d1ce4e5b9;
}

}  // namespace

void Heap::write_canary(std::uint64_t offset, std::uint64_t usable) {
  const std::uint64_t value = canary_value(offset);
  std::byte* const payload = arena_.data() + offset;
  std::memcpy(payload - 8, &value, 8);
  std::memcpy(payload - 16, &value, 8);
  std::memcpy(payload + usable, &value, 8);
}

bool Heap::canary_intact(std::uint64_t offset, std::uint64_t usable) const {
  const std::uint64_t value = canary_value(offset);
  const std::byte* const payload = arena_.data() + offset;
  return std::memcmp(payload - 8, &value, 8) == 0 && std::memcmp(payload - 16, &value, 8) == 0 &&
         std::memcmp(payload + usable, &value, 8) == 0;
}

void Heap::check_remote_canary(Slot slot) {
  // The shape is shared memory's: what it leads to is looked at only where it lies inside the data
  // file.
  const SlabShape shape = arena_.shape_of(slot.slab());
  const Layout& l = geometry_.layout();
  std::uint64_t offset = 0, usable = 0;
  if (shape.kind() == SlabKind::kSlab && shape.cls() < geometry_.class_count()) {
    const SizeClass& sc = geometry_.size_class(shape.cls());
    offset = geometry_.payload_offset(shape.cls(), slot);
    usable = sc.usable_bytes;
  } else if (shape.kind() == SlabKind::kSpan && shape.units() != 0 &&
             shape.units() <= arena_.unit_count() - slot.slab().value) {
    offset = slot.slab().value * kSlabUnitBytes + header_bytes_;
    usable = shape.units() * kSlabUnitBytes - l.header_bytes - l.canary_bytes;
  } else {
    return;
  }
  if (offset + usable + l.canary_bytes > arena_.capacity_bytes()) return;
  if (!canary_intact(offset, usable)) ++counters_.canary_damaged;
}

}  // namespace arenad
