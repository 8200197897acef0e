#include "client/lib/peer_blocks.h"

#include <array>
#include <cstdio>
#include <string>

namespace arenad::client {
namespace {

BlockState state_of(arenad::BlockFacts::State state) {
  using State = arenad::BlockFacts::State;
  switch (state) {
    case State::kInvalid: return BlockState::kInvalid;
    case State::kFree: return BlockState::kFree;
    case State::kHeld: return BlockState::kHeld;
    case State::kReturning: return BlockState::kReturning;
    case State::kShared: return BlockState::kShared;
    case State::kStale: return BlockState::kStale;
  }
  return BlockState::kUnknown;
}

BlockInfo described(const arenad::BlockFacts& info, Ref ref) {
  return {.ref = ref,
          .state = state_of(info.state),
          .offset_bytes = info.offset_bytes,
          .usable_bytes = info.usable_bytes,
          .stride_bytes = info.stride_bytes,
          .holder = info.holder.session(),
          .tag = info.holder.tag(),
          .heap = info.heap,
          .generation = info.generation,
          .size_class = info.cls,
          .track = info.track};
}

}  // namespace

Status ref_refusal(Error error, Ref ref) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(),
                "ref 0x%016llx: ", static_cast<unsigned long long>(ref.value));
  return {static_cast<Code>(error_code(error)), error,
          std::string(text.data()) + error_advice(error)};
}

// Calls one(heap, ref) for each ref inside the thread's heap.
template <class One>
Answer<BatchAnswer> PeerBlocks::batch(std::span<const Ref> refs, One one) {
  BatchAnswer answer;
  Status status = pool_->for_each_inside(refs.size(), [&](PeerHeap& heap, std::size_t i) {
    if (const Error error = one(heap, refs[i]); error == Error::kNone)
      ++answer.done;
    else
      answer.errors.push_back(
          {static_cast<std::uint32_t>(i), refs[i], ref_refusal(error, refs[i])});
  });
  if (!status.ok()) return status;
  return answer;
}

Answer<AllocatedBlock> PeerBlocks::allocate_one(std::uint64_t size_bytes,
                                                const AllocateOptions& options, bool for_a_block) {
  AllocatedBlock got;
  if (Status s = pool_->allocate(size_bytes, options, for_a_block, got); !s.ok()) return s;
  return got;
}

Answer<std::vector<AllocatedBlock>> PeerBlocks::allocate_many(ShardId shard,
                                                              std::uint64_t size_bytes,
                                                              std::uint32_t count,
                                                              const AllocateOptions& options) {
  const std::vector<std::uint64_t> sizes(count, size_bytes);
  return allocate_sizes(shard, sizes, options);
}

Answer<std::vector<AllocatedBlock>> PeerBlocks::allocate_sizes(
    ShardId shard, std::span<const std::uint64_t> sizes_bytes, const AllocateOptions& options) {
  std::vector<AllocatedBlock> blocks(sizes_bytes.size());
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    Status s = pool_->allocate(sizes_bytes[i], options, false, blocks[i]);
    if (s.ok()) continue;
    while (i-- > 0) (void)free_one(shard, blocks[i].ref);
    return s;
  }
  return blocks;
}

Status PeerBlocks::free_one(ShardId, Ref ref) {
  Error error = Error::kNone;
  if (Status s = pool_->inside([&](PeerHeap& heap) { error = pool_->free(heap, ref); }); !s.ok())
    return s;
  return error == Error::kNone ? Status{} : ref_refusal(error, ref);
}

Answer<BatchAnswer> PeerBlocks::free(ShardId, std::span<const Ref> refs) {
  return batch(refs, [this](PeerHeap& heap, Ref ref) { return pool_->free(heap, ref); });
}

Answer<BatchAnswer> PeerBlocks::free_if_held(ShardId, std::span<const Ref> refs) {
  return batch(refs, [this](PeerHeap& heap, Ref ref) { return pool_->free_if_held(heap, ref); });
}

Answer<BatchAnswer> PeerBlocks::acquire(ShardId, std::span<const Ref> refs, std::uint32_t tag) {
  const arenad::Holder me(pool_->session(), tag);
  return batch(refs, [&](PeerHeap&, Ref ref) {
    const auto before = pool_->arena().acquire({ref.value}, me);
    return before ? Error::kNone : before.error();
  });
}

Answer<BatchAnswer> PeerBlocks::share(ShardId shard, std::span<const Ref> refs) {
  if (pool_->arena().sharer_bits(pool_->session()) == 0) return daemon_->share(shard, refs);
  return batch(refs, [this](PeerHeap&, Ref ref) {
    return pool_->arena().share({ref.value}, pool_->session());
  });
}

Answer<BatchAnswer> PeerBlocks::release(ShardId, std::span<const Ref> refs) {
  return batch(refs, [this](PeerHeap& heap, Ref ref) {
    return heap.heap().release({ref.value}, pool_->session());
  });
}

Answer<std::vector<BlockInfo>> PeerBlocks::describe(ShardId, std::span<const Ref> refs) {
  std::vector<BlockInfo> infos;
  infos.reserve(refs.size());
  for (const Ref ref : refs) infos.push_back(described(pool_->arena().describe({ref.value}), ref));
  return infos;
}

Answer<AllocatedBlock> PeerBlocks::take(Ref ref, std::uint32_t tag) {
  // One capture, so that std::function needs no memory.
  struct Job {
    PeerPool& pool;
    Ref ref;
    std::uint32_t tag;
    Error error = Error::kNone;
    AllocatedBlock found{};
  } job{*pool_, ref, tag};
  const Status entered = pool_->inside([&job](PeerHeap& heap) {
    if (const auto before = job.pool.arena().acquire({job.ref.value}, heap.holder(job.tag));
        !before) {
      job.error = before.error();
      return;
    }
    const arenad::BlockFacts info = job.pool.arena().describe({job.ref.value});
    job.found = {job.ref, info.offset_bytes, info.usable_bytes};
    heap.made_block();
  });
  if (!entered.ok()) return entered;
  if (job.error != Error::kNone) return ref_refusal(job.error, ref);
  return job.found;
}

Answer<Ref> PeerBlocks::ref_at(std::uint64_t offset_bytes) const {
  const auto ref = pool_->arena().ref_at(offset_bytes);
  if (ref) return *ref;
  return Status{
      static_cast<Code>(error_code(ref.error())), ref.error(),
      "no block of this arena starts at that address: " + std::string(error_advice(ref.error()))};
}

void PeerBlocks::flush() {
  (void)pool_->inside([](PeerHeap& heap) { heap.heap().publish(); });
}

}  // namespace arenad::client
