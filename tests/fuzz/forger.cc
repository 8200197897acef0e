#include "tests/fuzz/forger.h"

#include <algorithm>

namespace arenad::fuzz {
namespace {

// Sessions that the runs use, and one that nobody has.
constexpr std::uint16_t kSessions[] = {1, 5, 6, 7, 999};

}  // namespace

SlabIndex Forger::some_slab() {
  const std::uint8_t how = input_.u8();
  if (known_.empty() || how % 8 == 0) return {input_.below(arena_.unit_count())};
  return arena_.refs().slab_of(known_[input_.below(known_.size())]);
}

Slot Forger::some_slot() {
  if (!known_.empty() && input_.u8() % 2 == 0)
    return arena_.refs().slot_of(known_[input_.below(known_.size())]);
  const SlabIndex slab = some_slab();
  const std::uint32_t capacity = std::max(arena_.run_at(slab).capacity, 1u);
  // Sometimes beyond the slab.
  const std::uint32_t limit = input_.u8() % 8 == 0 ? kMaxBlocksPerSlab : capacity;
  return Slot::of(slab, {input_.below(limit)});
}

std::uint64_t Forger::some_word(std::uint64_t now) {
  const std::uint64_t generation = now & BlockWord::kGenerationMask;
  const SessionId session{kSessions[input_.u8() % std::size(kSessions)]};
  switch (input_.u8() % 6) {
    case 0: return generation;
    case 1: return BlockWord::held(generation, Holder(session, 1));
    case 2: return BlockWord::returning(now, session, arena_.refs().step());
    case 3: return BlockWord::shared(now, arena_.sharer_bits(session) | input_.u8());
    case 4: return BlockWord::freed(now, arena_.refs().step());
    default: return input_.u64();
  }
}

void Forger::announce(SlabIndex slab, std::uint32_t word, std::uint64_t bits) {
  ControlView& control = arena_.control();
  control.returned(slab, word).fetch_or(bits);
  const SuperslabIndex superslab = superslab_of(slab);
  control.superslab(superslab).pending.fetch_or(unit_bit_of(slab));
  for (const HeapId heap : heaps_) {
    control.pending_words(heap)[superslab.value / 64].fetch_or(std::uint64_t{1}
                                                               << superslab.value % 64);
    control.pending_summary(heap)[0].fetch_or(1);
  }
}

void Forger::forge_word() {
  AtomicWord& word = arena_.word(some_slot());
  word.store(some_word(word.load()));
}

void Forger::return_block() {
  const Slot slot = some_slot();
  AtomicWord& word = arena_.word(slot);
  word.store(BlockWord::returning(word.load(), {5}, arena_.refs().step()));
  announce(slot.slab(), slot.block().value / 64, std::uint64_t{1} << slot.block().value % 64);
}

void Forger::return_slab() {
  const SlabIndex slab = some_slab();
  const std::uint32_t capacity = std::max(arena_.run_at(slab).capacity, 1u);
  for (std::uint32_t b = 0; b < capacity; ++b) {
    AtomicWord& word = arena_.word(Slot::of(slab, {b}));
    word.store(BlockWord::returning(word.load(), {5}, arena_.refs().step()));
  }
  for (std::uint32_t w = 0; w <= (capacity - 1) / 64; ++w) announce(slab, w, ~std::uint64_t{0});
}

// Makes an old ref look like one of a held block.
void Forger::hold_again() {
  if (known_.empty()) return;
  const Ref ref = known_[input_.below(known_.size())];
  const std::uint64_t generation = std::uint64_t{arena_.refs().generation_of(ref)}
                                   << BlockWord::kGenerationShift;
  const SessionId session{kSessions[input_.u8() % std::size(kSessions)]};
  arena_.word(arena_.refs().slot_of(ref))
      .store(input_.u8() % 4 != 0 ? BlockWord::held(generation, Holder(session, 2))
                                  : BlockWord::shared(generation, arena_.sharer_bits(session)));
}

void Forger::forge_header() {
  SlabHeader& header = arena_.control().slab(some_slab());
  switch (input_.u8() % 5) {
    case 0: header.carved.store(input_.u16()); break;
    case 1: header.carved.store(static_cast<std::uint32_t>(input_.u64())); break;
    case 2: header.owner.store(input_.u16()); break;
    case 3:
      header.shape.store(SlabShape::of(static_cast<SlabKind>(input_.u8() % 4), {input_.u8()},
                                       input_.u16(), input_.u16())
                             .bits);
      break;
    default: header.shape.store(input_.u64()); break;
  }
}

void Forger::forge_bits() {
  ControlView& control = arena_.control();
  const HeapId heap = heaps_[input_.u8() % heaps_.size()];
  const std::uint64_t bits = input_.u64();
  switch (input_.u8() % 5) {
    case 0: control.returned(some_slab(), input_.below(kReturnedWordsPerUnit)).store(bits); break;
    case 1:
      control.superslab({input_.below(arena_.superslab_count())})
          .pending.store(static_cast<std::uint32_t>(bits));
      break;
    case 2: control.pending_words(heap)[0].store(bits); break;
    case 3: control.pending_summary(heap)[0].store(bits); break;
    default:
      control.superslab({input_.below(arena_.superslab_count())})
          .committed.store(static_cast<std::uint32_t>(bits));
      break;
  }
}

void Forger::forge_entries() {
  ControlView& control = arena_.control();
  const SessionId session{kSessions[input_.u8() % std::size(kSessions)]};
  switch (input_.u8() % 4) {
    case 0: control.session(session).state.store(input_.u8()); break;
    case 1:
      control.sharers().sessions[input_.u8() % kMaxSharers].store(
          input_.u8() % 2 != 0 ? session.value : input_.u16());
      break;
    case 2:
      control.footprint(session)[input_.below(control.footprint_words())].store(input_.u64());
      break;
    default: control.heap(heaps_[input_.u8() % heaps_.size()]).owner.store(input_.u16()); break;
  }
}

void Forger::forge_anything() {
  const std::uint64_t places = arena_.control_bytes() / 8;
  const std::uint64_t at = (std::uint64_t{input_.u16()} << 16 | input_.u16()) % places;
  const std::uint64_t value = input_.u64();
  auto* const all = reinterpret_cast<AtomicWord*>(&arena_.control().header());
  all[at].store(value);
}

void Forger::forge() {
  switch (input_.u8() % 12) {
    case 0:
    case 1: return forge_word();
    case 2:
    case 3: return return_block();
    case 4:
    case 5: return return_slab();
    case 6:
    case 7: return hold_again();
    case 8: return forge_header();
    case 9: return forge_bits();
    case 10: return forge_entries();
    default: return forge_anything();
  }
}

}  // namespace arenad::fuzz
