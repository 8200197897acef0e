// Errors as values of the client library.
//
// Purpose: Status (canonical code, arenad reason, message) and Answer<T>, a value or a Status. Nothing in this library
//   throws at its caller but for exhausted private memory (std::bad_alloc).
// Invariants: a Status that is not ok has a message that says what to do. `reason` is Error::kNone when the failure did not
//   come from arenad itself: the daemon is not there, the call ran out of time, the kernel refused a mapping.
// Threads: pure values. Crash: nothing is shared.
#pragma once

#include <string>

#include "allocator/error.h"

namespace arenad::client {

// The canonical gRPC codes, under their own numbers.
enum class Code : int {
  kOk = 0,
  kCancelled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
  kUnauthenticated = 16,
};

// "RESOURCE_EXHAUSTED"; never null.
const char* code_name(Code code);

struct [[nodiscard]] Status {
  Code code = Code::kOk;
  Error reason = Error::kNone;   // which of arenad's own refusals; error_name(reason) is its word
  std::string message;           // one or more sentences for people; empty when ok

  bool ok() const { return code == Code::kOk; }
  explicit operator bool() const { return ok(); }
  // "RESOURCE_EXHAUSTED (ARENA_FULL): message", for a log line. "OK" when ok.
  std::string text() const;
};

template <class T>
using Answer = Result<T, Status>;

}  // namespace arenad::client
