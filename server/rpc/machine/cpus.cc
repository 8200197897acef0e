#include "server/rpc/machine/cpus.h"

#include <sched.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace arenad::server {

std::vector<int> allowed_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cpus;
  if (::sched_getaffinity(0, sizeof set, &set) == 0) {
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
      if (CPU_ISSET(static_cast<std::size_t>(cpu), &set)) cpus.push_back(cpu);
  }
  if (cpus.empty()) cpus.push_back(0);
  return cpus;
}

unsigned cgroup_cpus(const std::string& proc_cgroup, const std::string& root) {
  std::istringstream lines(proc_cgroup);
  std::filesystem::path group;
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with("0::/")) group = line.substr(4);  // the unified hierarchy
  double least = 0;
  for (;; group = group.parent_path()) {
    std::ifstream file(std::filesystem::path(root) / group / "cpu.max");
    std::string quota;
    double period_us = 0;
    if (file >> quota >> period_us && quota != "max" && period_us > 0) {
      const double cpus = std::strtod(quota.c_str(), nullptr) / period_us;
      if (cpus > 0 && (least == 0 || cpus < least)) least = cpus;
    }
    if (group.empty()) break;
  }
  return static_cast<unsigned>(std::ceil(least));
}

unsigned cgroup_cpus() {
  std::ifstream file("/proc/self/cgroup");
  std::ostringstream text;
  text << file.rdbuf();
  return cgroup_cpus(text.str(), "/sys/fs/cgroup");
}

}  // namespace arenad::server
