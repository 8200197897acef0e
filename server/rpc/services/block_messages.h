// Messages of the service Blocks and the engine's plain types, both ways.
//
// Purpose: the unary calls and Exchange both use these conversions.
// Threads: pure functions. Crash: nothing is shared.
#pragma once

#include <vector>

#include "arenad/v1/blocks.pb.h"
#include "server/core/api/api.h"
#include "server/rpc/services/wire_ids.h"

namespace arenad::server {

AllocateArgs args_from(const v1::AllocateRequest& request, SessionKey session, ArenaId arena);

void fill(v1::AllocateResponse& response, const AllocatedBlocks& blocks);
void fill(v1::FreeResponse& response, const PerRefAnswer& answer);
void fill(v1::AcquireResponse& response, const PerRefAnswer& answer);
void fill(v1::ShareResponse& response, const PerRefAnswer& answer);
void fill(v1::ReleaseResponse& response, const PerRefAnswer& answer);
// `refs` are those of the request, in order.
void fill(v1::DescribeResponse& response, const std::vector<BlockFacts>& infos, UntrustedRefs refs);
void fill(v1::ExchangeError& error, const Failure& failure);

}  // namespace arenad::server
