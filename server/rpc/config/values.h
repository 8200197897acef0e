// Values of configuration keys, as people write them.
//
// Threads: pure functions. Crash: nothing is shared.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace arenad::server {

// Whether a TOML file can say it: well formed UTF-8.
bool is_utf8(std::string_view text);

// Decimal digits and nothing else.
std::optional<std::uint64_t> parse_number(std::string_view text);

// Bytes: "1073741824", "1GiB" or "1G". Units are powers of 1024.
std::optional<std::uint64_t> parse_size(std::string_view text);
// The shortest text that parse_size reads back: "4TiB", "1000".
std::string size_text(std::uint64_t bytes);

// Permission bits in octal, as of a file: "0660". 0 gives nobody anything and is no mode.
std::optional<std::uint32_t> parse_mode(std::string_view text);

// A group of this system, by name or by number. Threads: before others run (getgrnam).
std::optional<std::uint32_t> parse_group(const std::string& text);

// true, 1, on; false, 0, off.
std::optional<bool> parse_switch(std::string_view text);

struct HostPort {
  std::string host;  // without brackets
  std::uint16_t port = 0;
};
// "host:port", "[v6]:port".
std::optional<HostPort> parse_host_port(std::string_view text);

// True for an address that no other host reaches.
bool is_loopback(const std::string& host);

}  // namespace arenad::server
