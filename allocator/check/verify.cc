#include "allocator/check/verify.h"

#include <algorithm>
#include <bit>
#include <map>

#include "allocator/arena/arena.h"
#include "allocator/heap/heap.h"

namespace arenad {

VerifyReport& VerifyReport::operator+=(const VerifyReport& o) {
  slabs += o.slabs;
  leased_slabs += o.leased_slabs;
  units += o.units;
  capacity_blocks += o.capacity_blocks;
  held += o.held;
  shared += o.shared;
  returning += o.returning;
  cached += o.cached;
  free += o.free;
  uncarved += o.uncarved;
  held_bytes += o.held_bytes;
  counted_out += o.counted_out;
  mismatches += o.mismatches;
  for (const auto& f : o.findings)
    if (findings.size() < kMaxFindings) findings.push_back(f);
  return *this;
}

// One heap's slabs: words against private state against control headers.
class HeapVerifier {
 public:
  HeapVerifier(const Heap& heap, const Ledger* ledger, VerifyReport& report)
      : heap_(heap), ledger_(ledger), report_(report) {}

  void run() {
    collect_magazines();
    for (const SlabState* s : heap_.slabs().all()) slab(*s);
    for (const auto& [slab, blocks] : cached_)
      if (heap_.slabs().find(slab) == nullptr)
        finding([slab = slab] {
          return "magazine holds blocks of slab " + std::to_string(slab.value) +
                 ", which is not this heap's";
        });
    if (active_ != heap_.slabs().active_blocks())
      finding([this] {
        return "active blocks: slabs say " + std::to_string(active_) + ", the heap counts " +
               std::to_string(heap_.slabs().active_blocks());
      });
    const HeapCounters c = heap_.counters();
    report_.counted_out += static_cast<std::int64_t>(c.allocs + c.adopted_blocks) -
                           static_cast<std::int64_t>(c.local_frees) -
                           static_cast<std::int64_t>(c.drained_blocks);
    if (c.p0_counter_mismatch != 0)
      finding([&c] {
        return "[P0_COUNTER_MISMATCH] " + std::to_string(c.p0_counter_mismatch) + " refills";
      });
  }

 private:
  // `what` makes the text. See VerifyReport::mismatch.
  template <std::invocable Text>
  void finding(const Text& what) {
    report_.mismatch([&] { return "heap " + std::to_string(heap_.id().value) + ": " + what(); });
  }
  template <std::invocable Text>
  void finding(SlabIndex slab, const Text& what) {
    finding([&] { return "slab " + std::to_string(slab.value) + ": " + what(); });
  }
  void finding(SlabIndex slab, const char* what) {
    finding(slab, [what] { return std::string(what); });
  }

  void collect_magazines() {
    heap_.for_each_cached([this](Slot slot) {
      auto& bits = cached_[slot.slab()];
      bits.resize(kMaxBlocksPerSlab / 64);
      std::uint64_t& word = bits[slot.block().value / 64];
      const std::uint64_t bit = std::uint64_t{1} << (slot.block().value % 64);
      if ((word & bit) != 0)
        finding([slot] {
          return "block " + std::to_string(slot.block().value) + " of slab " +
                 std::to_string(slot.slab().value) + " is twice in magazines";
        });
      word |= bit;
    });
  }

