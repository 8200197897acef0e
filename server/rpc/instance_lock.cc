#include "server/rpc/instance_lock.h"

#include <fmt/format.h>

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
  return FileLock::take(directory + "/arenad.lock", "socket directory " + directory,
                        "--socket-dir");
}

}  // namespace arenad::server
