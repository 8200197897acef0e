#include "client/lib/attachment.h"

#include <algorithm>

namespace arenad::client {

Status Attachment::usable() const {
  if (!closed()) return {};
  return {Code::kUnauthenticated, Error::kUnknownSession, "the session is closed, and all it held was given back; open another one"};
}

Answer<std::vector<AllocatedBlock>> Attachment::allocate(std::uint32_t shard, const v1::AllocateRequest& request) const {
  if (Status s = usable(); !s.ok()) return s;
  ClientState& client = *session->client;
  v1::AllocateResponse response;
  if (Status s = client.call(client.blocks(shard), &v1::Blocks::Stub::Allocate, request, response, request.wait_ms()); !s.ok())
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
    set_refs(refs.subspan(first, std::min<std::size_t>(kMaxBlocksPerCall, refs.size() - first)), message);
    v1::FreeResponse response;
    if (Status s = client.call(client.blocks(shard), &v1::Blocks::Stub::Free, message, response); !s.ok()) return s;
    append(response, response.freed(), static_cast<std::uint32_t>(first), answer);
  }
  return answer;
}

Status Attachment::check(const AllocatedBlock& block) const {
  const std::uint64_t size = mode == AttachMode::kRemote ? arena.capacity_bytes : mapping.bytes().size();
  if (block.offset_bytes <= size && block.usable_bytes <= size - block.offset_bytes) return {};
  return {Code::kInternal, Error::kInternal,
          "the daemon answered with a block at " + std::to_string(block.offset_bytes) + " of an arena of " + std::to_string(size) +
              " bytes; report this as a bug of arenad"};
}

Status Attachment::check(std::span<const AllocatedBlock> blocks) const {
  for (const AllocatedBlock& block : blocks)
    if (Status s = check(block); !s.ok()) return s;
  return {};
}

}  // namespace arenad::client
