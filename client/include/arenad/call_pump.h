// CallPump: many unary calls in flight from one thread.
//
// Purpose: asynchronous Allocate and Free on one connection and one completion queue; for load
// generators, and for programs
//   that cannot wait for each call.
// Invariants: every call that was started completes exactly once through next(), in any order,
// under the tag it was given. Threads: one thread at a time; one pump a thread. next() drives the
// connection: nothing moves while nobody calls it. Crash: as ArenaHandle.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "arenad/arena_handle.h"
#include "arenad/types.h"

namespace arenad::client {

struct CallPumpOptions {
  bool own_connection = true;  // false: the client's shared connection to the handle's shard
};

class CallPump {
 public:
  enum class Call : std::uint8_t { kAllocate, kFree };

  // Valid until the next call of next().
  struct Completion {
    std::uint64_t tag = 0;  // the caller's
    Call call = Call::kAllocate;
    Status status;                       // of the call
    std::vector<AllocatedBlock> blocks;  // kAllocate
    BatchAnswer batch;                   // kFree
  };

  CallPump();  // not open: starting a call does nothing, next() gives nullptr
  CallPump(CallPump&&) noexcept;
  CallPump& operator=(CallPump&&) noexcept;
  ~CallPump();  // cancels what is in flight and waits for it

  // Errors: FAILED_PRECONDITION (a handle attached to nothing).
  static Answer<CallPump> open(const ArenaHandle& arena, const CallPumpOptions& options = {});

  // Starts a call; never blocks. The number in flight is the caller's to bound.
  void allocate(std::uint64_t tag, std::uint64_t size_bytes, std::uint32_t count = 1,
                const AllocateOptions& options = {});
  void free(std::uint64_t tag, std::span<const Ref> refs);

  // The next completion; nullptr after timeout_ms, and at once when nothing is in flight.
  // timeout_ms 0 only looks.
  const Completion* next(std::uint32_t timeout_ms);
  std::size_t in_flight() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace arenad::client
