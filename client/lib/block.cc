#include "client/lib/block.h"

#include <utility>

#include "client/lib/attachment.h"

namespace arenad::client {

Block::Block(std::shared_ptr<Attachment> attachment, std::uint32_t shard, const AllocatedBlock& block)
    : attachment_(std::move(attachment)), block_(block), shard_(shard) {
  if (attachment_->mapping.writable()) data_ = attachment_->mapping.bytes().data() + block.offset_bytes;
}

Block::Block(Block&& other) noexcept
    : attachment_(std::move(other.attachment_)),
      data_(std::exchange(other.data_, nullptr)),
      block_(std::exchange(other.block_, {})),
      shard_(other.shard_) {}

Block& Block::operator=(Block&& other) noexcept {
  if (this == &other) return *this;
  Block old(std::move(*this));   // freed at the end of this function
  attachment_ = std::move(other.attachment_);
  data_ = std::exchange(other.data_, nullptr);
  block_ = std::exchange(other.block_, {});
  shard_ = other.shard_;
  return *this;
}

Block::~Block() {
  if (!empty() && !attachment_->closed()) (void)free();
}

Status Block::free() {
  if (empty()) return not_attached();
  const std::uint32_t shard = shard_;
  const auto attachment = attachment_;
  const Ref ref = release();
  const auto answer = attachment->free(shard, std::span(&ref, 1));
  if (!answer) return answer.error();
  return answer->all() ? Status{} : answer->errors.front().status;
}

Ref Block::release() {
  const Ref ref = block_.ref;
  attachment_.reset();
  data_ = nullptr;
  block_ = {};
  return ref;
}

}  // namespace arenad::client
