// DebugFlags: which mistakes of its users an arena looks for. BlockTrack: who had a block.
//
// Purpose: the flags are letters, as those of Linux' slub_debug, so that one word on a command line
//   names a set of them. kDebugLetters is the only list.
// Threads: pure values. Crash: nothing is shared.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "block_word.h"

namespace arenad {

struct DebugFlags {
  bool checks = false;    // F: slabs and words are compared with what a heap knows privately
  bool redzones = false;  // Z: known bytes around each payload
  bool poison = false;    // P: known bytes in each payload while nobody has the block
  bool tracking = false;  // U: who allocated and who freed each block, and when

  constexpr bool any() const { return checks || redzones || poison || tracking; }
  // Whether blocks are farther apart than their payloads need.
  constexpr bool take_space() const { return redzones || tracking; }
  constexpr std::uint32_t bits() const;
  static constexpr DebugFlags of_bits(std::uint32_t bits);
  friend constexpr bool operator==(const DebugFlags&, const DebugFlags&) = default;
};

struct DebugLetter {
  char letter;
  bool DebugFlags::*flag;
};
inline constexpr std::array<DebugLetter, 4> kDebugLetters{{
    {'F', &DebugFlags::checks},
    {'Z', &DebugFlags::redzones},
    {'P', &DebugFlags::poison},
    {'U', &DebugFlags::tracking},
}};
inline constexpr std::uint32_t kDebugBits = (1u << kDebugLetters.size()) - 1;

constexpr std::uint32_t DebugFlags::bits() const {
  std::uint32_t bits = 0;
  for (std::size_t i = 0; i < kDebugLetters.size(); ++i)
    bits |= std::uint32_t{this->*kDebugLetters[i].flag} << i;
  return bits;
}
constexpr DebugFlags DebugFlags::of_bits(std::uint32_t bits) {
  DebugFlags flags;
  for (std::size_t i = 0; i < kDebugLetters.size(); ++i)
    flags.*kDebugLetters[i].flag = (bits >> i & 1) != 0;
  return flags;
}

// The letters of the flags, in the order of the list; empty without flags.
inline std::string debug_text(DebugFlags flags) {
  std::string text;
  for (const DebugLetter& row : kDebugLetters)
    if (flags.*row.flag) text += row.letter;
  return text;
}
// The flags of some letters, in any order. None when a letter is unknown or comes twice.
inline std::optional<DebugFlags> parse_debug(std::string_view text) {
  DebugFlags flags;
  for (const char letter : text) {
    bool known = false;
    for (const DebugLetter& row : kDebugLetters) {
      if (row.letter != letter || flags.*row.flag) continue;
      known = flags.*row.flag = true;
    }
    if (!known) return std::nullopt;
  }
  return flags;
}

// What P fills payloads with: while nobody has the block, and when it is handed out.
inline constexpr std::uint8_t kPoisonHome = 0x6b;
inline constexpr std::uint8_t kPoisonNew = 0x5a;

// One allocation or free of a block. Whoever writes the arena's data can forge it.
struct BlockEvent {
  SessionId session;          // who allocated, or who freed: kReaperSession is the daemon itself
  std::uint32_t tag = 0;      // of the block then
  std::uint64_t time_ns = 0;  // since 1970; 0: there was no such event, or it cannot be read
};
// The last allocation and the last free of a block.
struct BlockTrack {
  BlockEvent allocated, freed;
};

}  // namespace arenad
