// Failures as gRPC statuses.
//
// Purpose: canonical code, message and google.rpc.ErrorInfo (domain "arenad") from a Failure.
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

}  // namespace arenad::server
