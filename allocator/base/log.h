// Where the allocator's few log lines go: to a sink that the embedder sets.
//
// Threads: any thread may log and ask the limiter. set_log_sink is called before heaps work.
// Crash: nothing is shared.
#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>

#include "export.h"

namespace arenad {

using LogSink = void (*)(std::string_view line);

// Default: one write(2) of the line to standard error. nullptr restores it.
ARENAD_API void set_log_sink(LogSink sink);
ARENAD_API void log_line(std::string_view line);

// At most `per_second` true answers a second; suppressed() tells and resets how many were refused
// since the last true.
class ARENAD_API RateLimit {
 public:
  explicit RateLimit(std::uint32_t per_second) : per_second_(per_second) {}
  bool allow();
  std::uint64_t suppressed() { return suppressed_.exchange(0, std::memory_order_relaxed); }

 private:
  const std::uint32_t per_second_;
  std::atomic<std::uint64_t> second_{0};
  std::atomic<std::uint32_t> used_{0};
  std::atomic<std::uint64_t> suppressed_{0};
};

}  // namespace arenad
