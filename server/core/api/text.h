// Text: what the engine's messages are made of.
//
// Purpose: refuse() puts the particulars in front of the error's advice.
// Threads: pure functions. Crash: nothing is shared.
#pragma once

#include <cstdint>
#include <sstream>
#include <string>
#include <string_view>

#include "allocator/base/error.h"
#include "allocator/base/format.h"
#include "allocator/format/ids.h"

namespace arenad {

// Ids are written as numbers.
template <class Tag, class Rep>
std::ostream& operator<<(std::ostream& out, StrongId<Tag, Rep> id) {
  return out << id.value;
}

}  // namespace arenad

namespace arenad::server {

template <class... Parts>
std::string concat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return std::move(out).str();
}

// "<particulars>: <advice of e>"
template <class... Parts>
Failure refuse(Error e, const Parts&... particulars) {
  return {e, concat(particulars..., ": ", error_advice(e))};
}

// "0x" and 16 hex digits.
std::string ref_text(std::uint64_t ref);

// [A-Za-z0-9._-]{1,64}
bool valid_name(std::string_view name);

}  // namespace arenad::server
