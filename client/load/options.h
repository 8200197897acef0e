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

struct ChaosOptions {
  std::uint32_t peers = 8;
  std::uint64_t kills = 300;
  bool kill_daemon = false;
  double seconds = 0;  // the longest run; 0: until all kills are done
  std::string plant;   // hidden: plants a fault (double, damage, leak) so that a test sees it found
  std::string arenad;  // the program to start; empty: the one beside this program
};

struct Options {
  std::string workload;  // rpc, pair, batch, churn, larson, handoff, xmalloc, suite, chaos
  std::string socket;    // as Client::connect takes it
  std::string arena;     // empty: a temporary one, deleted afterwards
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

inline constexpr int kExitOk = 0;
inline constexpr int kExitRefused = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitNotConserved = 3;

// Fills `options` from the command line. Returns -1 to go on. Else it has printed help or a usage
// error, and returns the exit code.
int parse_options(int argc, char** argv, Options& options);

}  // namespace arenad::load
