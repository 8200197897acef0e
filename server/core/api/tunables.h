// Tunables: what an operator may change while the daemon runs.
//
// Purpose: one table says everything about a tunable: name, unit, default, bounds and help text.
// The table makes the fields of ServerTunables, and it drives configuration keys, --help,
// GetTunables, SetTunables and arenactl. A new tunable is one new row.
// Invariants: a row belongs either to the allocator (a switch) or to the server (a number).
// Threads: the values are atomics, relaxed everywhere: every thread sees a change soon.
// Crash: private memory of the daemon.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>

#include "allocator/base/tunables.h"

namespace arenad::server {

// (name of the field, default, help)
#define ARENAD_ALLOCATOR_SWITCHES(ROW)                                                           \
  ROW(p0_enable, 1, "refill magazines in batches; HAKMEM_TINY_P0_DISABLE wins over this switch") \
  ROW(p0_no_drain, 0, "a refill does not drain remotely freed blocks; for A/B runs")             \
  ROW(p0_log, 0, "write a log line for each refill; the rate is limited")

// (name of the field, unit, default, min, max, help)
#define ARENAD_SERVER_TUNABLES(ROW)                                                            \
  ROW(idle_drain_ms, "ms", 100, 1, 60'000,                                                     \
      "how often an idle shard takes back remotely freed blocks and gives back empty slabs")   \
  ROW(spin_us, "us", 0, 0, 1000,                                                               \
      "how long a shard polls before it sleeps; polling costs CPU and saves wake-ups")         \
  ROW(keepalive_grace_ms, "ms", 5000, 10, 600'000,                                             \
      "how long a new session lives without a KeepAlive stream or a handoff")                  \
  ROW(restart_grace_ms, "ms", 5000, 10, 600'000,                                               \
      "how long a client may take to open its KeepAlive stream again: after a restart of the " \
      "daemon, and where its process lives and has no memory of an arena")                     \
  ROW(drain_deadline_ms, "ms", 5000, 0, 600'000,                                               \
      "how long a stopping daemon waits for its sessions to close")                            \
  ROW(trim_patience_ms, "ms", 200, 1, 600'000,                                                 \
      "how long a request in a full arena waits for peers that were asked to trim")            \
  ROW(commit_ahead_superslabs, "superslabs of 2 MiB", 4, 0, 512,                               \
      "memory that each arena keeps committed ahead of need")                                  \
  ROW(keep_empty_superslabs, "superslabs of 2 MiB", 8, 0, 65'536,                              \
      "empty memory that an arena keeps before it gives memory back to the system")

// The server's values. SetTunables changes them, everybody else reads them.
struct ServerTunables {
#define ARENAD_FIELD(name, unit, default_value, min, max, help) \
  std::atomic<std::uint64_t> name{default_value};  // NOLINT(bugprone-macro-parentheses)
  ARENAD_SERVER_TUNABLES(ARENAD_FIELD)
#undef ARENAD_FIELD
};

// One row of the table. Exactly one of the two member pointers is set.
struct TunableRow {
  const char* name;
  const char* unit;  // empty for a switch
  std::uint64_t default_value;
  std::uint64_t min;
  std::uint64_t max;
  const char* help;
  std::atomic<bool> Tunables::*allocator_switch;
  std::atomic<std::uint64_t> ServerTunables::*server_number;

  bool is_switch() const { return allocator_switch != nullptr; }
  // The help text with unit and bounds, as --help and GetTunables show it.
  std::string description() const;
};

#define ARENAD_SWITCH_ROW(name, default_value, help) \
  TunableRow{#name, "", default_value, 0, 1, help, &Tunables::name, nullptr},
#define ARENAD_NUMBER_ROW(name, unit, default_value, min, max, help) \
  TunableRow{#name, unit, default_value, min, max, help, nullptr, &ServerTunables::name},
inline constexpr auto kTunableTable = std::to_array<TunableRow>(
    {ARENAD_ALLOCATOR_SWITCHES(ARENAD_SWITCH_ROW) ARENAD_SERVER_TUNABLES(ARENAD_NUMBER_ROW)});
#undef ARENAD_SWITCH_ROW
#undef ARENAD_NUMBER_ROW

}  // namespace arenad::server
