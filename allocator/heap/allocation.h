// Allocation: one allocated block, as a heap hands it out.
//
// Purpose: a ref and an offset, and the Result of them that fits in two registers.
// Threads: pure values. Crash: nothing is shared.
#pragma once

#include <cstdint>

#include "../base/error.h"
#include "../format/ids.h"

namespace arenad {

struct Allocation {
  Ref ref;
  std::uint64_t offset = 0;  // of the payload in the data file, bytes
};

// An Allocation or an error. A ref is never 0, because arena ids start at 1. So ref 0 marks the
// error, and the error lies where the offset would.
template <>
class [[nodiscard]] Result<Allocation, Error> {
 public:
  constexpr Result(Allocation got) : got_(got) {}  // NOLINT: implicit by design
  constexpr Result(Error error)
      : got_{Ref{0}, static_cast<std::uint64_t>(error)} {}  // NOLINT: implicit by design
  constexpr bool ok() const { return got_.ref.value != 0; }
  constexpr explicit operator bool() const { return ok(); }
  constexpr const Allocation& value() const { return *checked(); }
  constexpr const Allocation& operator*() const { return *checked(); }
  constexpr const Allocation* operator->() const { return checked(); }
  constexpr Error error() const { return static_cast<Error>(got_.offset); }

 private:
  constexpr const Allocation* checked() const {
    if (!ok()) [[unlikely]]
      value_of_failed_result(error());
    return &got_;
  }

  Allocation got_;
};

}  // namespace arenad
