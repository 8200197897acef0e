// Exchange: one stream that carries batches of block calls, pipelined.
//
// Purpose: many blocks a second through the daemon. With 64 blocks in a message, a stream moves
//   tens of times as many blocks as unary calls do.
// Invariants: each request has one reply, and replies come in the order of the requests. The reply
//   to a refused request is its error; the stream goes on. At most max_in_flight requests are
//   unanswered: a call that would send one more first takes in replies, and keeps them for
//   receive().
// Threads: one thread at a time.
// Crash: the session holds the blocks of replies that were not received. The daemon gives them back
//   with the session.
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

struct ExchangeOptions {
  std::uint32_t max_in_flight = 64;  // requests
  // A connection of its own, not the client's shared one. Good for load generators, and for two
  // busy streams of one client.
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

// Use one object for all receives: its vectors keep their memory. Only the members of `call` have a
// meaning.
struct ExchangeReply {
  std::uint64_t id = 0;                     // of the request
  ExchangeCall call = ExchangeCall::kNone;  // kNone when status is an error
  Status status;                            // of the request, as the unary call would answer
  std::vector<AllocatedBlock> blocks;       // allocate, in order
  BatchAnswer batch;                        // free, acquire, share, release
  std::vector<BlockInfo> infos;             // describe
};

class ARENAD_API Exchange {
 public:
  // Blocks in one message of allocate_batched and free_batched.
  static constexpr std::size_t kBatchBlocks = 64;

  Exchange();  // not open: every call answers FAILED_PRECONDITION
  Exchange(Exchange&&) noexcept;
  Exchange& operator=(Exchange&&) noexcept;
  ~Exchange();  // cancels the stream and drops unread replies; their blocks: see Crash

  // Opens a stream on the handle's shard. Waits for the connection, not for an answer.
  // Errors: UNAVAILABLE.
  static Answer<Exchange> open(const ArenaHandle& arena, const ExchangeOptions& options = {});

  // Each of these sends one request and returns the request's id. Errors are those of the stream:
  // once it is broken, every call answers why.
  Answer<std::uint64_t> allocate(std::uint64_t size_bytes, std::uint32_t count,
                                 const AllocateOptions& options = {});
  Answer<std::uint64_t> allocate_sizes(std::span<const std::uint64_t> sizes_bytes,
                                       const AllocateOptions& options = {});
  Answer<std::uint64_t> free(std::span<const Ref> refs);
  Answer<std::uint64_t> acquire(std::span<const Ref> refs, std::uint32_t tag = 0);
  Answer<std::uint64_t> share(std::span<const Ref> refs);
  Answer<std::uint64_t> release(std::span<const Ref> refs);
  Answer<std::uint64_t> describe(std::span<const Ref> refs);

  // The next reply. Errors: DEADLINE_EXCEEDED after `timeout_ms` (the stream stays good),
  // FAILED_PRECONDITION (nothing is in flight), or the stream's.
  Status receive(ExchangeReply& reply, std::uint32_t timeout_ms = 10'000);
  // Number of requests whose reply was not received yet.
  std::size_t unreceived() const;

  // Appends `count` blocks to `blocks`, in pipelined messages of kBatchBlocks. Nothing may be
  // unreceived. After an error `blocks` has the blocks that came before the error: free them.
  Status allocate_batched(std::uint64_t size_bytes, std::size_t count,
                          std::vector<AllocatedBlock>& blocks, const AllocateOptions& options = {});
  // Frees in the same way. Indices in the answer are indices of `refs`.
  Answer<BatchAnswer> free_batched(std::span<const Ref> refs);

  // Ends the stream in order: sends no more, drops unreceived replies, and waits until the daemon
  // has ended it too.
  Status finish();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace arenad::client
