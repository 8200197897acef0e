#include "server/core/api/random.h"

#include <sys/random.h>

#include <cerrno>
#include <exception>

namespace arenad::server {
namespace {

bool fill(void* out, std::size_t bytes) {  // up to 256 bytes come in one piece, see getrandom(2)
  ssize_t got;
  do {
    got = ::getrandom(out, bytes, 0);
  } while (got < 0 && errno == EINTR);
  return got == static_cast<ssize_t>(bytes);
}

}  // namespace

bool random_works() {
  std::uint64_t value;
  return fill(&value, sizeof value);
}

std::uint64_t random_u64() {
  std::uint64_t value;
  if (!fill(&value, sizeof value)) std::terminate();
  return value;
}

TokenBytes random_token() {
  TokenBytes token;
  if (!fill(token.data(), token.size())) std::terminate();
  return token;
}

}  // namespace arenad::server
