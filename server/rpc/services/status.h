// A Failure as a gRPC status.
//
// Purpose: makes the canonical code, the message and google.rpc.ErrorInfo (domain "arenad").
// Threads: pure functions. Crash: nothing is shared.
#pragma once

#include <string>

#include "allocator/base/error.h"

namespace grpc {
class Status;
}

namespace arenad::server {

inline constexpr char kErrorDomain[] = "arenad";

grpc::Status status_from(const Failure& failure);

// The number of an error's reason (arenad.v1.Reason) on the wire. An error that is not for the wire
// goes out as INTERNAL.
constexpr int reason_number(Error error) {
  return static_cast<int>(error <= kLastError ? error : Error::kInternal);
}

}  // namespace arenad::server
