// Limits: what one daemon serves at most.
//
// A limit with `user` in its name is one for each user. Those of heaps, of sharers and of waiting
// calls hold for administrators, too.
//
// Purpose: one table says everything about a limit: name, unit, default, bounds and help text. The
// table makes the fields of Limits, and it drives configuration keys, --help and the check at
// start. A new limit is one new row.
// Threads: values. Crash: nothing is shared.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "allocator/arena/arena.h"

namespace arenad::server {

// Heap ids of an arena: shards have those below the first of peers.
inline constexpr HeapId kFirstPeerHeap{256};
inline constexpr std::uint32_t kHeapIds = 2048;
// Each shard has one heap id in each arena.
inline constexpr std::uint32_t kMaxShards = kFirstPeerHeap.value;

inline constexpr std::uint64_t kNoBound = ~std::uint64_t{0};

// (type, name of the field, unit, default, min, max, help)
#define ARENAD_LIMITS(ROW)                                                              \
  ROW(std::uint32_t, max_sessions, "", 4096, 1, 65534, "sessions at a time")            \
  ROW(std::uint32_t, max_arenas, "", 256, 1, kMaxArenaId, "arenas at a time")           \
  ROW(std::uint64_t, max_arena_bytes, "bytes", kMaxArenaBytes, 1, kMaxArenaBytes,       \
      "capacity of one arena")                                                          \
  ROW(std::uint64_t, max_total_bytes, "bytes", 0, 0, kNoBound,                          \
      "memory that all arenas may have committed together; 0: chosen at start, "        \
      "80 % of what the machine, the daemon's cgroups and the file system of "          \
      "state_dir can give; payload on hugetlbfs does not count")                        \
  ROW(std::uint64_t, max_total_capacity_bytes, "bytes", 0, 0, kNoBound,                 \
      "sum of the capacities of all arenas; 0: no limit, because arenas take "          \
      "memory only as they are used")                                                   \
  ROW(std::uint64_t, max_session_bytes, "bytes", 0, 0, kNoBound,                        \
      "what one session may hold or lease; 0: no limit")                                \
  ROW(std::uint64_t, max_user_bytes, "bytes", 0, 0, kNoBound,                           \
      "what the sessions of one user may hold and lease together; 0: chosen at start, " \
      "half of max_total_bytes")                                                        \
  ROW(std::uint32_t, max_user_connections, "", 1024, 1, 1'000'000,                      \
      "connections of one user to the Unix sockets; never more than half of what the "  \
      "daemon has file descriptors for")                                                \
  ROW(std::uint32_t, max_user_sessions, "", 1024, 1, 65534, "sessions of one user")     \
  ROW(std::uint32_t, max_user_arenas, "", 64, 1, kMaxArenaId, "arenas of one user")     \
  ROW(std::uint32_t, max_user_heaps, "", 896, 1, kHeapIds - kFirstPeerHeap.value,       \
      "heaps of the peers of one user in each arena; more threads share heaps")         \
  ROW(std::uint32_t, max_user_sharers, "", 32, 1, kMaxSharers,                          \
      "sessions of one user that share blocks, in each arena")                          \
  ROW(std::uint32_t, max_user_waiting_calls, "", 1024, 1, 1'000'000,                    \
      "calls of one user that wait for memory, on each shard")                          \
  ROW(std::uint64_t, max_user_unanswered_bytes, "bytes", 64 << 20, 1 << 20, kNoBound,   \
      "answers of one user that its clients have not read, on each shard")

struct Limits {
#define ARENAD_FIELD(type, name, unit, default_value, min, max, help) type name = default_value;
  ARENAD_LIMITS(ARENAD_FIELD)
#undef ARENAD_FIELD
};

// One row of the table.
struct LimitRow {
  const char* name;
  const char* unit;  // "bytes", or empty for a number of things
  std::uint64_t default_value;
  std::uint64_t min;
  std::uint64_t max;  // kNoBound: any
  const char* help;
  std::uint64_t (*get)(const Limits&);
  void (*set)(Limits&, std::uint64_t);  // the value lies within the bounds
};

#define ARENAD_LIMIT_ROW(type, name, unit, default_value, min, max, help)     \
  LimitRow{#name,                                                             \
           unit,                                                              \
           default_value,                                                     \
           min,                                                               \
           max,                                                               \
           help,                                                              \
           [](const Limits& limits) -> std::uint64_t { return limits.name; }, \
           [](Limits& limits, std::uint64_t value) { limits.name = static_cast<type>(value); }},
inline constexpr auto kLimitTable = std::to_array<LimitRow>({ARENAD_LIMITS(ARENAD_LIMIT_ROW)});
#undef ARENAD_LIMIT_ROW

// What is wrong with the limits, as one sentence with what to do. Empty when nothing is.
std::string check_limits(const Limits& limits);

}  // namespace arenad::server
