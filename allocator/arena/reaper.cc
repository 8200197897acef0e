#include "allocator/arena/reaper.h"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "allocator/arena/session_set.h"
#include "allocator/base/crash_point.h"
#include "allocator/format/ref_layout.h"

namespace arenad {

// Who is dead in this pass, and what came back from whom.
class Reaper::Dead {
 public:
  // One session.
  Dead(const Arena& arena, SessionId session)
      : one_(session), sharer_bits_(arena.sharer_bits(session)) {
    for (std::size_t i = 0; i < kMaxSharers; ++i) sharers_[i] = session;
  }
  // All sessions that do not live. A sharer bit that nobody has claimed is nobody's: a peer that
  // lives may claim the bit during the pass.
  Dead(const Arena& arena, const SessionSet& living) : living_(&living) {
    for (std::size_t i = 0; i < kMaxSharers; ++i) {
      // acquire: pairs with the CAS in Sharers::claim.
      const std::uint32_t id =
          arena.control().sharers().sessions[i].load(std::memory_order_acquire);
      if (id >= kSessionIdsEnd || !has(SessionId{static_cast<std::uint16_t>(id)})) continue;
      sharers_[i] = SessionId{static_cast<std::uint16_t>(id)};
      sharer_bits_ |= std::uint64_t{1} << i;
    }
  }

  bool has(SessionId session) const {
    if (living_ == nullptr) return session == one_;
    return is_session(session) && !living_->contains(session);
  }
  std::uint64_t sharer_bits() const { return sharer_bits_; }
  // Who loses a block whose word says so. A block that several dead sessions shared counts once.
  SessionId loser(BlockWord word) const {
    if (word.is_held()) return word.holder().session();
    const std::uint64_t bits = word.sharers() & sharer_bits_;
    return sharers_[static_cast<std::size_t>(std::countr_zero(bits))];
  }

  // Neighbours mostly have one holder, who is looked up once.
  ReapResult& result_of(SessionId session) {
    if (last_ == nullptr || session != last_session_) {
      last_ = &results_[session];
      last_session_ = session;
    }
    return *last_;
  }
  std::map<SessionId, ReapResult> take_results() { return std::move(results_); }

 private:
  const SessionId one_ = kNoSession;              // without `living_`
  const SessionSet* const living_ = nullptr;      // everybody else is dead
  std::uint64_t sharer_bits_ = 0;                 // of the dead
  std::array<SessionId, kMaxSharers> sharers_{};  // whose each of these bits is
  std::map<SessionId, ReapResult> results_;
  SessionId last_session_ = kNoSession;
  ReapResult* last_ = nullptr;
};

// What a word becomes without the dead; 0 when the word stays as it is.
std::uint64_t Reaper::without(const Dead& dead, BlockWord word) const {
  const GenerationStep step = arena_.refs().step();
  if (word.is_held() && dead.has(word.holder().session()))
    return BlockWord::returning(word.bits(), kReaperSession, step);
  if (!word.is_shared() || (word.sharers() & dead.sharer_bits()) == 0) return 0;
  const std::uint64_t left = word.sharers() & ~dead.sharer_bits();
  return left != 0 ? BlockWord::shared(word.bits(), left)
                   : BlockWord::returning(word.bits(), kReaperSession, step);
}

bool Reaper::reap_block(Slot slot, std::uint64_t stride_bytes, Dead& dead) {
  AtomicWord& word = arena_.word(slot);
  std::uint64_t seen = word.load(std::memory_order_acquire);
  // Somebody else may take or free the block first, or join or leave its sharers. Then the CAS
  // fails and this looks again.
  while (const std::uint64_t next = without(dead, BlockWord(seen))) {
    // Before the CAS, for the reason that Freer::look_at_freed has.
    if (debug_.on() && BlockWord(next).is_returning()) [[unlikely]]
      debug_.freed(slot, BlockWord(seen), kReaperSession);
    CRASH_POINT("reap.word");
    // acq_rel: pairs with the CAS of whoever changes the word at the same time.
    if (!word.compare_exchange_weak(seen, next, std::memory_order_acq_rel,
                                    std::memory_order_acquire))
      continue;
    const BlockWord before(seen);
    seen = next;
    if (!BlockWord(next).is_returning()) break;
    ReapResult& result = dead.result_of(dead.loser(before));
    ++result.blocks;
    result.bytes += stride_bytes;
    break;
  }
  // The returned bit of a RETURNING block may have died with the freer.
  const BlockWord now{seen};
  return now.is_returning() &&
         (dead.has(now.holder().session()) || now.holder().session() == kReaperSession);
}

void Reaper::reap_run(SlabIndex slab, const RunShape& shape, Dead& dead) {
  ReapResult& all = dead.result_of(kNoSession);
  ++all.runs;
  const std::uint32_t carved =
      std::min(arena_.control().slab(slab).carved.load(std::memory_order_acquire), shape.capacity);
  for (std::uint32_t first = 0; first < carved; first += 64) {
    std::uint64_t bits = 0;
    for (std::uint32_t b = first; b < std::min(first + 64, carved); ++b)
      if (reap_block(Slot::of(slab, {b}), shape.stride_bytes, dead)) {
        bits |= std::uint64_t{1} << (b - first);
        ++all.announced;
      }
    if (bits != 0) arena_.publish_returned(Slot::of(slab, {first}).value >> 6, bits, true);
  }
  // A freer that skipped a level relied on whoever set that level's bit, perhaps on the dead.
  arena_.announce(slab, shape.capacity);
}

ReapResult Reaper::reap(SessionId session, const Footprint* footprint) {
  Dead dead(arena_, session);
  arena_.for_each_run([&](SlabIndex slab, RunRecord) {
    if (footprint != nullptr && !footprint->has(slab)) return;
    reap_run(slab, arena_.run_at(slab), dead);
  });
  arena_.raise_summaries();
  ReapResult sum;
  for (const auto& [whose, result] : dead.take_results()) sum += result;
  return sum;
}

std::map<SessionId, ReapResult> Reaper::reap_all_but(const SessionSet& living) {
  Dead dead(arena_, living);
  arena_.for_each_run(
      [&](SlabIndex slab, RunRecord) { reap_run(slab, arena_.run_at(slab), dead); });
  arena_.raise_summaries();
  return dead.take_results();
}

void Reaper::announce_leases() {
  arena_.for_each_run([&](SlabIndex slab, RunRecord run) {
    if (run.owner().lessee() == kNoSession) return;
    const std::uint32_t capacity = arena_.run_at(slab).capacity;
    for (std::uint32_t first = 0; first < capacity; first += 64) {
      std::uint64_t bits = 0;
      for (std::uint32_t b = first; b < std::min(first + 64, capacity); ++b) {
        const BlockWord word{arena_.word(Slot::of(slab, {b})).load(std::memory_order_acquire)};
        if (word.is_returning()) bits |= std::uint64_t{1} << (b - first);
      }
      if (bits != 0) arena_.publish_returned(Slot::of(slab, {first}).value >> 6, bits, true);
    }
    arena_.announce(slab, capacity);
  });
  arena_.raise_summaries();
}

}  // namespace arenad
