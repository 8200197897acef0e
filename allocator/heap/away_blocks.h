// AwayBlocks: which blocks of a slab are away from their heap, and who pays for each.
//
// Purpose: a block is away when somebody outside of the heap has it: held, shared or returning. A
//   heap that serves other processes keeps this in private memory, which no client can write. It
//   also keeps who pays for a block: the session that the block was given to. What the block word
//   says later changes nothing.
// Invariants: a payer is known exactly while its block is away. `each_` exists once two payers had
//   blocks of the slab; until then `payer_` pays for all that are away.
// Threads: private to the heap's owner. Crash: a hint; recovery rebuilds it from the words.
#pragma once

#include <bit>
#include <cstdint>
#include <memory>
#include <vector>

#include "../format/ids.h"

namespace arenad {

class AwayBlocks {
 public:
  // No block of `capacity` is away.
  explicit AwayBlocks(std::uint32_t capacity) : bits_((capacity + 63) / 64) {}

  bool has(BlockIndex block) const { return (bits_[block.value / 64] & bit_of(block)) != 0; }
  // Of the blocks from 64 * `word` on, bit by bit.
  std::uint64_t bits(std::uint32_t word) const { return bits_[word]; }
  // Of a block that is away.
  SessionId payer(BlockIndex block) const { return each_ == nullptr ? payer_ : each_[block.value]; }
  // The block leaves. `payer` pays for it.
  void add(BlockIndex block, SessionId payer) {
    bits_[block.value / 64] |= bit_of(block);
    set_payer(block, payer);
  }
  // A block that is away comes home. Answers who has paid for it.
  SessionId remove(BlockIndex block) {
    bits_[block.value / 64] &= ~bit_of(block);
    return payer(block);
  }
  // Another session pays for a block that is away.
  void set_payer(BlockIndex block, SessionId payer) {
    if (each_ != nullptr) {
      each_[block.value] = payer;
    } else if (payer != payer_) [[unlikely]] {
      set_second_payer(block, payer);
    }
  }
  // `to` pays for all blocks that `from` pays for. Answers how many these are.
  std::uint32_t move(SessionId from, SessionId to) {
    if (each_ == nullptr && payer_ != from) return 0;
    std::uint32_t moved = 0;
    for_each([&](BlockIndex block) { moved += payer(block) == from; });
    if (moved == 0) return 0;
    if (each_ == nullptr) {
      payer_ = to;
      return moved;
    }
    for_each([&](BlockIndex block) {
      if (payer(block) == from) each_[block.value] = to;
    });
    return moved;
  }
  // Nobody pays for any block.
  void forget_payers() {
    payer_ = kNoSession;
    each_.reset();
  }
  // Calls f(block) for each block that is away.
  template <class F>
  void for_each(F&& f) const {
    for (std::uint32_t w = 0; w < bits_.size(); ++w)
      for (std::uint64_t left = bits_[w]; left != 0; left &= left - 1)
        f(BlockIndex{w * 64 + static_cast<std::uint32_t>(std::countr_zero(left))});
  }

 private:
  static std::uint64_t bit_of(BlockIndex block) { return std::uint64_t{1} << (block.value % 64); }
  void set_second_payer(BlockIndex block, SessionId payer) {
    if (is_only(block)) {
      payer_ = payer;
      return;
    }
    each_ = std::make_unique<SessionId[]>(bits_.size() * 64);
    for_each([this](BlockIndex b) { each_[b.value] = payer_; });
    each_[block.value] = payer;
  }
  bool is_only(BlockIndex block) const {
    for (std::uint32_t w = 0; w < bits_.size(); ++w)
      if (bits_[w] != (w == block.value / 64 ? bit_of(block) : 0)) return false;
    return true;
  }

  std::vector<std::uint64_t> bits_;
  SessionId payer_;
  std::unique_ptr<SessionId[]> each_;
};

}  // namespace arenad
