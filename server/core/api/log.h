// Log: what an operator should know, one line at a time.
//
// Purpose: the engine writes no log of its own. It gives each line, with a level, to its owner.
// Invariants: what an operator must act on, or may lose memory by, is at least a warning.
// Threads: any thread of the engine; one line may come while another is being written.
// Crash: nothing is shared.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace arenad::server {

enum class LogLevel : std::uint8_t {
  kInfo,     // what the daemon does
  kWarning,  // the daemon does less than was asked of it
  kError,    // damage, or loss: an arena is quarantined, a file is damaged or gone
};

using Log = std::function<void(LogLevel, const std::string&)>;

}  // namespace arenad::server
