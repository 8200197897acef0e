// PeerChurn: a peer that works until it is killed, and a peer that spoils control memory as a
// hostile peer may.
//
// Purpose: load and damage for corruption_test.cc, in processes of their own.
// Invariants: churn gives away some of its blocks under kGivenTag and never touches them again.
//   With `takes`, it takes over what others have given away, and frees it. An arena has one taker
//   at most, so that nobody frees what another holds.
// Threads: one. Crash: the test kills the process.
#pragma once

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <vector>

#include "allocator/heap/heap.h"
#include "tests/support/refs.h"

namespace arenad::server {

constexpr std::uint32_t kGivenTag = 99;

// Works on `heap` until it is killed, or its test is gone. Errors are no matter: its slabs may be
// full, its arena damaged.
[[noreturn]] inline void churn_for_ever(Heap& heap, SessionId session, std::uint64_t seed,
                                        bool takes) {
  const pid_t test = ::getppid();
  std::mt19937_64 random(seed);
  ArenaView& arena = heap.arena();
  const std::uint64_t slots = arena.unit_count() * std::uint64_t{kMaxBlocksPerSlab};
  std::vector<Ref> mine;
  for (std::uint64_t n = 0;; ++n) {
    const std::uint64_t r = random();
    if (r % 4 < 2 && mine.size() < 600) {
      const bool gives = r % 64 == 0;
      const auto block = heap.allocate(r % 8 < 5 ? 64 : 1024, {session, gives ? kGivenTag : 7});
      if (block.ok() && !gives) mine.push_back(block->ref);
    } else if (!mine.empty()) {
      std::swap(mine[(r >> 8) % mine.size()], mine.back());
      const Ref ref = mine.back();
      mine.pop_back();
      if (r % 16 == 3 && arena.share({ref.value}, session) == Error::kNone) {
        [[maybe_unused]] const Error e = heap.release({ref.value}, session);
      } else {
        [[maybe_unused]] const Error e = heap.free(ref);
      }
    }
    if (takes && n % 16 == 0) {
      // Slots of a group lie side by side: 64 words are looked at from a random place.
      const std::uint64_t from = (r >> 16) % slots / 64 * 64;
      const SlabIndex slab = Slot{from}.slab();
      if (slab.value < arena.unit_count() && arena.committed({slab.value / kUnitsPerSuperslab}) &&
          arena.shape_of(slab).kind() != SlabKind::kNone) {
        for (std::uint64_t s = from; s < from + 64; ++s) {
          const BlockWord word{arena.word(Slot{s}).load(std::memory_order_acquire)};
          if (!word.is_held() || word.holder().tag() != kGivenTag) continue;
          const Ref ref = ref_of(word.generation(), arena.id(), Slot{s});
          if (arena.acquire({ref.value}, {session, 8}).ok()) [[maybe_unused]]
            const Error e = heap.free(ref);
        }
      }
    }
    if (n % 4096 == 0 && ::getppid() != test) std::_Exit(1);
    if (n % 64 == 0) {
      heap.publish();
      heap.drain();
    }
  }
}

// Flips bits of an arena's control memory, mostly where something is in use.
class BitFlipper {
 public:
  BitFlipper(ArenaView& arena, std::uint64_t seed) : arena_(arena), random_(seed) {}

  // So many, a few microseconds apart.
  void flip(std::uint64_t count) {
    collect_runs();
    for (std::uint64_t i = 0; i < count; ++i) {
      flip_one();
      const auto until =
          std::chrono::steady_clock::now() + std::chrono::microseconds(random_() % 20);
      while (std::chrono::steady_clock::now() < until) {}
    }
  }

 private:
  void collect_runs() {
    runs_.clear();
    for (std::uint32_t u = 0; u < arena_.unit_count(); ++u)
      if (arena_.control().slab({u}).shape.load() != 0) runs_.push_back({u});
    if (runs_.empty()) runs_.push_back({0});
  }
  std::uint32_t below(std::uint64_t n) { return static_cast<std::uint32_t>(random_() % n); }

  void flip_one() {
    ControlView& c = arena_.control();
    const SlabIndex slab = runs_[below(runs_.size())];
    // Heaps of the shards and the first of peers, and one that nobody has.
    const HeapId heap{static_cast<std::uint16_t>(below(2) != 0 ? below(2) : 256 + below(6))};
    const SessionId session{static_cast<std::uint16_t>(below(24))};
    switch (below(20)) {
      case 0: return spoil(&c.header(), sizeof(ArenaHeader));
      case 1: return spoil(&c.sharers(), sizeof(SharerTable));
      case 2: return spoil(&c.session(session), sizeof(SessionEntry));
      case 3: return spoil(c.footprint(session), c.footprint_words() * 8);
      case 4: return spoil(&c.heap(heap), sizeof(HeapEntry));
      case 5: return spoil(c.pending_summary(heap), c.pending_summary_count() * 8);
      case 6: return spoil(c.pending_words(heap), c.pending_word_count() * 8);
      case 7:
        return spoil(&c.superslab({slab.value / kUnitsPerSuperslab}), sizeof(SuperslabHeader));
      case 8: return spoil(&c.superslab({slab.value / kUnitsPerSuperslab}).pending, 4);
      case 9: return spoil(&c.slab(slab).shape, 8);
      case 10: return spoil(&c.slab(slab).carved, 4);
      case 11: return spoil(&c.slab(slab).owner, 4);
      case 12: return spoil(c.slab(slab).returned, sizeof c.slab(slab).returned);
      case 13:
        return spoil(&c.returned(slab, kInlineReturnedWords),
                     8 * (kReturnedWordsPerUnit - kInlineReturnedWords));
      default: return spoil(&arena_.word(Slot::of(slab, {below(below(4) != 0 ? 64 : 1024)})), 8);
    }
  }
  // One bit of what begins there, half the time one of a low bit of a word, where counts and tags
  // are.
  template <class T>
  void spoil(T* from, std::uint64_t bytes) {
    const std::uint64_t words = (bytes + 3) / 4;
    auto* const word = reinterpret_cast<std::uint32_t*>(from) + random_() % words;
    std::atomic_ref<std::uint32_t>(*word).fetch_xor(std::uint32_t{1}
                                                    << below(below(2) != 0 ? 4 : 32));
  }

  ArenaView& arena_;
  std::mt19937_64 random_;
  std::vector<SlabIndex> runs_;
};

}  // namespace arenad::server
