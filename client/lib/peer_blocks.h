// PeerBlocks: block calls that this process's heaps serve. Private.
//
// Purpose: the calls of a peer that are not on the fast path: batches, owners, errors with text.
//   Each runs in the calling thread's heap. The daemon is called for leases, and for the first
//   share: it decides who may have one of the arena's bits for sharers.
// Threads: any. Crash: see arena_handle.h.
#pragma once

#include <memory>

#include "client/lib/block_calls.h"
#include "client/lib/peer_pool.h"

namespace arenad::client {

class PeerBlocks final : public BlockCalls {
 public:
  // `daemon`: the calls for the same arena that the daemon serves.
  PeerBlocks(std::shared_ptr<PeerPool> pool, std::unique_ptr<BlockCalls> daemon)
      : pool_(std::move(pool)), daemon_(std::move(daemon)) {}

  // One block. The heap counts a Block when `for_a_block`.
  Answer<AllocatedBlock> allocate_one(std::uint64_t size_bytes, const AllocateOptions& options,
                                      bool for_a_block);
  // Takes a block over, counts a Block, and describes it, in one visit to the heap.
  Answer<AllocatedBlock> take(Ref ref, std::uint32_t tag);
  Answer<Ref> ref_at(std::uint64_t offset_bytes) const;
  // Announces the calling thread's frees of other heaps' blocks.
  void flush();

  Answer<std::vector<AllocatedBlock>> allocate_many(ShardId shard, std::uint64_t size_bytes,
                                                    std::uint32_t count,
                                                    const AllocateOptions& options) override;
  Answer<std::vector<AllocatedBlock>> allocate_sizes(ShardId shard,
                                                     std::span<const std::uint64_t> sizes_bytes,
                                                     const AllocateOptions& options) override;
  Status free_one(ShardId shard, Ref ref) override;
  Answer<BatchAnswer> free(ShardId shard, std::span<const Ref> refs) override;
  Answer<BatchAnswer> free_if_held(ShardId shard, std::span<const Ref> refs) override;
  Answer<BatchAnswer> acquire(ShardId shard, std::span<const Ref> refs, std::uint32_t tag) override;
  Answer<BatchAnswer> share(ShardId shard, std::span<const Ref> refs) override;
  Answer<BatchAnswer> release(ShardId shard, std::span<const Ref> refs) override;
  Answer<std::vector<BlockInfo>> describe(ShardId shard, std::span<const Ref> refs) override;

 private:
  template <class One>
  Answer<BatchAnswer> batch(std::span<const Ref> refs, One one);

  const std::shared_ptr<PeerPool> pool_;
  const std::unique_ptr<BlockCalls> daemon_;
};

// Says in text what was wrong with one ref.
Status ref_refusal(Error error, Ref ref);

}  // namespace arenad::client
