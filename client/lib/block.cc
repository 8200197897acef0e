#include "client/lib/block.h"

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
  const Ref ref = block_.ref;
  if (PeerHeap* const heap = peer_cache.find(pool_); !empty() && heap != nullptr && heap->enter()) {
    heap->lost_block();
    heap->leave();
  } else if (!empty()) {
    (void)attachment_->block_ended(shard_, ref, false);
  }
  forget();
  return ref;
}

void Block::destroy_slow() { (void)attachment_->block_ended(shard_, block_.ref, true); }

}  // namespace arenad::client
