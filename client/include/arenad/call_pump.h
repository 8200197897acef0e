// CallPump: many unary calls in flight from one thread.
//
// Purpose: asynchronous Allocate and Free over one connection. For load generators, and for
//   programs that cannot wait for each call.
// Invariants: next() gives each started call back exactly once, under the caller's tag, in any
//   order.
// Threads: one thread at a time, and one pump for each thread. next() drives the connection:
//   nothing moves while no thread calls it.
// Crash: as ArenaHandle.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "arenad/allocator/base/export.h"
#include "arenad/arena_handle.h"
#include "arenad/types.h"

namespace arenad::client {

struct CallPumpOptions {
  bool own_connection = true;  // false: the client's shared connection to the handle's shard
};

class ARENAD_API CallPump {
 public:
  enum class Call : std::uint8_t { kAllocate, kFree };

  // Valid until the next call of next().
  struct Completion {
    std::uint64_t tag = 0;  // the caller's
    Call call = Call::kAllocate;
    Status status;                       // of the whole call
    std::vector<AllocatedBlock> blocks;  // of kAllocate
    BatchAnswer batch;                   // of kFree
  };

  CallPump();  // not open: a call that is started does nothing, and next() gives nullptr
  CallPump(CallPump&&) noexcept;
  CallPump& operator=(CallPump&&) noexcept;
  ~CallPump();  // cancels the calls in flight, and waits for them

  // Errors: FAILED_PRECONDITION (a handle attached to nothing).
  static Answer<CallPump> open(const ArenaHandle& arena, const CallPumpOptions& options = {});

  // Starts a call, and never blocks. The caller bounds the number of calls in flight.
  void allocate(std::uint64_t tag, std::uint64_t size_bytes, std::uint32_t count = 1,
                const AllocateOptions& options = {});
  void free(std::uint64_t tag, std::span<const Ref> refs);

  // The next completion. nullptr after `timeout_ms`, and at once when nothing is in flight.
  // 0 does not wait.
  const Completion* next(std::uint32_t timeout_ms);
  std::size_t in_flight() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace arenad::client
