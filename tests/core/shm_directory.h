// ShmDirectory: a directory of mode 0700 on tmpfs for the length of a test.
//
// Threads: one. Crash: it stays in /dev/shm.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

namespace arenad::server {

class ShmDirectory {
 public:
  ShmDirectory() : path_("/dev/shm/arenad-test-XXXXXX") {
    if (::mkdtemp(path_.data()) == nullptr) std::abort();
  }
  ~ShmDirectory() { std::filesystem::remove_all(path_); }
  ShmDirectory(const ShmDirectory&) = delete;
  ShmDirectory& operator=(const ShmDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace arenad::server
