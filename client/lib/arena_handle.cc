#include "arenad/arena_handle.h"

#include <string>
#include <utility>

#include "client/lib/attachment.h"

namespace arenad::client {

ArenaHandle::ArenaHandle(std::shared_ptr<Attachment> attachment, ShardId shard)
    : attachment_(std::move(attachment)), shard_(shard) {
  if (attachment_->writable()) {
    base_ = attachment_->data().data();
    bytes_ = attachment_->data().size();
  }
  if (attachment_->pool) {
    pool_ = attachment_->pool->id();
    if (!attachment_->pool->holder_only()) free_pool_ = pool_;
  }
}

namespace {

Status not_one_block(const char* what) {
  return {Code::kInternal, Error::kInternal,
          std::string("not one block was ") + what + "; report this as a bug of arenad"};
}

// The nearest reason, for callers who want no text.
Error nearest_reason(const Status& status) {
  if (status.ok() || status.reason != Error::kNone) return status.reason;
  switch (status.code) {
    case Code::kUnavailable: return Error::kDraining;
    case Code::kDeadlineExceeded: return Error::kWaitExpired;
    case Code::kUnauthenticated: return Error::kUnknownSession;
    case Code::kResourceExhausted: return Error::kMachineFull;
    case Code::kFailedPrecondition: return Error::kNotAttached;
    default: return Error::kInternal;
  }
}

}  // namespace

// --- allocate

Answer<Block> ArenaHandle::allocate_slow(std::uint64_t size_bytes,
                                         const AllocateOptions& options) const {
  if (!attachment_) return not_attached();
  if (options.tag > kMaxTag) return bad_tag(options.tag);
  if (PeerBlocks* const peer = attachment_->peer_blocks()) {
    const auto got = peer->allocate_one(size_bytes, options, true);
    if (!got) return got.error();
    return block_of(*got);
  }
  const auto blocks = allocate_many(size_bytes, 1, options);
  if (!blocks) return blocks.error();
  if (blocks->size() != 1) return not_one_block("answered");
  return own(blocks->front());
}

Result<AllocatedBlock, Error> ArenaHandle::try_allocate_slow(std::uint64_t size_bytes,
                                                             std::uint32_t tag) const {
  if (!attachment_) return Error::kNotAttached;
  if (tag > kMaxTag) return Error::kInvalidTag;
  if (PeerBlocks* const peer = attachment_->peer_blocks()) {
    const auto got = peer->allocate_one(size_bytes, {.tag = tag}, false);
    if (!got) return nearest_reason(got.error());
    return *got;
  }
  const auto blocks = allocate_many(size_bytes, 1, {.tag = tag});
  if (!blocks) return nearest_reason(blocks.error());
  if (blocks->size() != 1) return Error::kInternal;
  return blocks->front();
}

Answer<std::vector<AllocatedBlock>> ArenaHandle::allocate_many(
    std::uint64_t size_bytes, std::uint32_t count, const AllocateOptions& options) const {
  if (!attachment_) return not_attached();
  if (count == 0 || count > kMaxBlocksPerCall) return bad_count();
  if (options.tag > kMaxTag) return bad_tag(options.tag);
  return attachment_->blocks().allocate_many(shard_, size_bytes, count, options);
}

Answer<std::vector<AllocatedBlock>> ArenaHandle::allocate_sizes(
    std::span<const std::uint64_t> sizes_bytes, const AllocateOptions& options) const {
  if (!attachment_) return not_attached();
  if (sizes_bytes.empty() || sizes_bytes.size() > kMaxBlocksPerCall) return bad_count();
  if (options.tag > kMaxTag) return bad_tag(options.tag);
  return attachment_->blocks().allocate_sizes(shard_, sizes_bytes, options);
}

// --- free

Error ArenaHandle::try_free_slow(Ref ref) const {
  if (!attachment_) return Error::kNotAttached;
  return nearest_reason(attachment_->blocks().free_one(shard_, ref));
}

Status ArenaHandle::free_slow(Ref ref, Error error) const {
  if (!attachment_) return not_attached();
  if (Status s = attachment_->usable(); !s.ok()) return s;
  // With a free_pool_ try_free has worked on the ref already, and `error` is its refusal.
  return free_pool_ != kNoPool ? ref_refusal(error, ref)
                               : attachment_->blocks().free_one(shard_, ref);
}

Answer<BatchAnswer> ArenaHandle::free(std::span<const Ref> refs) const {
  if (!attachment_) return not_attached();
  return attachment_->blocks().free(shard_, refs);
}

Answer<BatchAnswer> ArenaHandle::free_if_held(std::span<const Ref> refs) const {
  if (!attachment_) return not_attached();
  return attachment_->blocks().free_if_held(shard_, refs);
}

Status ArenaHandle::free_if_held(Ref ref) const {
  const auto answer = free_if_held(std::span(&ref, 1));
  if (!answer) return answer.error();
  return answer->all() ? Status{} : answer->errors.front().status;
}

void ArenaHandle::flush() const {
  if (attachment_ && attachment_->peer_blocks()) attachment_->peer_blocks()->flush();
}

// --- hand over and share

Answer<BatchAnswer> ArenaHandle::acquire(std::span<const Ref> refs, std::uint32_t tag) const {
  if (!attachment_) return not_attached();
  if (tag > kMaxTag) return bad_tag(tag);
  return attachment_->blocks().acquire(shard_, refs, tag);
}

Answer<BatchAnswer> ArenaHandle::share(std::span<const Ref> refs) const {
  if (!attachment_) return not_attached();
  if (Status s = attachment_->usable(); !s.ok()) return s;  // before control memory is read
  return attachment_->blocks().share(shard_, refs);
}

Answer<BatchAnswer> ArenaHandle::release(std::span<const Ref> refs) const {
  if (!attachment_) return not_attached();
  return attachment_->blocks().release(shard_, refs);
}

Answer<Block> ArenaHandle::take_in_memory(Ref ref, std::uint32_t tag) const {
  const auto taken = attachment_->peer_blocks()->take(ref, tag);
  if (!taken) return taken.error();
  Block block = block_of(*taken);  // owned from here on, whatever fails below
  if (Status s = attachment_->check(*taken); !s.ok()) return s;
  return block;
}

Answer<Block> ArenaHandle::take(Ref ref, std::uint32_t tag) const {
  if (tag > kMaxTag) return bad_tag(tag);
  if (attachment_ && attachment_->peer_blocks()) return take_in_memory(ref, tag);
  const auto acquired = acquire(std::span(&ref, 1), tag);
  if (!acquired) return acquired.error();
  if (!acquired->all()) return acquired->errors.front().status;
  // Owned from here on, so that the block does not stay behind when something fails below.
  Block block = own({ref, 0, 0});
  const auto infos = describe(std::span(&ref, 1));
  if (!infos) return infos.error();
  if (infos->size() != 1) return not_one_block("described");
  const AllocatedBlock found{ref, infos->front().offset_bytes, infos->front().usable_bytes};
  if (Status s = attachment_->check(found); !s.ok()) return s;
  block.block_ = found;
  if (base_ != nullptr) block.data_ = base_ + found.offset_bytes;
  return block;
}

Block ArenaHandle::own(const AllocatedBlock& block) const {
  if (!attachment_) return {};
  attachment_->block_made();
  return block_of(block);
}

Block ArenaHandle::block_of(const AllocatedBlock& block) const {
  return Block(Block::Maker(), attachment_.get(),
               base_ == nullptr ? nullptr : base_ + block.offset_bytes, block.ref,
               block.offset_bytes, block.usable_bytes, shard_, free_pool_);
}

// --- look

Answer<std::vector<BlockInfo>> ArenaHandle::describe(std::span<const Ref> refs) const {
  if (!attachment_) return not_attached();
  if (Status s = attachment_->usable(); !s.ok()) return s;
  return attachment_->blocks().describe(shard_, refs);
}

Answer<Ref> ArenaHandle::ref_at(const void* address) const {
  if (!attachment_) return not_attached();
  if (Status s = attachment_->usable(); !s.ok()) return s;
  if (attachment_->peer_blocks() == nullptr)
    return Status{Code::kFailedPrecondition, Error::kModeUnavailable,
                  "only a peer can find a ref by its address; keep the ref with the address"};
  return attachment_->peer_blocks()->ref_at(
      static_cast<std::uint64_t>(static_cast<const std::byte*>(address) - base_));
}

Answer<GivenBack> ArenaHandle::detach(const DetachOptions& options) const {
  if (!attachment_) return not_attached();
  if (forked()) return forked_status();
  return attachment_->session->detach(attachment_, options.give_up_blocks);
}

// --- facts and mapped data

const ArenaInfo& ArenaHandle::info() const {
  static const ArenaInfo none;
  return attachment_ ? attachment_->arena : none;
}

AttachMode ArenaHandle::mode() const {
  return attachment_ ? attachment_->mode : AttachMode::kRemote;
}

SessionId ArenaHandle::session_id() const {
  return attachment_ ? attachment_->session->id() : SessionId{};
}

Answer<ArenaHandle> ArenaHandle::on_shard(ShardId shard) const {
  if (!attachment_) return not_attached();
  const auto chosen = attachment_->session->client->choose_shard(shard);
  if (!chosen) return chosen.error();
  ArenaHandle handle = *this;
  handle.shard_ = *chosen;
  return handle;
}

std::span<const std::byte> ArenaHandle::data() const {
  return attachment_ && !forked() ? attachment_->data() : std::span<std::byte>{};
}

std::span<std::byte> ArenaHandle::writable_data() const {
  if (base_ == nullptr || forked()) return {};
  return {base_, bytes_};
}

std::span<const std::byte> ArenaHandle::bytes(const BlockInfo& info) const {
  const std::span<const std::byte> all = data();
  if (info.offset_bytes > all.size() || info.usable_bytes > all.size() - info.offset_bytes)
    return {};
  return all.subspan(info.offset_bytes, info.usable_bytes);
}

}  // namespace arenad::client
