// What HTTP/2 clients send, as bytes.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace arenad::server::testing_http2 {

inline const std::string kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

inline std::string frame(int type, int flags, const std::string& payload = {}) {
  const std::size_t n = payload.size();
  const std::string stream(4, '\1');
  return std::string{static_cast<char>(n >> 16), static_cast<char>(n >> 8), static_cast<char>(n),
                     static_cast<char>(type), static_cast<char>(flags)} +
         stream + payload;
}

inline std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

}  // namespace arenad::server::testing_http2
