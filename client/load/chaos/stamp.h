// Stamp: the name of a block's holder, written into the block.
//
// Purpose: when a block has two holders, one overwrites the other's stamp, and the other sees it.
// Invariants: `check` is computed from the other fields. An unexpected stamp with a correct `check`
//   is another holder's. An unexpected stamp with a wrong `check` is damage. The block's last 8
//   bytes repeat `check`. A block has at least kMinBytes.
// Threads: pure values; the block belongs to its holder.
// Crash: a stamp stays until the next holder writes another.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "arenad/types.h"

namespace arenad::load::chaos {

struct Stamp {
  std::uint64_t who = 0;  // session 16 | sequence 40 | 0 8
  std::uint64_t ref = 0;
  std::uint64_t check = 0;

  static constexpr int kSessionShift = 48;
  static constexpr int kSequenceShift = 8;
  static constexpr std::uint64_t kMinBytes = 32;

  static Stamp of(std::uint64_t who, std::uint64_t ref) { return {who, ref, check_of(who, ref)}; }
  static std::uint64_t check_of(std::uint64_t who, std::uint64_t ref) {
    std::uint64_t x = (who ^ (ref << 32 | ref >> 32)) * 0x9e3779b97f4a7c15u;
    x ^= x >> 29;
    return x * 0xbf58476d1ce4e5b9u + 1;
  }
  bool is_somebodys() const { return check == check_of(who, ref) && ref != 0; }
  client::SessionId session() const { return {static_cast<std::uint16_t>(who >> kSessionShift)}; }
  std::uint64_t sequence() const {
    return (who >> kSequenceShift) & ((std::uint64_t{1} << 40) - 1);
  }

  void write(std::byte* block, std::uint64_t bytes) const {
    std::memcpy(block, this, sizeof *this);
    std::memcpy(block + bytes - sizeof check, &check, sizeof check);
  }
  static Stamp read(const std::byte* block) {
    Stamp s;
    std::memcpy(&s, block, sizeof s);
    return s;
  }
  // True when the block's end still repeats the stamp.
  bool has_tail(const std::byte* block, std::uint64_t bytes) const {
    std::uint64_t tail;
    std::memcpy(&tail, block + bytes - sizeof tail, sizeof tail);
    return tail == check;
  }
  friend bool operator==(const Stamp&, const Stamp&) = default;
};

}  // namespace arenad::load::chaos
