#include "arenad/arena_handle.h"

#include <algorithm>
#include <string>
#include <utility>

#include "client/lib/attachment.h"
#include "client/lib/peer_pool.h"

namespace arenad::client {

ArenaHandle::ArenaHandle(std::shared_ptr<Attachment> attachment, std::uint32_t shard)
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

// What a caller gets who wants no text.
Error bare(const Status& status) {
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

BlockInfo described(const arenad::BlockFacts& info, Ref ref) {
  using State = arenad::BlockFacts::State;
  BlockInfo out{.ref = ref,
                .offset_bytes = info.offset_bytes,
                .usable_bytes = info.usable_bytes,
                .stride_bytes = info.stride_bytes,
                .holder = info.holder.session().value,
                .tag = info.holder.tag(),
                .heap = info.heap.value,
                .generation = info.generation,
                .size_class = info.cls};
  switch (info.state) {
    case State::kInvalid: out.state = BlockState::kInvalid; break;
    case State::kFree: out.state = BlockState::kFree; break;
    case State::kHeld: out.state = BlockState::kHeld; break;
    case State::kReturning: out.state = BlockState::kReturning; break;
    case State::kShared: out.state = BlockState::kShared; break;
    case State::kStale: out.state = BlockState::kStale; break;
  }
  return out;
}

// A peer's batch: one(heap, ref) for each ref inside the thread's heap.
template <class One>
Answer<BatchAnswer> each_inside(PeerPool& pool, std::span<const Ref> refs, One one) {
  BatchAnswer answer;
  Status status = pool.for_each_inside(refs.size(), [&](PeerHeap& heap, std::size_t i) {
    if (const Error error = one(heap, refs[i]); error == Error::kNone)
      ++answer.done;
    else
      answer.errors.push_back(
          {static_cast<std::uint32_t>(i), refs[i], ref_refusal(error, refs[i])});
  });
  if (!status.ok()) return status;
  return answer;
}

// The same through the daemon, in messages of at most kMaxBlocksPerCall.
template <class Request, class Response, class Fill, class Done>
Answer<BatchAnswer> each_by_call(const Attachment& attachment, std::uint32_t shard,
                                 ::grpc::Status (v1::Blocks::Stub::*method)(::grpc::ClientContext*,
                                                                            const Request&,
                                                                            Response*),
                                 std::span<const Ref> refs, Fill fill, Done done) {
  if (Status s = attachment.usable(); !s.ok()) return s;
  ClientState& client = *attachment.session->client;
  BatchAnswer answer;
  for (std::size_t first = 0; first < refs.size(); first += kMaxBlocksPerCall) {
    auto request = attachment.request<Request>();
    set_refs(refs.subspan(first, std::min<std::size_t>(kMaxBlocksPerCall, refs.size() - first)),
             request);
    fill(request);
    Response response;
    if (Status s = client.call(client.blocks(shard), method, request, response); !s.ok()) return s;
    append(response, done(response), static_cast<std::uint32_t>(first), answer);
  }
  return answer;
}

}  // namespace

Answer<Block> ArenaHandle::allocate_slow(std::uint64_t size_bytes,
                                         const AllocateOptions& options) const {
  if (!attachment_) return not_attached();
  if (PeerPool* const pool = attachment_->pool.get()) {
    AllocatedBlock got;
    if (Status s = pool->allocate(size_bytes, options, true, got); !s.ok()) return s;
    return block_of(got);
  }
  const auto blocks = allocate_many(size_bytes, 1, options);
  if (!blocks) return blocks.error();
  if (blocks->size() != 1) return not_one_block("answered");
  return own(blocks->front());
}

Result<AllocatedBlock, Error> ArenaHandle::try_allocate_slow(std::uint64_t size_bytes,
                                                             std::uint32_t tag) const {
  if (!attachment_) return Error::kNotAttached;
  if (PeerPool* const pool = attachment_->pool.get()) {
    AllocatedBlock got;
    if (const Status s = pool->allocate(size_bytes, {.tag = tag}, false, got); !s.ok())
      return bare(s);
    return got;
  }
  const auto blocks = allocate_many(size_bytes, 1, {.tag = tag});
  if (!blocks) return bare(blocks.error());
  if (blocks->size() != 1) return Error::kInternal;
  return blocks->front();
}

Error ArenaHandle::try_free_slow(Ref ref) const {
  return attachment_ ? bare(attachment_->free_one(shard_, ref)) : Error::kNotAttached;
}

Status ArenaHandle::free_slow(Ref ref, Error error) const {
  if (!attachment_) return not_attached();
  if (Status s = attachment_->usable(); !s.ok()) return s;
  // A peer's try_free has done it and was refused; the others have not begun.
  return free_pool_ != 0 ? ref_refusal(error, ref) : attachment_->free_one(shard_, ref);
}

Answer<std::vector<AllocatedBlock>> ArenaHandle::allocate_many(
    std::uint64_t size_bytes, std::uint32_t count, const AllocateOptions& options) const {
  if (!attachment_) return not_attached();
  if (count == 0 || count > kMaxBlocksPerCall) return bad_count();
  if (attachment_->pool) {
    const std::vector<std::uint64_t> sizes(count, size_bytes);
    return allocate_sizes(sizes, options);
  }
  auto request = attachment_->request<v1::AllocateRequest>();
  request.set_size_bytes(size_bytes);
  request.set_count(count);
  to_wire(options, request);
  return attachment_->allocate(shard_, request);
}

Answer<std::vector<AllocatedBlock>> ArenaHandle::allocate_sizes(
    std::span<const std::uint64_t> sizes_bytes, const AllocateOptions& options) const {
  if (!attachment_) return not_attached();
  if (sizes_bytes.empty() || sizes_bytes.size() > kMaxBlocksPerCall) return bad_count();
  if (PeerPool* const pool = attachment_->pool.get()) {
    std::vector<AllocatedBlock> blocks(sizes_bytes.size());
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      Status s = pool->allocate(sizes_bytes[i], options, false, blocks[i]);
      if (s.ok()) continue;
      while (i-- > 0) (void)attachment_->free_one(shard_, blocks[i].ref);
      return s;
    }
    return blocks;
  }
  auto request = attachment_->request<v1::AllocateRequest>();
  request.mutable_sizes()->Add(sizes_bytes.begin(), sizes_bytes.end());
  to_wire(options, request);
  return attachment_->allocate(shard_, request);
}

