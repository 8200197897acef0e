// rotation: four large blocks in rotation, each written whole. A camera with four frames does this.
//
// Purpose: Rotation frees the oldest block, allocates another block and writes all of it.
//   PlainRotation writes four buffers that never change, so it costs what writing alone costs.
// Invariants: from the fourth operation to finish() a Rotation holds kRotationBlocks blocks.
// Threads: the context's. Crash: kRotationBlocks blocks are held.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>

#include "client/load/kernels/context.h"

namespace arenad::load {

inline constexpr std::size_t kRotationBlocks = 4;

template <LargeContext C>
class Rotation {
 public:
  Rotation(C& context, std::size_t block_bytes)
      : context_(context), block_bytes_(opaque(block_bytes)) {}

  std::uint64_t run(std::uint64_t operations) {
    for (std::uint64_t i = 0; i < operations; ++i, ++turn_) {
      auto& oldest = blocks_[turn_ % kRotationBlocks];
      if (oldest) context_.free(*oldest);
      oldest.reset();
      const auto block = context_.allocate_placed(block_bytes_);
      oldest = block.handle;
      std::memset(opaque(block.data), static_cast<int>(turn_ & 0xff), block_bytes_);
    }
    return operations;
  }

  // Frees the blocks. Call it last.
  void finish() {
    for (auto& block : blocks_)
      if (block) context_.free(*block);
    blocks_ = {};
    context_.flush();
  }

 private:
  C& context_;
  std::size_t block_bytes_;
  std::uint64_t turn_ = 0;
  std::array<std::optional<typename C::Handle>, kRotationBlocks> blocks_;
};

// The same writes, to fixed buffers: kRotationBlocks * block_bytes at `memory`.
class PlainRotation {
 public:
  PlainRotation(std::byte* memory, std::size_t block_bytes)
      : memory_(memory), block_bytes_(opaque(block_bytes)) {}

  std::uint64_t run(std::uint64_t operations) {
    for (std::uint64_t i = 0; i < operations; ++i, ++turn_)
      std::memset(opaque(memory_ + turn_ % kRotationBlocks * block_bytes_),
                  static_cast<int>(turn_ & 0xff), block_bytes_);
    return operations;
  }

 private:
  std::byte* memory_;
  std::size_t block_bytes_;
  std::uint64_t turn_ = 0;
};

}  // namespace arenad::load
