// Messages of the service Heaps and the engine's plain types.
//
// Threads: pure functions. Crash: nothing is shared.
#pragma once

#include "arenad/v1/heaps.pb.h"
#include "server/core/api/api.h"
#include "server/rpc/services/wire_ids.h"

namespace arenad::server {

template <class Request>
LeaseCaller caller_from(const Request& request, ArenaId arena) {
  return {session_from(request.session()), arena, {request.epoch()}};
}

// Errors: kUnknownArena, kInvalidOption.
Answer<LeaseArgs> args_from(const v1::LeaseSlabsRequest& request);

// Errors: kInvalidOption.
Answer<ResumeArgs> args_from(const v1::ResumeRequest& request);

void fill(v1::LeaseSlabsResponse& response, const LeasedSlabs& leased);
void fill(v1::ReturnSlabsResponse& response, const ReturnedSlabs& returned);
void fill(v1::ResumeResponse& response, const ResumedLeases& resumed);

}  // namespace arenad::server
