// ArenaConfig: what an arena is. ArenaFiles: where its files lie.
//
// Threads: pure values. Crash: nothing is shared.
#pragma once

#include <cstdint>
#include <string>

#include "../base/error.h"
#include "../base/export.h"
#include "../format/debug_flags.h"
#include "../format/geometry.h"
#include "../format/ids.h"
#include "../format/numa_policy.h"

namespace arenad {

class MemoryBudget;

inline constexpr std::uint64_t kMaxArenaBytes = std::uint64_t{1} << 42;  // 4 TiB

struct ARENAD_API ArenaConfig {
  ArenaId id{1};               // 1..1023; part of every ref. Living arenas of one owner must differ
  std::string name = "arena";  // for logs, and the memfd's name
  std::uint64_t capacity_bytes = 0;  // rounded up to 2 MiB; at most kMaxArenaBytes
  Layout layout = Layout::plain();
  // The generation that blocks begin with, below RefLayout::generations() (4,194,304 up to 32 GiB).
  // 0: a random one, also each time that the arena is opened. So a ref that is left from another
  // arena of the same id is most likely stale here.
  std::uint32_t first_generation = 0;
  bool holder_only = false;  // a free must name the holder
  // What is committed is never given back to the system, so a block's pages stay the same as long
  // as the arena lives. Its owner commits all of it before anybody uses it (Arena::commit_whole).
  bool pinned = false;
  bool zero = false;   // every block that is handed out reads as zeros
  bool scrub = false;  // a block's bytes are overwritten when it was freed or its session has ended
  bool lock = false;   // pinned only: commit_whole locks the data into memory, too
  // Data is committed in huge pages where the kernel makes some, else in small ones.
  // Arena::huge_bytes says what came of it.
  bool huge_pages = false;
  NumaPolicy numa;  // where data lies; Arena::numa_refusal says when the kernel did not take it
  NumaNodes numa_nodes = ~NumaNodes{0};  // of kInterleave, for create; those that there are count
  // Which mistakes of its users the arena looks for. Z and U need a layout of their own, so
  // `layout` follows from them. P goes neither with zero nor with scrub.
  DebugFlags debug;
  bool map_data = true;            // map the data file here; embedders need it
  std::uint32_t max_heaps = 256;   // heap ids are 0..max_heaps-1; at most 4096
  MemoryBudget* budget = nullptr;  // asked before memory is committed; outlives the arena
};

// The options as bits, for the headers of an arena's control file and ledger. No bit has a second
// meaning, and a reader knows all of them: they change with kLayoutVersion.
enum ArenaOptionBit : std::uint32_t {
  kHolderOnlyBit = 1,
  kPinnedBit = 2,
  kLockBit = 4,
  kZeroBit = 8,
  kScrubBit = 16,
  kHugePagesBit = 1 << 16,
  kNumaInterleaveBit = 1 << 17,
  kNumaNodeBit = 1 << 18,  // the node is in the kNumaNodeMask bits
};
inline constexpr int kNumaNodeShift = 24;
inline constexpr std::uint32_t kNumaNodeMask = (kMaxNumaNodes - 1) << kNumaNodeShift;
inline constexpr int kDebugShift = 8;  // of DebugFlags::bits
inline constexpr std::uint32_t kArenaOptionBits = 31 | kDebugBits << kDebugShift | kHugePagesBit |
                                                  kNumaInterleaveBit | kNumaNodeBit | kNumaNodeMask;

constexpr std::uint32_t numa_bits(NumaPolicy p) {
  if (p.kind == NumaPolicy::Kind::kInterleave) return kNumaInterleaveBit;
  if (p.kind == NumaPolicy::Kind::kDefault) return 0;
  return kNumaNodeBit | std::uint32_t{p.node} << kNumaNodeShift;
}
constexpr NumaPolicy numa_of_bits(std::uint32_t bits) {
  if ((bits & kNumaInterleaveBit) != 0) return {NumaPolicy::Kind::kInterleave, 0};
  if ((bits & kNumaNodeBit) == 0) return {};
  return {NumaPolicy::Kind::kNode,
          static_cast<std::uint8_t>((bits & kNumaNodeMask) >> kNumaNodeShift)};
}

constexpr std::uint32_t option_bits(const ArenaConfig& c) {
  return (c.holder_only ? kHolderOnlyBit : 0u) | (c.pinned ? kPinnedBit : 0u) |
         (c.lock ? kLockBit : 0u) | (c.zero ? kZeroBit : 0u) | (c.scrub ? kScrubBit : 0u) |
         c.debug.bits() << kDebugShift | (c.huge_pages ? kHugePagesBit : 0u) | numa_bits(c.numa);
}
constexpr void set_options(ArenaConfig& c, std::uint32_t bits) {
  c.holder_only = (bits & kHolderOnlyBit) != 0;
  c.pinned = (bits & kPinnedBit) != 0;
  c.lock = (bits & kLockBit) != 0;
  c.zero = (bits & kZeroBit) != 0;
  c.scrub = (bits & kScrubBit) != 0;
  c.debug = DebugFlags::of_bits(bits >> kDebugShift);
  c.huge_pages = (bits & kHugePagesBit) != 0;
  c.numa = numa_of_bits(bits);
}
// Whether the owner must map the data: to lock it, to write to it, or to say what pages it gets.
constexpr bool needs_data(const ArenaConfig& c) {
  return c.lock || c.zero || c.scrub || c.debug.poison || c.debug.take_space() || c.huge_pages ||
         c.numa != NumaPolicy{};
}
// P fills payloads with bytes of its own.
constexpr bool fills_twice(std::uint32_t bits) {
  return DebugFlags::of_bits(bits >> kDebugShift).poison && (bits & (kZeroBit | kScrubBit)) != 0;
}
// Whether the bits are known, and may be set together.
constexpr bool possible_options(std::uint32_t bits) {
  return (bits & ~kArenaOptionBits) == 0 && !fills_twice(bits) &&
         ((bits & kLockBit) == 0 || (bits & kPinnedBit) != 0) &&
         numa_bits(numa_of_bits(bits)) ==
             (bits & (kNumaInterleaveBit | kNumaNodeBit | kNumaNodeMask));
}

// The capacity that an arena gets: a multiple of the superslab.
std::uint64_t rounded_capacity(std::uint64_t capacity_bytes);
// What is wrong with the configuration of a new arena. Errors: kNone, kInvalidCapacity,
// kInvalidOption, kInvalidName.
Failure check_config(const ArenaConfig& c);

// The three files of an arena that is to outlive its daemon. Data may lie on hugetlbfs. The other
// two lie on tmpfs.
struct ArenaFiles {
  std::string data_path;
  std::string control_path;
  std::string ledger_path;
};

}  // namespace arenad
