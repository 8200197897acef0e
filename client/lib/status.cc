#include "arenad/status.h"

#include <cstdio>
#include <cstdlib>

#include "arenad/types.h"

namespace arenad::client {

const char* code_name(Code code) {
  switch (code) {
    case Code::kOk: return "OK";
    case Code::kCancelled: return "CANCELLED";
    case Code::kUnknown: return "UNKNOWN";
    case Code::kInvalidArgument: return "INVALID_ARGUMENT";
    case Code::kDeadlineExceeded: return "DEADLINE_EXCEEDED";
    case Code::kNotFound: return "NOT_FOUND";
    case Code::kAlreadyExists: return "ALREADY_EXISTS";
    case Code::kPermissionDenied: return "PERMISSION_DENIED";
    case Code::kResourceExhausted: return "RESOURCE_EXHAUSTED";
    case Code::kFailedPrecondition: return "FAILED_PRECONDITION";
    case Code::kAborted: return "ABORTED";
    case Code::kOutOfRange: return "OUT_OF_RANGE";
    case Code::kUnimplemented: return "UNIMPLEMENTED";
    case Code::kInternal: return "INTERNAL";
    case Code::kUnavailable: return "UNAVAILABLE";
    case Code::kDataLoss: return "DATA_LOSS";
    case Code::kUnauthenticated: return "UNAUTHENTICATED";
  }
  return "UNKNOWN";
}

const Status& status_ok() {
  static const Status ok;
  return ok;
}

void value_of_failed_answer(const Status& failure) noexcept {
  std::fprintf(stderr, "arenad: the program used the value of a failed Answer: %s\n",
               failure.text().c_str());
  std::abort();
}

std::string Status::text() const {
  if (ok()) return "OK";
  std::string text = code_name(code);
  if (reason != Error::kNone) text.append(" (").append(error_name(reason)).append(")");
  return text.append(": ").append(message);
}

const char* standing_name(SessionStanding standing) {
  switch (standing) {
    case SessionStanding::kConnected: return "connected";
    case SessionStanding::kReconnecting: return "reconnecting";
    case SessionStanding::kLost: return "lost";
    case SessionStanding::kClosed: return "closed";
    case SessionStanding::kEvicted: return "evicted";
  }
  return "unknown";
}

const char* block_state_name(BlockState state) {
  switch (state) {
    case BlockState::kUnknown: return "unknown";
    case BlockState::kFree: return "free";
    case BlockState::kHeld: return "held";
    case BlockState::kReturning: return "returning";
    case BlockState::kShared: return "shared";
    case BlockState::kStale: return "stale";
    case BlockState::kInvalid: return "invalid";
  }
  return "unknown";
}

}  // namespace arenad::client
