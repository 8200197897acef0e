// Options: what the user asked of arena-load.
//
// Invariants: parse_options has validated them; sizes are bytes.
// Threads: immutable after parsing. Crash: nothing is shared.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace arenad::load {

enum class Mode : std::uint8_t { kInProcess, kUnary, kExchange, kPeer };
const char* mode_name(Mode mode);  // "inproc", "unary", "exchange", "peer"

// How often a chaos run does what.
struct ChaosCounts {
  std::uint64_t kills = 0;     // SIGKILLs, of peers and of the daemon
  std::uint64_t stops = 0;     // SIGSTOPs of the daemon
  std::uint64_t deletes = 0;   // of an arena that is in use; the arena is created again
  std::uint64_t execs = 0;     // peers that became another program
  std::uint64_t closes = 0;    // sessions that were closed while the daemon was away
  std::uint64_t boot_ids = 0;  // starts of the daemon under another boot id
};

struct ChaosAction {
  const char* name;  // in the result; the option has - for _
  std::uint64_t ChaosCounts::*count;
  const char* help;
};
inline constexpr ChaosAction kChaosActions[] = {
    {"kills", &ChaosCounts::kills, "SIGKILLs in all; default 300"},
    {"stops", &ChaosCounts::stops, "SIGSTOPs of the daemon, while peers work and die; default 3"},
    {"deletes", &ChaosCounts::deletes,
     "Times that a second arena is deleted under its users and created again; default 10"},
    {"execs", &ChaosCounts::execs, "Peers that become another program (exec); default 10"},
    {"closes", &ChaosCounts::closes,
     "Sessions that are closed while the daemon is dead or stopped; default 5"},
    {"boot_ids", &ChaosCounts::boot_ids,
     "Kills of the daemon after which it starts under another boot id (with --kill-daemon, and "
     "where a private mount namespace is possible); default 3"},
};

struct ChaosOptions {
  std::uint32_t peers = 8;
  ChaosCounts wanted{
      .kills = 300, .stops = 3, .deletes = 10, .execs = 10, .closes = 5, .boot_ids = 3};
  std::uint32_t most_stop_ms = 6000;
  bool kill_daemon = false;
  double seconds = 0;  // the longest run; 0: until all is done
  bool json = false;   // the result goes to stdout as JSON, and all text to stderr
  std::string plant;   // hidden: plants a fault (double, damage, leak) so that a test sees it found
  std::string arenad;  // the program to start; empty: the one beside this program
  // Hidden: this program is a peer that has become another program. board_fd is -1 otherwise.
  int board_fd = -1;
  std::uint32_t seat = 0;
  std::uint32_t life = 0;
};

struct Options {
  // rpc, pair, batch, churn, larson, handoff, xmalloc, frames, suite, chaos
  std::string workload;
  std::string socket;  // as Client::connect takes it
  std::string arena;   // empty: a temporary one, deleted afterwards
  std::uint64_t capacity_bytes = std::uint64_t{1} << 30;
  Mode mode = Mode::kExchange;
  double duration_s = 10;
  // Load before the measurement. -1: 4 s for peers, until leases have settled; else none.
  double warm_up_s = -1;
  std::uint64_t size_bytes = 256;
  std::uint32_t clients = 2;          // threads, or processes for handoff and xmalloc
  std::uint32_t batch = 64;           // blocks a message
  std::uint32_t in_flight = 32;       // rpc: calls per client
  double rate = 0;                    // rpc: calls a second over all clients; 0 = closed loop
  std::vector<std::uint32_t> shards;  // connections use these in turn; empty: all shards
  std::uint64_t seed = 1;
  ChaosOptions chaos;
  bool quiet = false;
  // Hidden: keeps one block at the end, so that a test sees conservation fail.
  bool leave_block = false;
  std::string json_path, csv_path, html_path;
};

inline constexpr std::uint64_t kFrameBytes = std::uint64_t{4} << 20;  // frames, unless --size says
inline constexpr std::uint64_t kLeastFrameBytes = 16;                 // a stamp at each end

inline constexpr int kExitOk = 0;
inline constexpr int kExitRefused = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitNotConserved = 3;

// Fills `options` from the command line. Returns -1 to go on. Else it has printed help or a usage
// error, and returns the exit code.
int parse_options(int argc, char** argv, Options& options);

}  // namespace arenad::load
