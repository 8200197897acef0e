#include "allocator/heap/canaries.h"

#include <cstring>

#include "allocator/arena/arena.h"

namespace arenad {
namespace {

std::uint64_t canary_value(std::uint64_t offset) {
  return (offset + 0x9e3779b97f4a7c15) * 0xbf58476d1ce4e5b9;
}

}  // namespace

Canaries::Canaries(const Arena& arena)
    : arena_(arena), on_(arena.geometry().layout().canary_bytes != 0) {}

void Canaries::write(std::uint64_t offset, std::uint64_t usable) const {
  const std::uint64_t value = canary_value(offset);
  std::byte* const payload = arena_.data() + offset;
  std::memcpy(payload - 8, &value, 8);
  std::memcpy(payload - 16, &value, 8);
  std::memcpy(payload + usable, &value, 8);
}

bool Canaries::intact(std::uint64_t offset, std::uint64_t usable) const {
  const std::uint64_t value = canary_value(offset);
  const std::byte* const payload = arena_.data() + offset;
  return std::memcmp(payload - 8, &value, 8) == 0 && std::memcmp(payload - 16, &value, 8) == 0 &&
         std::memcmp(payload + usable, &value, 8) == 0;
}

bool Canaries::intact_at(Slot slot) const {
  // The shape may come from shared memory. The place it leads to is looked at only when it lies
  // inside the data file.
  const SlabShape shape = arena_.shape_of(slot.slab());
  const Geometry& geometry = arena_.geometry();
  const Layout& layout = geometry.layout();
  std::uint64_t offset = 0, usable = 0;
  if (shape.kind() == SlabKind::kSlab && shape.cls() < geometry.class_count()) {
    offset = geometry.payload_offset(shape.cls(), slot);
    usable = geometry.size_class(shape.cls()).usable_bytes;
  } else if (shape.kind() == SlabKind::kSpan && shape.units() != 0 &&
             shape.units() <= arena_.unit_count() - slot.slab().value) {
    offset = slot.slab().value * kSlabUnitBytes + layout.header_bytes;
    usable = shape.units() * kSlabUnitBytes - layout.header_bytes - layout.canary_bytes;
  } else {
    return true;
  }
  return offset + usable + layout.canary_bytes > arena_.capacity_bytes() || intact(offset, usable);
}

}  // namespace arenad
