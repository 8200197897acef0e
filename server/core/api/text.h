// Text: what the engine's messages are made of.
//
// Purpose: refuse() puts the particulars in front of the error's advice. An id is formatted as its
//   number.
// Threads: pure functions. Crash: nothing is shared.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "allocator/base/error.h"
#include "allocator/format/ids.h"

template <class Tag, class Rep>
struct fmt::formatter<arenad::StrongId<Tag, Rep>> : fmt::formatter<Rep> {
  template <class Context>
  auto format(arenad::StrongId<Tag, Rep> id, Context& context) const {
    return fmt::formatter<Rep>::format(id.value, context);
  }
};

namespace arenad::server {

// "<particulars>: <advice of e>"
Failure refuse(Error e, std::string_view particulars);

// Of a tag above Holder::kMaxTag.
Failure wrong_tag(std::uint32_t tag);

// Of letters that are no debug flags (allocator/format/debug_flags.h).
Failure unknown_debug(std::string_view letters);

// "0x" and 16 hex digits.
std::string ref_text(std::uint64_t ref);

// True for 1 to 64 characters of [A-Za-z0-9._-].
bool valid_name(std::string_view name);

}  // namespace arenad::server
