// NumaPolicy: on which NUMA nodes the data of an arena is to lie.
//
// Purpose: the policy as a value and as a text, and how the kernel is told and asked. The kernel
// keeps the policy with the file. So the policy holds for every process that touches the file's
// memory, and for memory that fallocate takes.
// Threads: pure values, and functions of one system call. Crash: the policy stays with the file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "../base/export.h"

namespace arenad {

inline constexpr unsigned kMaxNumaNodes = 64;  // nodes are 0..63
using NumaNodes = std::uint64_t;               // a bit for each node

struct ARENAD_API NumaPolicy {
  enum class Kind : std::uint8_t {
    kDefault = 0,     // the kernel decides: the node of the thread that commits
    kInterleave = 1,  // page by page over all nodes; huge page by huge page in huge pages
    kNode = 2,        // on `node`, and elsewhere once that node is full
  };
  Kind kind = Kind::kDefault;
  std::uint8_t node = 0;  // of kNode; else 0

  bool operator==(const NumaPolicy&) const = default;
  // "", "interleave", or the number of the node.
  std::string text() const;
  // Of such a text. None when the text is something else.
  static std::optional<NumaPolicy> parse(std::string_view text);
};

// Sets the policy of a file that is mapped there, before it has memory. `nodes` are those that
// kInterleave uses. Returns why the kernel did not take the policy; empty: it did.
ARENAD_API std::string set_numa_policy(std::byte* base, std::uint64_t bytes, NumaPolicy policy,
                                       NumaNodes nodes);

// What the kernel says of the memory that is mapped there. None: it says nothing (its error, or a
// seccomp filter of a container).
struct NumaState {
  NumaPolicy policy;
  NumaNodes nodes = 0;  // of kInterleave
};
ARENAD_API std::optional<NumaState> numa_state(const std::byte* base);
// Of a file that an earlier process has made: why it does not have `wanted`. Empty: it has.
ARENAD_API std::string numa_policy_lacks(const std::byte* base, NumaPolicy wanted);

}  // namespace arenad
