// Exchange: one stream that carries batches of allocate, free, acquire, share, release and
// describe, pipelined.
//
// Purpose: many blocks a second. At 64 blocks a message a stream moves tens of times the blocks
// that unary calls do. Invariants: replies come in the order of the requests, one each. A refused
// request is a reply with its error; the stream goes
//   on. At most max_in_flight requests are unanswered; send more and the call takes in replies
//   first (they are kept for receive).
// Threads: one thread at a time.
// Crash: what was allocated and not received is held by the session, and is given back with it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "arenad/arena_handle.h"
#include "arenad/types.h"

namespace arenad::client {

struct ExchangeOptions {
  std::uint32_t max_in_flight = 64;  // requests
  // A connection of its own rather than the client's shared one: what a load generator wants, and
  // two busy streams.
  bool own_connection = false;
};

enum class ExchangeCall : std::uint8_t {
  kNone,
  kAllocate,
  kFree,
  kAcquire,
  kDescribe,
  kShare,
  kRelease
};

// Reused from one receive to the next, so that its vectors keep their memory. Only those of `call`
// mean anything.
struct ExchangeReply {
  std::uint64_t id = 0;                     // of the request
  ExchangeCall call = ExchangeCall::kNone;  // kNone when status is an error
  Status status;                            // of the request; as the unary call would have answered
  std::vector<AllocatedBlock> blocks;       // allocate, in order
  BatchAnswer batch;                        // free, acquire, share, release
  std::vector<BlockInfo> infos;             // describe
};

class Exchange {
 public:
  static constexpr std::size_t kBatchBlocks = 64;  // of allocate_batched and free_batched

  Exchange();  // not open; every call answers FAILED_PRECONDITION
  Exchange(Exchange&&) noexcept;
  Exchange& operator=(Exchange&&) noexcept;
  ~Exchange();  // cancels the stream; unread replies are lost, the blocks are not (see Crash)

  // Opens a stream on the handle's shard; waits for the connection, not for an answer. Errors:
  // UNAVAILABLE.
  static Answer<Exchange> open(const ArenaHandle& arena, const ExchangeOptions& options = {});

  // Each sends one request and gives its id. Errors are of the stream: once it is broken, all calls
  // answer why.
  Answer<std::uint64_t> allocate(std::uint64_t size_bytes, std::uint32_t count,
                                 const AllocateOptions& options = {});
  Answer<std::uint64_t> allocate_sizes(std::span<const std::uint64_t> sizes_bytes,
                                       const AllocateOptions& options = {});
  Answer<std::uint64_t> free(std::span<const Ref> refs);
  Answer<std::uint64_t> acquire(std::span<const Ref> refs, std::uint32_t tag = 0);
  Answer<std::uint64_t> share(std::span<const Ref> refs);
  Answer<std::uint64_t> release(std::span<const Ref> refs);
  Answer<std::uint64_t> describe(std::span<const Ref> refs);

  // The next reply, in order. Errors: DEADLINE_EXCEEDED after timeout_ms (the stream stays good),
  // FAILED_PRECONDITION when nothing is in flight, or the stream's.
  Status receive(ExchangeReply& reply, std::uint32_t timeout_ms = 10'000);
  std::size_t unreceived() const;  // requests whose reply was not received yet

  // `count` blocks in pipelined messages of kBatchBlocks, appended to `blocks`. Only with nothing
  // unreceived. After an error `blocks` has those that were got before it: free them.
  Status allocate_batched(std::uint64_t size_bytes, std::size_t count,
                          std::vector<AllocatedBlock>& blocks, const AllocateOptions& options = {});
  // Frees in the same way; indices in the answer are those of `refs`.
  Answer<BatchAnswer> free_batched(std::span<const Ref> refs);

  // Says that no more requests come, drops unreceived replies, and waits for the daemon's end of
  // the stream.
  Status finish();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace arenad::client