  void slab(const SlabState& s) {
    const bool span = s.is_span;
    const SlabHeader& h = heap_.arena().control().slab(s.slab);
    const SlabShape shape{h.shape.load(std::memory_order_acquire)};
    if (ledger_ != nullptr &&
        ledger_->run(s.slab).bits != RunRecord::of(span ? SlabKind::kSpan : SlabKind::kSlab, s.cls,
                                                   s.units, RunOwner::heap(heap_.id()))
                                         .bits)
      finding(s.slab, "the ledger says otherwise");
    if (shape.bits !=
        SlabShape::of(span ? SlabKind::kSpan : SlabKind::kSlab, s.cls, s.units, s.capacity).bits)
      finding(s.slab, "header shape differs from the owner's");
    if (h.carved.load(std::memory_order_relaxed) != s.carved)
      finding(s.slab, "header carved differs from the owner's");
    if (h.owner.load(std::memory_order_relaxed) != heap_.id().value)
      finding(s.slab, "header names another owner");

    const auto in_magazine = cached_.find(s.slab);
    std::uint64_t held = 0, shared = 0, returning = 0, cached = 0, free = 0, uncarved = 0;
    std::uint32_t free_bits = 0;
    for (std::uint32_t b = 0; b < s.capacity; ++b) {
      const BlockWord w{heap_.arena().word(Slot::of(s.slab, {b})).load(std::memory_order_acquire)};
      const bool is_cached =
          in_magazine != cached_.end() && (in_magazine->second[b / 64] >> (b % 64) & 1) != 0;
      const bool is_free = (s.free_bits[b / 64] >> (b % 64) & 1) != 0;
      free_bits += is_free;
      if (b >= s.carved) {
        ++uncarved;
        if (!w.is_free() || is_cached || is_free)
          finding(s.slab, [b] { return "uncarved block " + std::to_string(b) + " is in use"; });
        continue;
      }
      switch (w.tag()) {
        case BlockTag::kHeld: ++held; break;
        case BlockTag::kShared: ++shared; break;
        case BlockTag::kReturning: ++returning; break;
        case BlockTag::kFree:
          if (!w.is_free())
            finding(s.slab,
                    [b] { return "block " + std::to_string(b) + " is FREE with a holder"; });
          if (is_cached == is_free)
            finding(s.slab, [b, is_free] {
              return "block " + std::to_string(b) +
                     (is_free ? " is both cached and free" : " is FREE but nowhere (lost)");
            });
          cached += is_cached;
          free += is_free && !is_cached;
          break;
      }
      if (w.tag() != BlockTag::kFree && (is_cached || is_free))
        finding(s.slab, [b] {
          return "block " + std::to_string(b) + " is out and in the heap's hands at once (doubled)";
        });
    }
    if (free_bits != s.free_count) finding(s.slab, "free bitmap and its count differ");
    if (held + shared + returning + cached + free + uncarved != s.capacity)
      finding(s.slab, "conservation does not hold");
    if (!span) active_ += s.out();
    ++report_.slabs;
    report_.units += s.units;
    report_.capacity_blocks += s.capacity;
    report_.held += held;
    report_.shared += shared;
    report_.returning += returning;
    report_.cached += cached;
    report_.free += free;
    report_.uncarved += uncarved;
    report_.held_bytes += (held + shared) * s.stride_bytes;
  }

