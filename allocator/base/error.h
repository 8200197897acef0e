// Errors as values for the whole project.
//
// Purpose: one enum of every reason to refuse, each with its canonical gRPC code; and Result<T>.
// Invariants: the numbers equal arenad.v1.Reason; the server asserts this. So a reason is the same
// word everywhere.
// Threads: pure values. Crash: nothing is shared.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "export.h"

namespace arenad {

enum class Error : std::uint8_t {
  kNone = 0,
  kInvalidSize = 1,
  kInvalidAlignment = 2,
  kInvalidCount = 3,
  kInvalidName = 4,
  kInvalidCapacity = 5,
  kInvalidOption = 6,
  kUnknownArena = 7,
  kUnknownSession = 8,
  kArenaExists = 9,
  kArenaFull = 10,
  kMachineFull = 11,
  kQuotaSession = 12,
  kQuotaDaemon = 13,
  kDoubleFree = 14,
  kStaleRef = 15,
  kForeignRef = 16,
  kNotHolder = 17,
  kNotAttached = 18,
  kReadOnly = 19,
  kBadToken = 20,
  kNotPermitted = 21,
  kArenaBusy = 22,
  kQuarantined = 23,
  kDraining = 24,
  kWaitExpired = 25,
  kModeUnavailable = 26,
  kInternal = 27,
  kSharersFull = 28,
  kForked = 29,
  kStaleEpoch = 30,
  kInvalidTag = 31,
  kBlocksHeld = 32,
  kEvicted = 33,
  kQuotaUser = 34,
  // The two below are never on the wire and never a user's. Their name and code are those of
  // kInternal. kCommitNeeded: a heap of the daemon needs memory that another thread must commit
  // first (Arena::commit_elsewhere). kLeaseNeeded: a heap of a peer needs a slab that must be
  // leased from the daemon first.
  kCommitNeeded = 254,
  kLeaseNeeded = 255,
};
inline constexpr Error kLastError = Error::kQuotaUser;  // the last one on the wire

// The reason's name without prefix, e.g. "DOUBLE_FREE"; what ErrorInfo.reason carries.
ARENAD_API const char* error_name(Error e);

// The canonical gRPC status code (google.rpc.Code) that `e` maps to; 0 for kNone.
ARENAD_API int error_code(Error e);

// One sentence that says what the caller should do. Messages put the particulars in front of it.
ARENAD_API const char* error_advice(Error e);

// An error with its particulars, for calls off the fast path.
struct Failure {
  Error error = Error::kNone;
  std::string message;
};

// Write the error's text to stderr and abort. A Result calls them when its value is used and it has
// none.
ARENAD_API [[noreturn, gnu::cold]] void value_of_failed_result(Error error) noexcept;
ARENAD_API [[noreturn, gnu::cold]] void value_of_failed_result(const Failure& failure) noexcept;

// A value or an error. E is Error on the fast path (two plain fields, so it stays in registers),
// Failure where a message is worth an allocation. T must be default constructible.
//
// Using the value of a failed Result ends the program with the error's text. A caller that has
// tested ok() does not pay for this second test: the compiler drops it.
template <class T, class E = Error>
class [[nodiscard]] Result {
 public:
  constexpr Result(T value) : value_(std::move(value)), ok_(true) {}   // NOLINT: implicit by design
  constexpr Result(E error) : error_(std::move(error)), ok_(false) {}  // NOLINT: implicit by design

  constexpr bool ok() const { return ok_; }
  constexpr explicit operator bool() const { return ok_; }
  constexpr T& value() { return *checked(); }
  constexpr const T& value() const { return *checked(); }
  constexpr T& operator*() { return *checked(); }
  constexpr const T& operator*() const { return *checked(); }
  constexpr T* operator->() { return checked(); }
  constexpr const T* operator->() const { return checked(); }
  constexpr const E& error() const { return error_; }

 private:
  constexpr T* checked() {
    if (!ok_) [[unlikely]]
      value_of_failed_result(error_);
    return &value_;
  }
  constexpr const T* checked() const {
    if (!ok_) [[unlikely]]
      value_of_failed_result(error_);
    return &value_;
  }

  T value_{};
  E error_{};
  bool ok_;
};

}  // namespace arenad
