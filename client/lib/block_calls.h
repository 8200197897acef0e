// BlockCalls: the block calls of one attached arena. Private.
//
// Purpose: the calls that a handle, a Block or a stream of one attachment makes. There are two ways
//   to serve them: DaemonBlocks calls the daemon, PeerBlocks works in this process's heaps.
// Errors: those of the ArenaHandle call with the same name; UNKNOWN_SESSION when the session is
//   over, FORKED in a child.
// Threads: any, at the same time. Crash: see arena_handle.h.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "arenad/types.h"

namespace arenad::client {

class BlockCalls {
 public:
  virtual ~BlockCalls() = default;

  // `shard` serves a call to the daemon. Counts are 1 .. kMaxBlocksPerCall.
  virtual Answer<std::vector<AllocatedBlock>> allocate_many(ShardId shard, std::uint64_t size_bytes,
                                                            std::uint32_t count,
                                                            const AllocateOptions& options) = 0;
  virtual Answer<std::vector<AllocatedBlock>> allocate_sizes(
      ShardId shard, std::span<const std::uint64_t> sizes_bytes,
      const AllocateOptions& options) = 0;
  virtual Status free_one(ShardId shard, Ref ref) = 0;
  virtual Answer<BatchAnswer> free(ShardId shard, std::span<const Ref> refs) = 0;
  virtual Answer<BatchAnswer> free_if_held(ShardId shard, std::span<const Ref> refs) = 0;
  virtual Answer<BatchAnswer> acquire(ShardId shard, std::span<const Ref> refs,
                                      std::uint32_t tag) = 0;
  virtual Answer<BatchAnswer> share(ShardId shard, std::span<const Ref> refs) = 0;
  virtual Answer<BatchAnswer> release(ShardId shard, std::span<const Ref> refs) = 0;
  virtual Answer<std::vector<BlockInfo>> describe(ShardId shard, std::span<const Ref> refs) = 0;
};

}  // namespace arenad::client
