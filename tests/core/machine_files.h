// MachineFiles: a machine for HostMemory, in files.
//
// Threads: any may read; the test writes. Crash: a test's.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

#include "tests/support/temporary_directory.h"

namespace arenad::server {

// A machine without cgroups. The files say how much memory it has.
class MachineFiles {
 public:
  explicit MachineFiles(std::uint64_t bytes) { set(bytes); }
  void set(std::uint64_t bytes) const {
    std::filesystem::create_directories(root_.path() + "/proc");
    const std::string kib = std::to_string(bytes / 1024);
    const std::string file = root_.path() + "/proc/meminfo";
    std::ofstream(file + ".new") << "MemTotal: " + kib + " kB\nMemAvailable: " + kib + " kB\n";
    std::filesystem::rename(file + ".new", file);
  }
  const std::string& root() const { return root_.path(); }

 private:
  test::TemporaryDirectory root_;
};

}  // namespace arenad::server
