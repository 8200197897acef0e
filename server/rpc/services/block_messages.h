// Messages of the service Blocks and the engine's plain types, both ways.
//
// Purpose: the unary calls and Exchange both use these conversions.
// Threads: pure functions. Crash: nothing is shared.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "arenad/v1/blocks.pb.h"
#include "server/core/api/api.h"

namespace arenad::server {

// Ids of the wire are wider than ours: what does not fit is nobody's id.
inline SessionKey session_from(const v1::SessionKey& key) {
  return {key.id() <= 0xffff ? static_cast<std::uint16_t>(key.id()) : std::uint16_t{0},
          key.secret()};
}

inline std::span<const std::uint64_t> refs_of(
    const google::protobuf::RepeatedField<std::uint64_t>& refs) {
  return {refs.data(), static_cast<std::size_t>(refs.size())};
}

AllocateArgs args_from(const v1::AllocateRequest& request, SessionKey session);

void fill(v1::AllocateResponse& response, const AllocatedBlocks& blocks);
void fill(v1::FreeResponse& response, const PerRefAnswer& answer);
void fill(v1::AcquireResponse& response, const PerRefAnswer& answer);
void fill(v1::ShareResponse& response, const PerRefAnswer& answer);
void fill(v1::ReleaseResponse& response, const PerRefAnswer& answer);
// `refs` are those of the request, in order.
void fill(v1::DescribeResponse& response, const std::vector<BlockFacts>& infos,
          std::span<const std::uint64_t> refs);
void fill(v1::ExchangeError& error, const Failure& failure);

}  // namespace arenad::server
