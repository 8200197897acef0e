// LogLines: what the allocator logs while a test runs.
//
// Threads: any may log. Crash: private to the test.
#pragma once

#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "allocator/base/log.h"

namespace arenad {

class LogLines {
 public:
  LogLines() {
    take();
    set_log_sink([](std::string_view line) {
      const std::lock_guard lock(mutex());
      kept().emplace_back(line);
    });
  }
  ~LogLines() { set_log_sink(nullptr); }
  LogLines(const LogLines&) = delete;
  LogLines& operator=(const LogLines&) = delete;

  // The lines since the last call.
  static std::vector<std::string> take() {
    const std::lock_guard lock(mutex());
    return std::exchange(kept(), {});
  }
  // The same for a test that expects one line; empty when there is none.
  static std::string take_one() {
    const auto lines = take();
    std::string all;
    for (const std::string& line : lines) all += (all.empty() ? "" : "\n") + line;
    return all;
  }

 private:
  static std::mutex& mutex() {
    static std::mutex m;
    return m;
  }
  static std::vector<std::string>& kept() {
    static std::vector<std::string> lines;
    return lines;
  }
};

}  // namespace arenad
