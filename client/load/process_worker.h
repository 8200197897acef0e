// A worker process of handoff and xmalloc: allocates messages of blocks and passes their refs on,
// frees what it is passed.
//
// Purpose: one loop for producer (passes on), consumer (takes in) and xmalloc (both). Refs travel
// over a stream socket, in
//   messages; for each message freed an acknowledgement byte goes back, so that the allocating
//   session closes last.
// Invariants: at most `window` messages are out at once. A worker ends when it was told to stop,
// its own messages are
//   acknowledged and its input has ended.
// Threads: one. Crash: the daemon gives back what the session held; the peer sees the end of its
// input.
#pragma once

#include <cstdint>
#include <string>

#include "client/load/options.h"

namespace arenad::load {

struct ProcessRole {
  std::uint32_t index = 0;  // of its track, and of its shard
  int tracks_fd = -1;
  int in_fd = -1;   // -1: takes nothing in
  int out_fd = -1;  // -1: passes nothing on
  // In mode peer instead of the two above: see peer_process.h.
  int rings_fd = -1;
  std::uint32_t workers = 0;
  int in_ring = -1;
  int out_ring = -1;
};

// The hidden command line `arena-load worker ...` that start_worker makes, run to its end. Exit
// code: 0, or 1 with the reason in the track.
int worker_main(int argc, char** argv);

// Starts one as a new process of this program. Returns its pid.
int start_worker(const Options& options, const std::string& arena, const ProcessRole& role);

}  // namespace arenad::load
