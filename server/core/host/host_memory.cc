#include "server/core/host/host_memory.h"

#include <fcntl.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <sstream>
#include <string_view>
#include <utility>

#include "allocator/base/format.h"
#include "allocator/base/unique_fd.h"

namespace arenad::server {
namespace {

// The names of one version's files.
struct Names {
  const char* limit;
  const char* usage;
  const char* inactive;  // in memory.stat: page cache that was not used lately, with descendants
  const char* active;
};
constexpr Names kV1{"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file",
                    "total_active_file"};
constexpr Names kV2{"memory.max", "memory.current", "inactive_file", "active_file"};
// Above memory.high the kernel slows every process of the cgroup down until nothing moves, and
// memory of an arena does not shrink by that.
constexpr Names kV2High{"memory.high", "memory.current", "inactive_file", "active_file"};

// v1 says "no limit" by a number near 2^63.
constexpr std::uint64_t kUnlimited = std::uint64_t{1} << 62;

std::string read_file(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text;
  std::array<char, 4096> part;
  for (;;) {
    const auto got = fd ? ::read(fd.get(), part.data(), part.size()) : 0;
    if (got <= 0) return text;
    text.append(part.data(), static_cast<std::size_t>(got));
  }
}

std::optional<std::uint64_t> number_at(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
  std::uint64_t value = 0;
  const auto [end, wrong] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (wrong != std::errc{}) return std::nullopt;
  return value;
}

// The number behind `key` at the start of a line: "MemAvailable:  17 kB", "inactive_file 17".
std::optional<std::uint64_t> number_of(const std::string& text, std::string_view key) {
  for (std::size_t at = text.find(key); at != std::string::npos; at = text.find(key, at + 1)) {
    const std::size_t end = at + key.size();
    const bool line_starts = at == 0 || text[at - 1] == '\n';
    if (line_starts && end < text.size() && (text[end] == ' ' || text[end] == ':'))
      return number_at(std::string_view(text).substr(end + 1));
  }
  return std::nullopt;
}

// mountinfo writes a blank as \040.
std::string unescaped(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && text.size() - i > 3) {
      plain +=
          static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + text[i + 3] - '0');
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

bool has_option(const std::string& options, std::string_view wanted) {
  std::istringstream in(options);
  for (std::string option; std::getline(in, option, ',');)
    if (option == wanted) return true;
  return false;
}

// Which cgroup this process is in. `text` is /proc/self/cgroup: "0::/a" is v2, "4:memory:/a" v1.
std::optional<std::string> cgroup_in(const std::string& text, bool v2) {
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string of = line.substr(first + 1, second - first - 1);
    if (v2 ? of.empty() : has_option(of, "memory")) return line.substr(second + 1);
  }
  return std::nullopt;
}

}  // namespace

HostMemory::HostMemory(std::string root) : root_(std::move(root)) { find_controllers(); }

// A line of mountinfo: id, parent, device, root, mount point, options, any number of fields, "-",
// type, source, options of the file system.
void HostMemory::find_controllers() {
  std::istringstream mounts(read_file(root_ + "/proc/self/mountinfo"));
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream in(line);
    std::string skipped, shown, mount, word, type, source, options;
    in >> skipped >> skipped >> skipped >> shown >> mount;
    while (in >> word && word != "-") {}
    in >> type >> source >> options;
    const bool v2 = type == "cgroup2";
    if (!v2 && (type != "cgroup" || !has_option(options, "memory"))) continue;
    controllers_.push_back({v2, unescaped(shown), unescaped(mount)});
  }
}

std::vector<MemoryBound> HostMemory::bounds() const {
  std::vector<MemoryBound> bounds;
  add_machine(bounds);
  const std::string cgroups = read_file(root_ + "/proc/self/cgroup");
  for (const Controller& of : controllers_) {
    const auto mine = cgroup_in(cgroups, of.v2);
    if (!mine) continue;
    // Where the mount shows a part of the tree only, the daemon's cgroup is below that part, or it
    // is the mount point itself.
    std::string below = *mine == "/" ? std::string() : *mine;
    if (of.shown != "/") {
      const bool inside = below.starts_with(of.shown) &&
                          (below.size() == of.shown.size() || below[of.shown.size()] == '/');
      below = inside ? below.substr(of.shown.size()) : std::string();
    }
    if (below.find("/..") != std::string::npos) below.clear();
    for (;;) {
      add_cgroup(of, of.mount + below, bounds);
      if (below.empty()) break;
      below.resize(below.rfind('/'));
    }
  }
  return bounds;
}

void HostMemory::add_machine(std::vector<MemoryBound>& bounds) const {
  const std::string text = read_file(root_ + "/proc/meminfo");
  const auto total = number_of(text, "MemTotal"), available = number_of(text, "MemAvailable");
  if (total && available)
    bounds.push_back({"the available memory of this machine", *total << 10, *available << 10});
}

void HostMemory::add_cgroup(const Controller& of, const std::string& directory,
                            std::vector<MemoryBound>& bounds) const {
  const auto add = [&](const Names& names) {
    const auto limit = number_at(read_file(root_ + directory + "/" + names.limit));
    const auto usage = number_at(read_file(root_ + directory + "/" + names.usage));
    if (!limit || !usage || *limit >= kUnlimited) return;  // "max" is no number
    std::uint64_t used = *usage;
    // The kernel takes some time to say what is cache. So it is asked only when that matters.
    if (used > *limit / 2) {
      const std::string stat = read_file(root_ + directory + "/memory.stat");
      const std::uint64_t cache = number_of(stat, names.inactive).value_or(0) +
                                  number_of(stat, names.active).value_or(0) / 2;
      used -= std::min(used, cache);
    }
    bounds.push_back({fmt::format("the memory limit of cgroup {} ({})", directory, names.limit),
                      *limit, *limit - std::min(used, *limit)});
  };
  if (of.v2) add(kV2High);
  add(of.v2 ? kV2 : kV1);
}

MemoryBound file_system_bound(int fd) {
  struct statfs fs;
  if (fd < 0 || ::fstatfs(fd, &fs) != 0 || fs.f_blocks == 0) return {};
  std::array<char, 4096> path{};
  const auto length =
      ::readlink(fmt::format("/proc/self/fd/{}", fd).c_str(), path.data(), path.size() - 1);
  const auto block_bytes = static_cast<std::uint64_t>(fs.f_bsize);
  return {fmt::format("the file system of {}", length > 0 ? path.data() : "the arena's files"),
          fs.f_blocks * block_bytes, fs.f_bavail * block_bytes};
}

}  // namespace arenad::server
