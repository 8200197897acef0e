#include "server/core/state/file_watch.h"

#include <sys/stat.h>

namespace arenad::server {

FileWatch::FileId FileWatch::id_of(const std::string& path) {
  struct stat st;
  if (::lstat(path.c_str(), &st) != 0) return {};
  return {st.st_dev, st.st_ino};
}

void FileWatch::add(const std::string& path) { files_[path] = id_of(path); }

bool FileWatch::stands(const std::string& path) const {
  const auto known = files_.find(path);
  return known != files_.end() && known->second.inode != 0 && known->second == id_of(path);
}

}  // namespace arenad::server
