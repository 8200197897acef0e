#include "arenad/block.h"

#include "client/lib/attachment.h"
#include "client/lib/convert.h"

namespace arenad::client {

Status Block::free() {
  if (empty()) return not_attached();
  Attachment* const attachment = attachment_;
  const Ref ref = block_.ref;
  forget();
  return attachment->block_ended(shard_, ref, true);
}

Ref Block::release() {
  if (empty()) return {};
  const Ref ref = block_.ref;
  if (const EnteredHeap heap = peer_cache.enter(pool_)) {
    heap.facts().lost_block();
    peer_cache.leave();
  } else {
    (void)attachment_->block_ended(shard_, ref, false);
  }
  forget();
  return ref;
}

void Block::destroy_slow() { (void)attachment_->block_ended(shard_, block_.ref, true); }

}  // namespace arenad::client
