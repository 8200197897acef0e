#include "tests/support/huge_mapped.h"

#include <charconv>
#include <fstream>
#include <sstream>
#include <string>

namespace arenad::test {
namespace {

// "7f0000000000-7f0000400000 rw-s ..." begins a mapping, "Rss:  8 kB" does not.
bool begins_mapping(const std::string& line, std::uintptr_t& first) {
  const std::size_t dash = line.find('-');
  if (dash == std::string::npos) return false;
  const auto [end, error] = std::from_chars(line.data(), line.data() + dash, first, 16);
  return error == std::errc() && end == line.data() + dash;
}

}  // namespace

void touch_all(std::span<const std::byte> mapped) {
  for (std::size_t at = 0; at < mapped.size(); at += 4096)
    (void)*static_cast<const volatile std::byte*>(&mapped[at]);
}

std::uint64_t huge_mapped_bytes(std::span<const std::byte> mapped) {
  const auto base = reinterpret_cast<std::uintptr_t>(mapped.data());
  std::uint64_t bytes = 0;
  bool inside = false;
  std::ifstream smaps("/proc/self/smaps");
  for (std::string line; std::getline(smaps, line);) {
    if (std::uintptr_t first = 0; begins_mapping(line, first)) {
      inside = first >= base && first < base + mapped.size();
      continue;
    }
    std::istringstream words(line);
    std::string name;
    std::uint64_t kib = 0;
    if (inside && words >> name >> kib && (name == "ShmemPmdMapped:" || name == "FilePmdMapped:"))
      bytes += kib << 10;
  }
  return bytes;
}

}  // namespace arenad::test
