#include "allocator/base/log.h"

#include <unistd.h>

#include <chrono>
#include <string>

namespace arenad {
namespace {

void to_stderr(std::string_view line) {
  std::string s(line);
  s += '\n';
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, s.data(), s.size());
}

std::atomic<LogSink> g_sink{&to_stderr};

}  // namespace

void set_log_sink(LogSink sink) { g_sink.store(sink != nullptr ? sink : &to_stderr); }
void log_line(std::string_view line) { g_sink.load()(line); }

bool RateLimit::allow() {
  const auto now =
      static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(
                                     std::chrono::steady_clock::now().time_since_epoch())
                                     .count());
  std::uint64_t second = second_.load(std::memory_order_relaxed);
  if (second != now && second_.compare_exchange_strong(second, now, std::memory_order_relaxed))
    used_.store(0, std::memory_order_relaxed);
  if (used_.fetch_add(1, std::memory_order_relaxed) < per_second_) return true;
  suppressed_.fetch_add(1, std::memory_order_relaxed);
  return false;
}

}  // namespace arenad
