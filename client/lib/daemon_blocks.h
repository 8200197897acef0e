// DaemonBlocks: block calls that the daemon serves. Private: includes gRPC headers.
//
// Purpose: the Blocks service for one attachment as remote, reader or writer. A peer makes its
//   first share by it. Lists that are longer than one request may be go in several requests.
// Threads: any. Crash: see arena_handle.h.
#pragma once

#include "client/lib/block_calls.h"
#include "client/lib/client_state.h"

namespace arenad::client {

class Attachment;

class DaemonBlocks final : public BlockCalls {
 public:
  // `attachment` owns this object.
  explicit DaemonBlocks(const Attachment& attachment) : attachment_(attachment) {}

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
  Answer<std::vector<AllocatedBlock>> allocate(ShardId shard,
                                               const v1::AllocateRequest& request) const;

  const Attachment& attachment_;
};

}  // namespace arenad::client