  const Heap& heap_;
  const Ledger* const ledger_;
  VerifyReport& report_;
  std::map<SlabIndex, std::vector<std::uint64_t>> cached_;  // by slab: its blocks in magazines
  std::uint64_t active_ = 0;
};

void verify_heap(const Heap& heap, const Ledger* ledger, VerifyReport& report) {
  HeapVerifier(heap, ledger, report).run();
}

void verify_leases(const Arena& arena, const std::function<bool(SessionId)>& attached,
                   VerifyReport& report) {
  const std::uint32_t max_heaps = arena.options().max_heaps;
  const auto claimed = [&arena] {
    std::uint64_t bits = 0;
    for (std::uint32_t i = 0; i < kMaxSharers; ++i)
      if (arena.control().sharers().sessions[i].load(std::memory_order_acquire) != 0)
        bits |= std::uint64_t{1} << i;
    return bits;
  };
  std::uint64_t sharers = claimed();
  arena.for_each_run([&](SlabIndex first, RunRecord run) {
    const SessionId session = run.owner().lessee();
    if (session == kNoSession) return;
    const auto finding = [&report, first](const auto& what) {
      report.mismatch([&] { return "leased slab " + std::to_string(first.value) + ": " + what(); });
    };
    const auto block_finding = [&finding](std::uint32_t block, const auto& what) {
      finding([&] { return "block " + std::to_string(block) + what(); });
    };
    if (!attached(session))
      finding([session] {
        return "its session " + std::to_string(session.value) + " is not attached";
      });
    const SlabHeader& h = arena.control().slab(first);
    const SlabShape shape = arena.shape_of(first);
    const std::uint64_t header_shape = h.shape.load(std::memory_order_acquire);
    if (header_shape != shape.bits && header_shape != 0)
      finding([] { return "header shape differs from the lease"; });
    const std::uint32_t owner = h.owner.load(std::memory_order_relaxed);
    if (header_shape != 0 &&
        (owner >= max_heaps ||
         arena.ledger().heap_owner({static_cast<std::uint16_t>(owner)}) != session))
      finding([owner, session] {
        return "header names heap " + std::to_string(owner) + ", which is not of session " +
               std::to_string(session.value);
      });
    std::uint32_t carved = h.carved.load(std::memory_order_acquire);
    if (carved > shape.capacity()) finding([] { return "more blocks are carved than it has"; });
    carved = std::min(carved, shape.capacity());
    const std::uint64_t stride = arena.run_at(first).stride_bytes;
    std::uint64_t held = 0, shared = 0, returning = 0;
    for (std::uint32_t b = 0; b < shape.capacity(); ++b) {
      const BlockWord w{arena.word(Slot::of(first, {b})).load(std::memory_order_acquire)};
      if (b >= carved) {
        if (!w.is_free() &&
            b >= h.carved.load(
                     std::memory_order_acquire))  // carved and given out since we looked: fine
          finding([b] { return "uncarved block " + std::to_string(b) + " is in use"; });
        continue;
      }
      const SessionId holder = w.holder().session();
      switch (w.tag()) {
        case BlockTag::kHeld:
          ++held;
          if (!attached(holder))
            block_finding(b, [holder] {
              return " is held by session " + std::to_string(holder.value) +
                     ", which is not attached (lost)";
            });
          break;
        case BlockTag::kShared:
          ++shared;
          if ((w.sharers() & ~sharers) != 0)
            sharers =
                claimed();  // a peer may have claimed its bit since we looked, before it shared
          if ((w.sharers() & ~sharers) != 0 || w.sharers() == 0)
            block_finding(b, [] { return " is shared by nobody who is attached (lost)"; });
          break;
        case BlockTag::kReturning: ++returning; break;
        case BlockTag::kFree:
          if (!w.is_free()) block_finding(b, [] { return " is FREE with a holder"; });
          break;
      }
    }
    ++report.slabs;
    ++report.leased_slabs;
    report.units += run.units();
    report.capacity_blocks += shape.capacity();
    report.held += held;
    report.shared += shared;
    report.returning += returning;
    report.cached += carved - std::min<std::uint64_t>(carved, held + shared + returning);
    report.uncarved += shape.capacity() - carved;
    report.held_bytes += (held + shared) * stride;
    report.counted_out += static_cast<std::int64_t>(held + shared + returning);
  });
}

void verify_arena(const Arena& arena, VerifyReport& report) {
  const std::uint64_t taken = arena.units().taken_units();
  if (taken != report.units)
    report.mismatch([&] {
      return "arena: " + std::to_string(taken) + " units are taken, the heaps' slabs have " +
             std::to_string(report.units);
    });
  const auto out = static_cast<std::int64_t>(report.held + report.shared + report.returning);
  if (out != report.counted_out)
    report.mismatch([&] {
      return "arena: " + std::to_string(out) + " blocks are out by their words, " +
             std::to_string(report.counted_out) + " by the counters";
    });
  if (arena.quarantined())
    report.mismatch([&arena] { return "arena: quarantined: " + arena.quarantine_reason(); });
}

VerifyReport verify(const Arena& arena, std::span<const Heap* const> heaps) {
  VerifyReport report;
  for (const Heap* h : heaps) verify_heap(*h, &arena.ledger(), report);
  verify_arena(arena, report);
  return report;
}

}  // namespace arenad
