#include "client/lib/attachment.h"

#include <algorithm>
#include <string>

namespace arenad::client {

std::span<std::byte> Attachment::data() const {
  if (pool) return {pool->arena().data(), pool->arena().capacity_bytes()};
  return mapping.bytes();
}

Answer<std::vector<AllocatedBlock>> Attachment::allocate(std::uint32_t shard,
                                                         const v1::AllocateRequest& request) const {
  if (Status s = usable(); !s.ok()) return s;
  ClientState& client = *session->client;
  v1::AllocateResponse response;
  if (Status s = client.call(client.blocks(shard), &v1::Blocks::Stub::Allocate, request, response,
                             request.wait_ms());
      !s.ok())
    return s;
  std::vector<AllocatedBlock> blocks;
  if (Status s = append(response, blocks); !s.ok()) return s;
  if (Status s = check(blocks); !s.ok()) return s;
  return blocks;
}

Answer<BatchAnswer> Attachment::free(std::uint32_t shard, std::span<const Ref> refs) const {
  if (Status s = usable(); !s.ok()) return s;
  ClientState& client = *session->client;
  BatchAnswer answer;
  for (std::size_t first = 0; first < refs.size(); first += kMaxBlocksPerCall) {
    auto message = request<v1::FreeRequest>();
    set_refs(refs.subspan(first, std::min<std::size_t>(kMaxBlocksPerCall, refs.size() - first)),
             message);
    v1::FreeResponse response;
    if (Status s = client.call(client.blocks(shard), &v1::Blocks::Stub::Free, message, response);
        !s.ok())
      return s;
    append(response, response.freed(), static_cast<std::uint32_t>(first), answer);
  }
  return answer;
}

Status Attachment::free_one(std::uint32_t shard, Ref ref) const {
  if (pool) {
    Error error = Error::kNone;
    if (Status s = pool->inside([&](PeerHeap& heap) { error = pool->free(heap, ref); }); !s.ok())
      return s;
    return error == Error::kNone ? Status{} : ref_refusal(error, ref);
  }
  const auto answer = free(shard, std::span(&ref, 1));
  if (!answer) return answer.error();
  return answer->all() ? Status{} : answer->errors.front().status;
}

Status Attachment::check(const AllocatedBlock& block) const {
  const std::uint64_t size = mode == AttachMode::kRemote ? arena.capacity_bytes : data().size();
  if (block.offset_bytes <= size && block.usable_bytes <= size - block.offset_bytes) return {};
  return {Code::kInternal, Error::kInternal,
          "the daemon answered with a block at " + std::to_string(block.offset_bytes) +
              " of an arena of " + std::to_string(size) + " bytes; report this as a bug of arenad"};
}

Status Attachment::check(std::span<const AllocatedBlock> blocks) const {
  for (const AllocatedBlock& block : blocks)
    if (Status s = check(block); !s.ok()) return s;
  return {};
}

void Attachment::count(std::int64_t blocks) {
  std::shared_ptr<Pinned> last;  // destroyed after the lock is gone
  const std::lock_guard lock(mutex_);
  blocks_ += blocks;
  if (blocks_ > 0 && !self_) self_ = shared_from_this();
  if (blocks_ <= 0) last = std::move(self_);
}

void Attachment::block_made() {
  if (pool && pool->inside([](PeerHeap& heap) { heap.made_block(); }).ok()) return;
  count(1);
}

Status Attachment::block_ended(std::uint32_t shard, Ref ref, bool free) {
  if (forked()) return forked_status();
  Status status;
  if (pool) {
    Error error = Error::kNone;
    status = pool->inside([&](PeerHeap& heap) {
      if (free) error = pool->free(heap, ref);
      heap.lost_block();
    });
    if (status.ok()) return error == Error::kNone ? Status{} : ref_refusal(error, ref);
  } else if (free) {
    status = free_one(shard, ref);
  }
  count(-1);
  return status;
}

void Attachment::close_pool(const Status& why) {
  if (const std::int64_t blocks = pool->close(why); blocks != 0) count(blocks);
}

}  // namespace arenad::client
