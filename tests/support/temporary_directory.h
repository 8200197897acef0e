// TemporaryDirectory: a directory of mode 0700 that is removed with all its files.
//
// Threads: one. Crash: the directory stays.
#pragma once

#include <string>

namespace arenad::test {

// A tmpfs, as a state directory must be.
constexpr const char* kMemoryFiles = "/dev/shm";

class TemporaryDirectory {
 public:
  // `parent`: empty for the machine's directory of temporary files.
  explicit TemporaryDirectory(const std::string& parent = "");
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::string& path() const { return path_; }
  // Writes a file there and returns its path.
  std::string file(const std::string& name, const std::string& text) const;

 private:
  std::string path_;
};

// All bytes of a file; empty when there is no such file.
std::string text_of_file(const std::string& path);

}  // namespace arenad::test
