#include "client/lib/attachment.h"

#include <string>
#include <utility>

#include "client/lib/daemon_blocks.h"

namespace arenad::client {

Attachment::Attachment(std::shared_ptr<SessionState> of, ArenaInfo info, AttachMode as,
                       std::uint64_t attached_in, Mapping mapped)
    : session(std::move(of)),
      arena(std::move(info)),
      mode(as),
      epoch(attached_in),
      mapping(std::move(mapped)),
      blocks_(std::make_unique<DaemonBlocks>(*this)) {}

Attachment::Attachment(std::shared_ptr<SessionState> of, ArenaInfo info,
                       std::shared_ptr<PeerPool> heaps)
    : session(std::move(of)),
      arena(std::move(info)),
      mode(AttachMode::kPeer),
      epoch(0),
      pool(std::move(heaps)) {
  auto calls = std::make_unique<PeerBlocks>(pool, std::make_unique<DaemonBlocks>(*this));
  peer_blocks_ = calls.get();
  blocks_ = std::move(calls);
}

Status Attachment::usable() const {
  if (Status s = session->usable(); !s.ok()) return s;
  return ended_.load(std::memory_order_acquire) ? ended_why_ : Status{};
}

// The call is counted before it is admitted, and the attachment ends before calls are awaited. So a
// call is either waited for, or not admitted.
Attachment::Call::Call(const Attachment& of)
    : of_(of), admitted_([&of] {
        {
          const std::lock_guard lock(of.mutex_);
          ++of.calls_;
        }
        return of.usable();
      }()) {}

Attachment::Call::~Call() {
  {
    const std::lock_guard lock(of_.mutex_);
    if (--of_.calls_ != 0) return;
    of_.calls_ended_.notify_all();
  }
}

void Attachment::await_calls() const {
  std::unique_lock lock(mutex_);
  calls_ended_.wait(lock, [this] { return calls_ == 0; });
}

std::span<std::byte> Attachment::data() const {
  if (pool) return {pool->arena().data(), pool->arena().capacity_bytes()};
  return mapping.bytes();
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
  counted_ += blocks;
  if (counted_ > 0 && !self_) self_ = shared_from_this();
  if (counted_ <= 0) last = std::move(self_);
}

void Attachment::block_made() {
  if (pool && pool->inside([](PeerHeap& heap) { heap.made_block(); }).ok()) return;
  count(1);
}

Status Attachment::block_ended(ShardId shard, Ref ref, bool free) {
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
    status = blocks_->free_one(shard, ref);
  }
  count(-1);
  return status;
}

void Attachment::close_pool(const Status& why) {
  if (const std::int64_t blocks = pool->close(why); blocks != 0) count(blocks);
}

void Attachment::suspend_pool(const Status& why) {
  if (const std::int64_t blocks = pool->suspend(why); blocks != 0) count(blocks);
}

void Attachment::end(const Status& why) {
  {
    const std::lock_guard lock(mutex_);
    if (!ended_.load(std::memory_order_relaxed)) {
      ended_why_ = why;
      ended_.store(true, std::memory_order_release);
    }
  }
  if (pool) close_pool(why);
}

}  // namespace arenad::client