Answer<BatchAnswer> ArenaHandle::free(std::span<const Ref> refs) const {
  if (!attachment_) return not_attached();
  if (PeerPool* const pool = attachment_->pool.get())
    return each_inside(*pool, refs,
                       [pool](PeerHeap& heap, Ref ref) { return pool->free(heap, ref); });
  return attachment_->free(shard_, refs);
}

void ArenaHandle::flush() const {
  if (attachment_ && attachment_->pool)
    (void)attachment_->pool->inside([](PeerHeap& heap) { heap.heap().publish(); });
}

Answer<BatchAnswer> ArenaHandle::acquire(std::span<const Ref> refs, std::uint32_t tag) const {
  if (!attachment_) return not_attached();
  if (PeerPool* const pool = attachment_->pool.get()) {
    const arenad::Holder me(pool->session(), tag);
    return each_inside(*pool, refs, [&](PeerHeap&, Ref ref) {
      const auto before = pool->arena().acquire({ref.value}, me);
      return before ? Error::kNone : before.error();
    });
  }
  return each_by_call(
      *attachment_, shard_, &v1::Blocks::Stub::Acquire, refs,
      [tag](v1::AcquireRequest& request) { request.set_tag(tag); },
      [](const v1::AcquireResponse& response) { return response.acquired(); });
}

Answer<BatchAnswer> ArenaHandle::share(std::span<const Ref> refs) const {
  if (!attachment_) return not_attached();
  if (PeerPool* const pool = attachment_->pool.get())
    return each_inside(*pool, refs, [pool](PeerHeap&, Ref ref) {
      return pool->arena().share({ref.value}, pool->session());
    });
  return each_by_call(
      *attachment_, shard_, &v1::Blocks::Stub::Share, refs, [](v1::ShareRequest&) {},
      [](const v1::ShareResponse& response) { return response.shared(); });
}

Answer<BatchAnswer> ArenaHandle::release(std::span<const Ref> refs) const {
  if (!attachment_) return not_attached();
  if (PeerPool* const pool = attachment_->pool.get())
    return each_inside(*pool, refs, [pool](PeerHeap& heap, Ref ref) {
      return heap.heap().release({ref.value}, pool->session());
    });
  return each_by_call(
      *attachment_, shard_, &v1::Blocks::Stub::Release, refs, [](v1::ReleaseRequest&) {},
      [](const v1::ReleaseResponse& response) { return response.released(); });
}

