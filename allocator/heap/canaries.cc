#include "allocator/heap/canaries.h"

#include <cstring>

#include "allocator/arena/arena_view.h"

namespace arenad {
namespace {

std::uint64_t canary_value(std::uint64_t offset) {
  return (offset + 0x9e3779b97f4a7c15) * 0xbf58476d1ce4e5b9;
}

}  // namespace

Canaries::Canaries(const ArenaView& arena)
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
  const RunShape shape = arena_.run_at(slot.slab());
  const Geometry& geometry = arena_.geometry();
  if (shape.kind == SlabKind::kNone) return true;
  const std::uint64_t offset = geometry.payload_offset(shape, slot);
  const std::uint64_t end = offset + shape.usable_bytes + geometry.layout().canary_bytes;
  return end > arena_.capacity_bytes() || intact(offset, shape.usable_bytes);
}

}  // namespace arenad
