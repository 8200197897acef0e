// Errors as values of the client library.
//
// Purpose: Status (canonical code, arenad reason, message) and Answer<T>, a value or a Status.
// Nothing in this library
//   throws at its caller but for exhausted private memory (std::bad_alloc).
// Invariants: a Status that is not ok has a message that says what to do. `reason` is Error::kNone
// when the failure did not
//   come from arenad itself: the daemon is not there, the call ran out of time, the kernel refused
//   a mapping.
// Threads: pure values. Crash: nothing is shared.
#pragma once

#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "allocator/base/error.h"

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
  Error reason = Error::kNone;  // which of arenad's own refusals; error_name(reason) is its word
  std::string message;          // one or more sentences for people; empty when ok

  bool ok() const { return code == Code::kOk; }
  explicit operator bool() const { return ok(); }
  // "RESOURCE_EXHAUSTED (ARENA_FULL): message", for a log line. "OK" when ok.
  std::string text() const;
};

// What error() of a success is.
const Status& status_ok();

template <class T>
using Answer = Result<T, Status>;

}  // namespace arenad::client

namespace arenad {

// A value or a Status, never both: a success constructs no string, so that a peer's allocate costs
// nothing of it.
template <class T>
class [[nodiscard]] Result<T, client::Status> {
 public:
  Result(T value) : ok_(true) {
    std::construct_at(&value_, std::move(value));
  }  // NOLINT: implicit by design
  Result(client::Status error) : ok_(false) {
    std::construct_at(&error_, std::move(error));
  }  // NOLINT: implicit by design
  template <class... Parts>
  explicit Result(std::in_place_t, Parts&&... parts)
      : ok_(true) {  // makes the value where it stays
    std::construct_at(&value_, std::forward<Parts>(parts)...);
  }
  Result(Result&& o) noexcept(std::is_nothrow_move_constructible_v<T>) : ok_(o.ok_) {
    if (ok_) [[likely]]
      std::construct_at(&value_, std::move(o.value_));
    else
      std::construct_at(&error_, std::move(o.error_));
  }
  Result(const Result& o) requires std::is_copy_constructible_v<T> : ok_(o.ok_) {
    if (ok_)
      std::construct_at(&value_, o.value_);
    else
      std::construct_at(&error_, o.error_);
  }
  Result& operator=(Result o) noexcept(std::is_nothrow_move_constructible_v<T>) {
    std::destroy_at(this);
    return *std::construct_at(this, std::move(o));
  }
  ~Result() {
    if (ok_) [[likely]]
      std::destroy_at(&value_);
    else
      std::destroy_at(&error_);
  }

  bool ok() const { return ok_; }
  explicit operator bool() const { return ok_; }
  T& value() { return value_; }  // only of a success
  const T& value() const { return value_; }
  T& operator*() { return value_; }
  const T& operator*() const { return value_; }
  T* operator->() { return &value_; }
  const T* operator->() const { return &value_; }
  const client::Status& error() const { return ok_ ? client::status_ok() : error_; }

 private:
  union {
    T value_;
    client::Status error_;
  };
  bool ok_;
};

}  // namespace arenad
