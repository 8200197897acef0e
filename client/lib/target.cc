#include "client/lib/target.h"

#include <cstdlib>
#include <filesystem>
#include <system_error>

namespace arenad::client {
namespace {

constexpr std::string_view kUnix = "unix:";

Target socket_file(const std::filesystem::path& path) {
  std::error_code ignored;
  std::filesystem::path whole = std::filesystem::absolute(path, ignored).lexically_normal();
  if (ignored) whole = path;
  return {std::string(kUnix) + whole.string(), whole.parent_path().string()};
}

bool looks_like_path(std::string_view text) {
  if (text.front() == '/' || text.front() == '.') return true;
  // "run/sockets" is a path, "localhost:7470" and "dns:///host" are not.
  return text.find(':') == std::string_view::npos;
}

std::string_view without_scheme(std::string_view address) {
  if (!address.starts_with(kUnix)) return address;
  address.remove_prefix(kUnix.size());
  if (address.starts_with("//")) address.remove_prefix(2);
  return address;
}

std::filesystem::path parent(std::string_view path) {
  return std::filesystem::path(path).lexically_normal().parent_path();
}

}  // namespace

Target parse_target(std::string_view text) {
  if (text.empty()) {
    // A program that changes its environment while other threads connect is wrong already.
    const char* variable = std::getenv("ARENAD_SOCKET");
    text = variable != nullptr && *variable != '\0' ? variable : "/run/arenad";
  }
  if (text.starts_with(kUnix)) return socket_file(std::filesystem::path(without_scheme(text)));
  if (!looks_like_path(text)) return {std::string(text), {}};
  std::filesystem::path path(text);
  if (path.extension() != ".sock") path /= "arenad.sock";
  return socket_file(path);
}

std::string rebase(const Target& target, std::string_view common_address,
                   std::string_view address) {
  if (target.directory.empty()) return std::string(address);
  const std::string_view path = without_scheme(address);
  if (!path.starts_with('/') || parent(path) != parent(without_scheme(common_address)))
    return std::string(address);
  const bool scheme = address.starts_with(kUnix);
  return (scheme ? std::string(kUnix) : std::string()) +
         (std::filesystem::path(target.directory) / std::filesystem::path(path).filename())
             .string();
}

}  // namespace arenad::client
