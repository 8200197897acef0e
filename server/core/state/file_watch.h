// FileWatch: whether files are still where they were made.
//
// Purpose: a clean-up program may remove files that a daemon has mapped. The mappings stay, so the
//   daemon notices nothing, but the next daemon finds nothing.
// Invariants: an inode that somebody has open is not used again. So another file at the same path
//   has another number.
// Threads: one thread. Crash: private memory; files are only looked at.
#pragma once

#include <sys/types.h>

#include <map>
#include <string>

namespace arenad::server {

class FileWatch {
 public:
  // Remembers the file that is at `path` now. The caller keeps that file open or mapped.
  void add(const std::string& path);
  void drop(const std::string& path) { files_.erase(path); }
  // Whether `path` leads to the file that was there at add().
  bool stands(const std::string& path) const;

 private:
  struct FileId {
    dev_t device = 0;
    ino_t inode = 0;  // 0: there is no file
    friend bool operator==(const FileId&, const FileId&) = default;
  };
  static FileId id_of(const std::string& path);

  std::map<std::string, FileId> files_;  // by path
};

}  // namespace arenad::server
