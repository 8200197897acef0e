#include "server/core/host/numa_nodes.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace arenad::server {

Answer<NumaPolicy> MachineNodes::policy_of(const std::string& arena,
                                           const std::string& text) const {
  const auto policy = NumaPolicy::parse(text);
  const bool there = policy && (policy->kind != NumaPolicy::Kind::kNode || nodes_.empty() ||
                                std::ranges::find(nodes_, policy->node) != nodes_.end());
  if (there) return *policy;
  return Failure{
      Error::kInvalidOption,
      fmt::format("numa '{}' for arena '{}': give 'interleave' or the number of a NUMA node; {}",
                  text.substr(0, 80), arena,
                  nodes_.empty() ? std::string("nodes are 0 to 63")
                                 : fmt::format("nodes with memory for arenad are {}",
                                               fmt::join(nodes_, ", ")))};
}

NumaNodes MachineNodes::all() const {
  NumaNodes mask = 0;
  for (const unsigned node : nodes_)
    if (node < kMaxNumaNodes) mask |= NumaNodes{1} << node;
  return mask == 0 ? ~NumaNodes{0} : mask;
}

std::string MachineNodes::no_effect(NumaPolicy policy) const {
  if (policy == NumaPolicy{} || nodes_.size() != 1) return {};
  return fmt::format("no effect: node {} is the only NUMA node with memory for arenad",
                     nodes_.front());
}

}  // namespace arenad::server
