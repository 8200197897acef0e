#include "server/rpc/instance_lock.h"

#include <filesystem>

#include "server/core/api/text.h"

namespace arenad::server {

Answer<FileLock> lock_socket_directory(const std::string& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) {
    return Failure{Error::kInvalidOption,
                   concat("cannot make the socket directory ", directory, ": ", error.message(),
                          ": make it yourself, or choose another with --socket-dir")};
  }
  return FileLock::take(directory + "/arenad.lock", concat("socket directory ", directory),
                        "--socket-dir");
}

}  // namespace arenad::server
