#include "allocator/format/numa_policy.h"

#include <linux/mempolicy.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "allocator/base/format.h"

namespace arenad {
namespace {

// The kernel wants to know how many bits there are, and counts one more.
constexpr unsigned long kBits = kMaxNumaNodes + 1;
// A kernel that knows more nodes than the caller has room for answers EINVAL. 1024 is its most.
constexpr unsigned long kMostBits = 1024 + 1;

}  // namespace

std::string NumaPolicy::text() const {
  if (kind == Kind::kInterleave) return "interleave";
  return kind == Kind::kNode ? std::to_string(node) : std::string();
}

std::optional<NumaPolicy> NumaPolicy::parse(std::string_view text) {
  if (text.empty()) return NumaPolicy{};
  if (text == "interleave") return NumaPolicy{Kind::kInterleave, 0};
  std::uint8_t node = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), node);
  if (error != std::errc() || end != text.data() + text.size() || node >= kMaxNumaNodes)
    return std::nullopt;
  return NumaPolicy{Kind::kNode, node};
}

// MPOL_PREFERRED and not MPOL_BIND: a node that is full would be an OOM kill, although other nodes
// have memory.
std::string set_numa_policy(std::byte* base, std::uint64_t bytes, NumaPolicy policy,
                            NumaNodes nodes) {
  if (policy.kind == NumaPolicy::Kind::kDefault) return {};
  const bool one = policy.kind == NumaPolicy::Kind::kNode;
  const NumaNodes mask = one ? NumaNodes{1} << policy.node : nodes;
  if (::syscall(SYS_mbind, base, bytes, one ? MPOL_PREFERRED : MPOL_INTERLEAVE, &mask, kBits, 0u) ==
      0)
    return {};
  const int why = errno;
  return fmt::format("the kernel did not take the policy (mbind: {}){}", std::strerror(why),
                     why == EPERM || why == ENOSYS
                         ? "; the filter of a container may forbid it: give it CAP_SYS_NICE"
                         : "");
}

std::optional<NumaState> numa_state(const std::byte* base) {
  int mode = 0;
  std::array<NumaNodes, (kMostBits - 1) / 64> mask{};
  if (::syscall(SYS_get_mempolicy, &mode, mask.data(), kMostBits, base, MPOL_F_ADDR) != 0)
    return std::nullopt;
  if (mode == MPOL_INTERLEAVE) return NumaState{{NumaPolicy::Kind::kInterleave, 0}, mask[0]};
  if (mode == MPOL_PREFERRED && mask[0] != 0)
    return NumaState{
        {NumaPolicy::Kind::kNode, static_cast<std::uint8_t>(std::countr_zero(mask[0]))}, 0};
  return NumaState{};
}

std::string numa_policy_lacks(const std::byte* base, NumaPolicy wanted) {
  if (wanted == NumaPolicy{}) return {};
  const auto state = numa_state(base);
  return state && state->policy == wanted
             ? std::string()
             : "the kernel did not take the policy when the arena was created";
}

}  // namespace arenad
