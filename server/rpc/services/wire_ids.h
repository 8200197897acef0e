// Ids of the wire and the engine's ids.
//
// Purpose: the one place that turns numbers of a request into the engine's ids. The wire's numbers
//   are wider than the ids, so each is checked against the range of its id here.
// Invariants: a number that is out of range is never cut to one that is in range.
// Threads: pure functions. Crash: nothing is shared.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "arenad/v1/blocks.pb.h"
#include "arenad/v1/sessions.pb.h"
#include "server/core/api/common.h"
#include "server/core/api/data_plane.h"

namespace arenad::server {

// A number that is no session's becomes kNoSession. The control thread refuses it.
SessionId session_id_from(std::uint32_t wire);
// The same for a key. Nobody has the key of kNoSession.
SessionKey session_from(const v1::SessionKey& key);

// Errors: kUnknownArena.
Answer<ArenaId> arena_from(std::uint32_t wire);

// Errors: kInvalidOption.
Answer<HeapId> heap_from(std::uint32_t wire);
Answer<std::vector<HeapId>> heaps_from(const google::protobuf::RepeatedField<std::uint32_t>& wire);

// Errors: kInvalidOption.
Answer<ClassId> class_from(std::uint32_t wire);

// Every 32-bit number is a SlabIndex. The engine compares it with the size of the arena.
std::vector<SlabIndex> slabs_from(const google::protobuf::RepeatedField<std::uint32_t>& wire);
void add_slabs(google::protobuf::RepeatedField<std::uint32_t>& wire,
               std::span<const SlabIndex> slabs);

inline FreeScope scope_of(const v1::FreeRequest& request) {
  return request.only_held() ? FreeScope::kOwn : FreeScope::kAll;
}

// The refs stay where the request has them.
inline UntrustedRefs refs_of(const google::protobuf::RepeatedField<std::uint64_t>& refs) {
  return std::span<const std::uint64_t>(refs.data(), static_cast<std::size_t>(refs.size()));
}

}  // namespace arenad::server
