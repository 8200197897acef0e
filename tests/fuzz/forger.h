// Forger: a peer that writes into the control memory of an arena whatever the input says.
//
// Purpose: forges block words, returned bits, pending bits, slab headers, session and heap entries,
// and any other eight bytes of the control file. It prefers places that the heaps look at: blocks
// of slabs that refs are known of.
// Invariants: writes to control memory, as a peer does, and to nothing else.
// Threads: one. Crash: the arena belongs to one run of the fuzzer.
#pragma once

#include <cstdint>
#include <vector>

#include "allocator/arena/arena.h"
#include "tests/fuzz/input.h"

namespace arenad::fuzz {

class Forger {
 public:
  // `known` are refs that were given out; they may be old.
  Forger(Arena& arena, Input& input, const std::vector<Ref>& known, std::vector<HeapId> heaps)
      : arena_(arena), input_(input), known_(known), heaps_(std::move(heaps)) {}

  // Forges one thing.
  void forge();

 private:
  SlabIndex some_slab();
  Slot some_slot();
  std::uint64_t some_word(std::uint64_t now);
  void announce(SlabIndex slab, std::uint32_t word, std::uint64_t bits);
  void forge_word();
  void return_block();
  void return_slab();
  void hold_again();
  void forge_header();
  void forge_bits();
  void forge_entries();
  void forge_anything();

  Arena& arena_;
  Input& input_;
  const std::vector<Ref>& known_;
  const std::vector<HeapId> heaps_;
};

}  // namespace arenad::fuzz
