#include "server/rpc/config/values.h"

#include <arpa/inet.h>
#include <grp.h>

#include <bit>
#include <charconv>
#include <iterator>
#include <limits>

#include "server/core/api/principal.h"

namespace arenad::server {
namespace {

struct SizeUnit {
  std::string_view name;
  int shift;
};
constexpr SizeUnit kSizeUnits[] = {{"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"TiB", 40},
                                   {"K", 10},   {"M", 20},   {"G", 30},   {"T", 40}};

}  // namespace

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const auto first = static_cast<unsigned char>(text.front());
    // Bytes of this character: as many as the first byte has leading ones.
    const int ones = std::countl_one(first);
    const std::size_t bytes = ones == 0 ? 1 : static_cast<std::size_t>(ones);
    if (ones == 1 || ones > 4 || bytes > text.size()) return false;
    std::uint32_t code = first & (ones == 0 ? 0x7fu : 0x7fu >> ones);
    for (const char c : text.substr(1, bytes - 1)) {
      const auto byte = static_cast<unsigned char>(c);
      if (byte >> 6 != 0b10) return false;
      code = code << 6 | (byte & 0x3f);
    }
    constexpr std::uint32_t kFirstOf[] = {0, 0, 0x80, 0x800, 0x10000};  // by number of bytes
    const bool surrogate = code >= 0xd800 && code < 0xe000;
    if (code < kFirstOf[bytes] || code > 0x10ffff || surrogate) return false;
    text.remove_prefix(bytes);
  }
  return true;
}

std::optional<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<std::uint64_t> parse_size(std::string_view text) {
  int shift = 0;
  for (const SizeUnit& unit : kSizeUnits) {
    if (!text.ends_with(unit.name)) continue;
    text.remove_suffix(unit.name.size());
    shift = unit.shift;
    break;
  }
  const auto value = parse_number(text);
  if (!value || *value > std::numeric_limits<std::uint64_t>::max() >> shift) return std::nullopt;
  return *value << shift;
}

std::string size_text(std::uint64_t bytes) {
  constexpr const char* kUnits[] = {"", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  for (; bytes != 0 && bytes % 1024 == 0 && unit + 1 < std::size(kUnits); ++unit) bytes /= 1024;
  return std::to_string(bytes) + kUnits[unit];
}

std::optional<std::uint32_t> parse_mode(std::string_view text) {
  std::uint32_t mode = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), mode, 8);
  if (error != std::errc{} || end != text.data() + text.size() || mode == 0 || mode > 0777)
    return std::nullopt;
  return mode;
}

std::optional<std::uint32_t> parse_group(const std::string& text) {
  if (const auto number = parse_number(text)) {
    if (*number >= Principal::kNoUser) return std::nullopt;
    return static_cast<std::uint32_t>(*number);
  }
  // getgrnam's answer is in memory of its own.
  const struct group* const found = ::getgrnam(text.c_str());
  if (found == nullptr) return std::nullopt;
  return found->gr_gid;
}

std::optional<bool> parse_switch(std::string_view text) {
  if (text == "true" || text == "1" || text == "on") return true;
  if (text == "false" || text == "0" || text == "off") return false;
  return std::nullopt;
}

std::optional<HostPort> parse_host_port(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) {
    host.remove_prefix(1);
    host.remove_suffix(1);
  } else if (host.find(':') != std::string_view::npos) {
    return std::nullopt;  // an IPv6 address needs brackets
  }
  const auto port = parse_number(text.substr(colon + 1));
  if (host.empty() || !port || *port > 65535) return std::nullopt;
  return HostPort{std::string(host), static_cast<std::uint16_t>(*port)};
}

bool is_loopback(const std::string& host) {
  if (host == "localhost" || host == "::1") return true;
  in_addr v4;
  return ::inet_pton(AF_INET, host.c_str(), &v4) == 1 && (ntohl(v4.s_addr) >> 24) == 127;
}

}  // namespace arenad::server
