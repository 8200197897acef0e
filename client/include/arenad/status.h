// Status and Answer: how calls of the client library report failure.
//
// Purpose: every call that can fail returns a Status, or an Answer<T>, which is a T or a Status.
//   The library throws nothing but std::bad_alloc, when the process has no private memory left.
// Invariants: a Status that is not ok has a message that says what to do. Its `reason` is
//   Error::kNone when arenad itself refused nothing: the daemon does not answer, a call ran out of
//   time, or the kernel refused a mapping.
// Errors: whoever uses the value of a failed Answer ends the program. The text of the failure is
//   the last line on stderr. Test ok() first.
// Threads: plain values. Crash: nothing is shared.
#pragma once

#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "arenad/allocator/base/error.h"
#include "arenad/allocator/base/export.h"

namespace arenad::client {

using arenad::Error;
using arenad::error_name;
using arenad::Result;

// The canonical gRPC codes, with gRPC's numbers.
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

// The code's name, for example "RESOURCE_EXHAUSTED"; never null.
ARENAD_API const char* code_name(Code code);

struct ARENAD_API [[nodiscard]] Status {
  Code code = Code::kOk;
  Error reason = Error::kNone;  // arenad's own reason; error_name(reason) is its name
  std::string message;          // sentences for people; empty when ok

  bool ok() const { return code == Code::kOk; }
  explicit operator bool() const { return ok(); }
  // A line for a log: "RESOURCE_EXHAUSTED (ARENA_FULL): message"; "OK" when ok.
  std::string text() const;
};

// The Status of every success; error() of a success refers to it.
ARENAD_API const Status& status_ok();

template <class T>
using Answer = Result<T, Status>;

// Writes the failure to stderr and aborts.
ARENAD_API [[noreturn, gnu::cold]] void value_of_failed_answer(const Status& failure) noexcept;

}  // namespace arenad::client

namespace arenad {

// A value or a Status, never both. A success constructs no Status, because a Status has a string:
// allocate() of a peer must not pay for one.
template <class T>
class [[nodiscard]] Result<T, client::Status> {
 public:
  // Implicit, so that functions return a T or a Status.
  Result(T value) : ok_(true) { std::construct_at(&value_, std::move(value)); }
  Result(client::Status error) : ok_(false) { std::construct_at(&error_, std::move(error)); }
  // Constructs the value in place.
  template <class... Parts>
  explicit Result(std::in_place_t, Parts&&... parts) : ok_(true) {
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
  // The value. Of a failure: ends the program with the failure's text. A caller that has tested
  // ok() does not pay for this second test: the compiler drops it.
  T& value() { return *checked(); }
  const T& value() const { return *checked(); }
  T& operator*() { return *checked(); }
  const T& operator*() const { return *checked(); }
  T* operator->() { return checked(); }
  const T* operator->() const { return checked(); }
  // Why there is no value; status_ok() of a success.
  const client::Status& error() const { return ok_ ? client::status_ok() : error_; }

 private:
  T* checked() {
    if (!ok_) [[unlikely]]
      client::value_of_failed_answer(error_);
    return &value_;
  }
  const T* checked() const {
    if (!ok_) [[unlikely]]
      client::value_of_failed_answer(error_);
    return &value_;
  }

  union {
    T value_;
    client::Status error_;
  };
  bool ok_;
};

}  // namespace arenad