Answer<std::vector<BlockInfo>> ArenaHandle::describe(std::span<const Ref> refs) const {
  if (!attachment_) return not_attached();
  if (Status s = attachment_->usable(); !s.ok()) return s;
  std::vector<BlockInfo> infos;
  if (const PeerPool* const pool = attachment_->pool.get()) {
    for (const Ref ref : refs) infos.push_back(described(pool->arena().describe({ref.value}), ref));
    return infos;
  }
  ClientState& client = *attachment_->session->client;
  for (std::size_t first = 0; first < refs.size(); first += kMaxBlocksPerCall) {
    auto request = attachment_->request<v1::DescribeRequest>();
    set_refs(refs.subspan(first, std::min<std::size_t>(kMaxBlocksPerCall, refs.size() - first)),
             request);
    v1::DescribeResponse response;
    if (Status s =
            client.call(client.blocks(shard_), &v1::Blocks::Stub::Describe, request, response);
        !s.ok())
      return s;
    for (const v1::BlockInfo& info : response.blocks()) infos.push_back(from_wire(info));
  }
  return infos;
}

// take of a peer: everything in one visit to the thread's heap.
Answer<Block> ArenaHandle::take_in_memory(PeerPool& pool, Ref ref, std::uint32_t tag) const {
  struct {
    PeerPool& pool;
    Ref ref;
    std::uint32_t tag;
    Error error = Error::kNone;
    AllocatedBlock found{};
  } job{pool, ref, tag};
  const Status entered = pool.inside([&job](PeerHeap& heap) {
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
  Block block = block_of(job.found);  // ours from here on, whatever fails below
  if (Status s = attachment_->check(job.found); !s.ok()) return s;
  return block;
}

Answer<Block> ArenaHandle::take(Ref ref, std::uint32_t tag) const {
  if (attachment_ && attachment_->pool) return take_in_memory(*attachment_->pool, ref, tag);
  const auto acquired = acquire(std::span(&ref, 1), tag);
  if (!acquired) return acquired.error();
  if (!acquired->all()) return acquired->errors.front().status;
  // Ours from here on: whatever fails below, the block must not stay behind without an owner.
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

Answer<Ref> ArenaHandle::ref_at(const void* address) const {
  if (!attachment_) return not_attached();
  if (Status s = attachment_->usable(); !s.ok()) return s;
  if (!attachment_->pool)
    return Status{Code::kFailedPrecondition, Error::kModeUnavailable,
                  "only a peer can tell a ref by its address; keep the ref beside it"};
  const auto offset = static_cast<std::uint64_t>(static_cast<const std::byte*>(address) - base_);
  const auto ref = attachment_->pool->arena().ref_at(offset);
  if (!ref)
    return Status{
        static_cast<Code>(error_code(ref.error())), ref.error(),
        "no block of this arena starts at that address: " + std::string(error_advice(ref.error()))};
  return *ref;
}

const ArenaInfo& ArenaHandle::info() const {
  static const ArenaInfo none;
  return attachment_ ? attachment_->arena : none;
}

AttachMode ArenaHandle::mode() const {
  return attachment_ ? attachment_->mode : AttachMode::kRemote;
}

std::uint32_t ArenaHandle::shard() const { return shard_; }

std::uint32_t ArenaHandle::session_id() const {
  return attachment_ ? attachment_->session->key.id() : 0;
}

Answer<ArenaHandle> ArenaHandle::on_shard(std::uint32_t shard) const {
  if (!attachment_) return not_attached();
  const auto chosen = attachment_->session->client->choose_shard(shard);
  if (!chosen) return chosen.error();
  ArenaHandle handle = *this;
  handle.shard_ = *chosen;
  return handle;
}

std::span<const std::byte> ArenaHandle::data() const {
  return attachment_ ? attachment_->data() : std::span<std::byte>{};
}

std::span<const std::byte> ArenaHandle::bytes(const BlockInfo& info) const {
  const std::span<const std::byte> all = data();
  if (info.offset_bytes > all.size() || info.usable_bytes > all.size() - info.offset_bytes)
    return {};
  return all.subspan(info.offset_bytes, info.usable_bytes);
}

}  // namespace arenad::client
