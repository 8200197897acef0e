// ArenaConfig: what an arena is. ArenaFiles: where its files lie.
//
// Threads: pure values. Crash: nothing is shared.
#pragma once

#include <cstdint>
#include <string>

#include "../base/export.h"
#include "../format/geometry.h"
#include "../format/ids.h"

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
  bool holder_only = false;        // a free must name the holder
  bool map_data = true;            // map the data file here; embedders and canaries need it
  std::uint32_t max_heaps = 256;   // heap ids are 0..max_heaps-1; at most 4096
  MemoryBudget* budget = nullptr;  // asked before memory is committed; outlives the arena
};

// The three files of an arena that is to outlive its daemon. Data may lie on hugetlbfs. The other
// two lie on tmpfs.
struct ArenaFiles {
  std::string data_path;
  std::string control_path;
  std::string ledger_path;
};

}  // namespace arenad
