#include "server/core/api/text.h"

namespace arenad::server {

Failure refuse(Error e, std::string_view particulars) {
  return {e, fmt::format("{}: {}", particulars, error_advice(e))};
}

Failure wrong_tag(std::uint32_t tag) {
  return refuse(Error::kInvalidTag, fmt::format("tag {}", tag));
}

Failure unknown_debug(std::string_view letters) {
  return {Error::kInvalidOption,
          fmt::format("debug '{}': give some of the letters F, Z, P and U, each at most once",
                      letters.substr(0, 80))};
}

std::string ref_text(std::uint64_t ref) { return fmt::format("0x{:016x}", ref); }

bool valid_name(std::string_view name) {
  if (name.empty() || name.size() > 64) return false;
  for (const char c : name) {
    const bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!word && c != '.' && c != '_' && c != '-') return false;
  }
  return true;
}

}  // namespace arenad::server
