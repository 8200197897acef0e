#include "client/lib/arena_handle.h"

#include <algorithm>

#include "client/lib/attachment.h"

namespace arenad::client {

Answer<Block> ArenaHandle::allocate(std::uint64_t size_bytes, const AllocateOptions& options) const {
  auto blocks = allocate_many(size_bytes, 1, options);
  if (!blocks) return blocks.error();
  if (blocks->size() != 1) return Status{Code::kInternal, Error::kInternal, "not one block was answered; report this as a bug of arenad"};
  return own(blocks->front());
}

Answer<std::vector<AllocatedBlock>> ArenaHandle::allocate_many(std::uint64_t size_bytes, std::uint32_t count,
                                                               const AllocateOptions& options) const {
  if (!attachment_) return not_attached();
  if (count == 0) return bad_count();
  auto request = attachment_->request<v1::AllocateRequest>();
  request.set_size_bytes(size_bytes);
  request.set_count(count);
  to_wire(options, request);
  return attachment_->allocate(shard_, request);
}

Answer<std::vector<AllocatedBlock>> ArenaHandle::allocate_sizes(std::span<const std::uint64_t> sizes_bytes,
                                                                const AllocateOptions& options) const {
  if (!attachment_) return not_attached();
  if (sizes_bytes.empty()) return bad_count();
  auto request = attachment_->request<v1::AllocateRequest>();
  request.mutable_sizes()->Add(sizes_bytes.begin(), sizes_bytes.end());
  to_wire(options, request);
  return attachment_->allocate(shard_, request);
}

Answer<BatchAnswer> ArenaHandle::free(std::span<const Ref> refs) const {
  if (!attachment_) return not_attached();
  return attachment_->free(shard_, refs);
}

Status ArenaHandle::free(Ref ref) const {
  const auto answer = free(std::span(&ref, 1));
  if (!answer) return answer.error();
  return answer->all() ? Status{} : answer->errors.front().status;
}

Answer<BatchAnswer> ArenaHandle::acquire(std::span<const Ref> refs, std::uint32_t tag) const {
  if (!attachment_) return not_attached();
  if (Status s = attachment_->usable(); !s.ok()) return s;
  ClientState& client = *attachment_->session->client;
  BatchAnswer answer;
  for (std::size_t first = 0; first < refs.size(); first += kMaxBlocksPerCall) {
    auto request = attachment_->request<v1::AcquireRequest>();
    set_refs(refs.subspan(first, std::min<std::size_t>(kMaxBlocksPerCall, refs.size() - first)), request);
    request.set_tag(tag);
    v1::AcquireResponse response;
    if (Status s = client.call(client.blocks(shard_), &v1::Blocks::Stub::Acquire, request, response); !s.ok()) return s;
    append(response, response.acquired(), static_cast<std::uint32_t>(first), answer);
  }
  return answer;
}

Answer<std::vector<BlockInfo>> ArenaHandle::describe(std::span<const Ref> refs) const {
  if (!attachment_) return not_attached();
  if (Status s = attachment_->usable(); !s.ok()) return s;
  ClientState& client = *attachment_->session->client;
  std::vector<BlockInfo> infos;
  for (std::size_t first = 0; first < refs.size(); first += kMaxBlocksPerCall) {
    auto request = attachment_->request<v1::DescribeRequest>();
    set_refs(refs.subspan(first, std::min<std::size_t>(kMaxBlocksPerCall, refs.size() - first)), request);
    v1::DescribeResponse response;
    if (Status s = client.call(client.blocks(shard_), &v1::Blocks::Stub::Describe, request, response); !s.ok()) return s;
    for (const v1::BlockInfo& info : response.blocks()) infos.push_back(from_wire(info));
  }
  return infos;
}

Answer<Block> ArenaHandle::take(Ref ref, std::uint32_t tag) const {
  const auto acquired = acquire(std::span(&ref, 1), tag);
  if (!acquired) return acquired.error();
  if (!acquired->all()) return acquired->errors.front().status;
  // Ours from here on: whatever fails below, the block must not stay behind without an owner.
  Block block = own({ref, 0, 0});
  const auto infos = describe(std::span(&ref, 1));
  if (!infos) return infos.error();
  if (infos->size() != 1)
    return Status{Code::kInternal, Error::kInternal, "not one block was described; report this as a bug of arenad"};
  const AllocatedBlock found{ref, infos->front().offset_bytes, infos->front().usable_bytes};
  if (Status s = attachment_->check(found); !s.ok()) return s;
  (void)block.release();
  return own(found);
}

Block ArenaHandle::own(const AllocatedBlock& block) const {
  if (!attachment_) return {};
  return Block(attachment_, shard_, block);
}

const ArenaInfo& ArenaHandle::info() const {
  static const ArenaInfo none;
  return attachment_ ? attachment_->arena : none;
}

AttachMode ArenaHandle::mode() const { return attachment_ ? attachment_->mode : AttachMode::kRemote; }

std::uint32_t ArenaHandle::shard() const { return shard_; }

Answer<ArenaHandle> ArenaHandle::on_shard(std::uint32_t shard) const {
  if (!attachment_) return not_attached();
  const auto chosen = attachment_->session->client->choose_shard(shard);
  if (!chosen) return chosen.error();
  ArenaHandle handle = *this;
  handle.shard_ = *chosen;
  return handle;
}

std::span<const std::byte> ArenaHandle::data() const {
  return attachment_ ? attachment_->mapping.bytes() : std::span<std::byte>{};
}

std::span<std::byte> ArenaHandle::writable_data() const {
  return attachment_ && attachment_->mapping.writable() ? attachment_->mapping.bytes() : std::span<std::byte>{};
}

std::span<const std::byte> ArenaHandle::bytes(const BlockInfo& info) const {
  const std::span<const std::byte> all = data();
  if (info.offset_bytes > all.size() || info.usable_bytes > all.size() - info.offset_bytes) return {};
  return all.subspan(info.offset_bytes, info.usable_bytes);
}

}  // namespace arenad::client
