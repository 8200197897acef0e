// A worker process of handoff, xmalloc and frames: allocates messages of blocks, passes their refs
// on, and frees the blocks that it receives.
//
// Purpose: one loop for the producer (passes on), the consumer (receives) and xmalloc (both). Refs
//   travel over a stream socket, in messages. For each freed message an acknowledgement byte goes
//   back, so that the allocating session closes last.
// Invariants: at most `window` messages are out at once. A worker ends when it was told to stop,
//   its own messages are acknowledged, and its input has ended.
// Threads: one. Crash: the daemon gives back what the session held. The partner sees the end of its
//   input.
#pragma once

#include <cstdint>
#include <string>

#include "client/load/options.h"

namespace arenad::load {

struct ProcessRole {
  std::uint32_t index = 0;  // of its track, and of its shard
  int tracks_fd = -1;
  int in_fd = -1;   // -1: receives nothing
  int out_fd = -1;  // -1: passes nothing on
  // In mode peer, instead of in_fd and out_fd: see peer_process.h.
  int rings_fd = -1;
  std::uint32_t workers = 0;
  int in_ring = -1;
  int out_ring = -1;
  std::uint32_t frames = 0;
};

// Runs the hidden command line `arena-load worker ...` that start_worker makes. Returns 0, or 1
// with the reason in the track.
int worker_main(int argc, char** argv);

// Starts a worker as a new process of this program. Returns its pid.
int start_worker(const Options& options, const std::string& arena, const ProcessRole& role);

}  // namespace arenad::load
