#include "server/rpc/services/wire_ids.h"

#include <limits>

#include "allocator/base/format.h"
#include "server/core/api/text.h"

namespace arenad::server {
namespace {

template <class Id>
constexpr bool fits(std::uint32_t wire) {
  return wire <= std::numeric_limits<decltype(Id::value)>::max();
}

}  // namespace

SessionId session_id_from(std::uint32_t wire) {
  return fits<SessionId>(wire) ? SessionId{static_cast<std::uint16_t>(wire)} : kNoSession;
}

SessionKey session_from(const v1::SessionKey& key) {
  return {session_id_from(key.id()), key.secret()};
}

Answer<ArenaId> arena_from(std::uint32_t wire) {
  if (!fits<ArenaId>(wire))
    return refuse(Error::kUnknownArena, fmt::format("arena id {} does not exist", wire));
  return ArenaId{static_cast<std::uint16_t>(wire)};
}

Answer<HeapId> heap_from(std::uint32_t wire) {
  if (!fits<HeapId>(wire)) {
    return Failure{Error::kInvalidOption,
                   fmt::format("heap {} does not exist: name one that OpenHeap gave", wire)};
  }
  return HeapId{static_cast<std::uint16_t>(wire)};
}

Answer<std::vector<HeapId>> heaps_from(const google::protobuf::RepeatedField<std::uint32_t>& wire) {
  std::vector<HeapId> heaps;
  heaps.reserve(static_cast<std::size_t>(wire.size()));
  for (const std::uint32_t number : wire) {
    const auto heap = heap_from(number);
    if (!heap.ok()) return heap.error();
    heaps.push_back(*heap);
  }
  return heaps;
}

Answer<ClassId> class_from(std::uint32_t wire) {
  if (!fits<ClassId>(wire)) {
    return Failure{Error::kInvalidOption,
                   fmt::format("size class {} does not exist: name one of the arena's classes, or "
                               "{} for a span",
                               wire, kSpanClass)};
  }
  return ClassId{static_cast<std::uint8_t>(wire)};
}

std::vector<SlabIndex> slabs_from(const google::protobuf::RepeatedField<std::uint32_t>& wire) {
  std::vector<SlabIndex> slabs;
  slabs.reserve(static_cast<std::size_t>(wire.size()));
  for (const std::uint32_t number : wire) slabs.push_back({number});
  return slabs;
}

void add_slabs(google::protobuf::RepeatedField<std::uint32_t>& wire,
               std::span<const SlabIndex> slabs) {
  wire.Reserve(wire.size() + static_cast<int>(slabs.size()));
  for (const SlabIndex slab : slabs) wire.AddAlreadyReserved(slab.value);
}

}  // namespace arenad::server
