#include "server/rpc/instance_lock.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

namespace arenad::server {

Answer<FileLock> lock_socket_directory(const std::string& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) {
    return Failure{
        Error::kInvalidOption,
        fmt::format("cannot make the socket directory {}: {}: make the directory, or choose "
                    "another with --socket-dir",
                    directory, error.message())};
  }
  struct stat st;
  const bool known = ::stat(directory.c_str(), &st) == 0;
  const auto refused = [&directory](const std::string& why) {
    return Failure{Error::kInvalidOption,
                   fmt::format("the socket directory {} {}: whoever may write there can put "
                               "another daemon's sockets in place of these. {}",
                               directory, why,
                               "Give arenad a directory of its own with mode 0755, with "
                               "--socket-dir")};
  };
  if (known && st.st_uid != ::geteuid() && st.st_uid != 0)
    return refused(fmt::format("belongs to user {}", st.st_uid));
  if (known && (st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
    return refused(fmt::format("has mode 0{:03o}", st.st_mode & 07777));
  return FileLock::take(directory + "/arenad.lock", "socket directory " + directory,
                        "--socket-dir");
}

}  // namespace arenad::server
