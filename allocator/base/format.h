// Text for people: messages are made with fmt::format, sizes with bytes_text.
//
// Public headers must not include this file, because they must not need fmt.
// Threads: pure functions. Crash: nothing is shared.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>

#include "allocator/base/error.h"

namespace arenad {

// A size as an operator reads it: 1023 -> "1023 B", 1536 -> "1.5 KiB", 67108864 -> "64 MiB".
std::string bytes_text(std::uint64_t bytes);

// What failed, what the system says about `system_errno`, and the advice of `e`.
Failure system_failure(Error e, const std::string& what, int system_errno);

}  // namespace arenad
