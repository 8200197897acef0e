// NumaNodes of the machine: which there are, and what an arena's option `numa` means on them.
//
// Purpose: turns the text of a request into a policy, and says when the policy has no effect here.
// Invariants: the list does not change while the daemon runs.
// Threads: immutable. Crash: nothing is shared.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "allocator/base/error.h"
#include "allocator/format/numa_policy.h"
#include "server/core/api/common.h"

namespace arenad::server {

class MachineNodes {
 public:
  // Nodes that have memory, and that this process may use. Empty: nobody knows; then the kernel
  // decides about each request.
  explicit MachineNodes(std::vector<unsigned> nodes = {}) : nodes_(std::move(nodes)) {}

  // Errors: kInvalidOption, with the nodes that there are.
  Answer<NumaPolicy> policy_of(const std::string& arena, const std::string& text) const;
  // For kInterleave.
  NumaNodes all() const;
  // Why the policy makes no difference on this machine. Empty: it makes one.
  std::string no_effect(NumaPolicy policy) const;

 private:
  std::vector<unsigned> nodes_;
};

}  // namespace arenad::server
