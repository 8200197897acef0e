// Conversion between arenad.v1 messages and the library's values. Private: includes protobuf and
// gRPC headers.
//
// Purpose: the one place where wire and values meet.
// Invariants: a message is checked for its shape (counts that must agree) before it becomes a
//   value.
// Threads: pure functions. Crash: nothing is shared.
#pragma once

#include <grpcpp/support/status.h>

#include <cstdint>
#include <span>
#include <vector>

#include "arenad/types.h"
#include "arenad/v1/arenas.pb.h"
#include "arenad/v1/blocks.pb.h"

namespace arenad::client {

// The reason is read from google.rpc.ErrorInfo in the details.
Status from_grpc(const ::grpc::Status& status);
// The same status. When nobody has answered, gRPC's own text comes after what to do.
Status away_explained(Status status);
Status not_attached();              // of a default-constructed handle, client or session
Status bad_tag(std::uint32_t tag);  // a tag above kMaxTag
Status bad_count();                 // a request for no block at all

ArenaInfo from_wire(const v1::Arena& arena);
BlockInfo from_wire(const v1::BlockInfo& info);
Status from_wire(const v1::ExchangeError& error);

// Appends the blocks. INTERNAL when the lists of the response have different lengths.
Status append(const v1::AllocateResponse& response, std::vector<AllocatedBlock>& blocks);

// Adds a response's count and its bad refs to `answer`. `first_index` is the index of the request's
// first ref in the caller's list.
template <class Response>
void append(const Response& response, std::uint64_t done, std::uint32_t first_index,
            BatchAnswer& answer) {
  answer.done += done;
  for (const v1::RefError& e : response.errors()) {
    const bool known = e.reason() <= static_cast<int>(kLastError);
    answer.errors.push_back({first_index + e.index(),
                             Ref{e.ref()},
                             {static_cast<Code>(e.code()),
                              known ? static_cast<Error>(e.reason()) : Error::kNone, e.message()}});
  }
}

void to_wire(const AllocateOptions& options, v1::AllocateRequest& request);

template <class Request>
void set_refs(std::span<const Ref> refs, Request& request) {
  request.mutable_refs()->Reserve(static_cast<int>(refs.size()));
  for (const Ref ref : refs) request.mutable_refs()->AddAlreadyReserved(ref.value);
}

}  // namespace arenad::client
