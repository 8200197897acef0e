// SlabTable: which slabs and spans a heap has, and which of them have blocks to give.
//
// Purpose: takes runs from the heap's SlabSource, keeps their private state, lists the slabs of
//   each class that have free or never-used blocks, and gives empty slabs back.
// Invariants:
// * A slab is listed exactly while it has a block to give. A span is never listed.
// * A slab that is here has its rows set. Its class's magazine has storage, so that a row that
//   names a magazine has a place to push to.
// * A slab leaves the heap only when no magazine has a block of it. A heap that serves others knows
//   that from its away bits. In another heap forged words can bring a block into a magazine twice,
//   so a slab leaves only while the magazine of its class is empty.
// * all() has each slab and span once. So whoever looks at all of them pays for those that there
//   are, and not for the arena's capacity.
// * active_blocks() is the sum of SlabState::out() over all slabs, without spans.
// Threads: the heap's owner. Crash: private; recovery makes the table anew from ledger and words.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "../arena/slab_source.h"
#include "../base/error.h"
#include "../base/export.h"
#include "../base/zeroed_array.h"
#include "../format/geometry.h"
#include "../format/ids.h"
#include "counters.h"
#include "magazine.h"
#include "payments.h"
#include "regions.h"
#include "row_tables.h"
#include "slab.h"

namespace arenad {

// What a heap's slabs need beyond plain ones.
struct SlabNeeds {
  bool slow_frees = false;    // something is done at each free, so no free is a fast one
  bool last_holders = false;  // SlabState::last_holders
};

// Whom a heap allocates and frees for.
enum class HeapUse : std::uint8_t {
  // For callers that are trusted to free only what they have. The fast paths are on.
  kOwnProcess,
  // For other processes. Every call takes the checked paths, which know from private memory which
  // blocks are away.
  kServesOthers,
};

class ARENAD_API SlabTable {
 public:
  // `magazines` are the heap's, by class. All references must outlive the table.
  SlabTable(const Geometry& geometry, std::uint32_t unit_count, HeapId id, SlabSource& source,
            RowTables& rows, std::span<Magazine> magazines, HeapCounters& counters,
            HeapUse use = HeapUse::kOwnProcess, SlabNeeds needs = {});
  ~SlabTable();
  SlabTable(const SlabTable&) = delete;
  SlabTable& operator=(const SlabTable&) = delete;

  // --- a slab's life
  // Takes a run from the source and makes it a slab of `cls`, listed. Errors: the source's.
  Result<SlabState*> take_slab(ClassId cls);
  // Takes a run of `units` and makes it a span. Errors: the source's.
  Result<SlabState*> take_span(std::uint32_t units);
  // Makes a run that is this heap's already one of its slabs. The slab is not listed yet.
  SlabState& enter(SlabIndex first, const RunShape& run);
  // Gives a slab or span back to the source. Nothing of it may be out. `slab` is gone afterwards.
  void release(SlabState& slab);
  // Gives back all slabs of a class from which nothing is out. Returns bytes.
  std::uint64_t release_empty(ClassId cls);

  // --- blocks that leave a slab and come home
  // The slab of `cls` to take blocks from; null when none has any.
  SlabState* next_with_blocks(ClassId cls) const { return partial_[cls.value].front(); }
  void list(SlabState& slab) { partial_[slab.cls.value].push_front(&slab); }
  // Call before and after blocks are taken from a slab.
  void begin_take(const SlabState& slab) {
    if (slab.carved != 0 && slab.out() == 0) --empty_slabs_[slab.cls.value];
  }
  void end_take(SlabState& slab, std::uint32_t taken) {
    active_blocks_ += taken;
    if (!slab.has_any()) partial_[slab.cls.value].remove(&slab);
  }
  // Call after blocks came home to a slab's free bitmap: it is listed, and goes back to the source
  // when it is empty, enough empty slabs of its class are kept already, and it may leave.
  void gained(SlabState& slab);
  // Whether a class has more empty slabs than it keeps.
  bool has_surplus(ClassId cls) const { return empty_slabs_[cls.value] > kKeepEmptySlabs; }
  // Gives back the empty slabs beyond those that a class keeps. The class's magazine is empty.
  void release_surplus(ClassId cls);
  // `count` blocks of slabs came home, or, when adopted, are out from the beginning.
  void came_home(std::uint64_t count) { active_blocks_ -= count; }
  void adopted_out(std::uint64_t count) { active_blocks_ += count; }

  // --- who pays for a block that is away. Only in a heap that serves others
  // The block leaves its slab for somebody, or has left it when a slab is adopted.
  void note_away(SlabState& slab, BlockIndex block, SessionId payer) {
    if (!slab.away) return;
    slab.away->add(block, payer);
    payments_.add(payer, static_cast<std::int64_t>(slab.stride_bytes));
  }
  // A block that was away is the heap's again.
  void note_home(SlabState& slab, BlockIndex block) {
    if (slab.away)
      payments_.add(slab.away->remove(block), -static_cast<std::int64_t>(slab.stride_bytes));
  }
  // `payer` pays for a block that is away.
  void change_payer(SlabState& slab, BlockIndex block, SessionId payer);
  // `to` pays for all blocks of the slab that `from` pays for.
  void move_payments(SlabState& slab, SessionId from, SessionId to);
  // Nobody pays for any block from here on.
  void forgive_payments();
  Payments& payments() { return payments_; }

  // --- facts
  HeapUse use() const { return use_; }
  // The slab or span that starts at `first`; null when this heap has none there.
  SlabState* find(SlabIndex first) { return slabs_[first.value]; }
  const SlabState* find(SlabIndex first) const { return slabs_[first.value]; }
  // Bit i: a slab or span of this heap starts at unit i of the superslab.
  std::uint32_t units_in(SuperslabIndex superslab) const { return my_units_[superslab.value]; }
  // All slabs and spans, in no order. A caller that may release some meanwhile needs a copy.
  const std::vector<SlabState*>& all() const { return all_; }
  // Where this heap has slabs. Any thread.
  const Regions& regions() const { return regions_; }
  // From here on `f` is called when the heap has got a first slab or span, and had none before.
  void when_first_comes(std::function<void()> f) { first_came_ = std::move(f); }
  // From here on `f` is called with each slab or span that is about to go back to the source.
  void before_release(std::function<void(const SlabState&)> f) { goes_ = std::move(f); }
  // Blocks of slabs (not spans) that are out of their slab: the predecessor's total_active_blocks.
  std::uint64_t active_blocks() const { return active_blocks_; }

 private:
  // Empty slabs that a class keeps. A further one goes back to the source as soon as it may leave.
  static constexpr std::uint32_t kKeepEmptySlabs = 4;

  Result<SlabState*> take(const RunShape& request);

  const Geometry& geometry_;
  const HeapId id_;
  const HeapUse use_;
  const bool fast_frees_;
  const bool last_holders_;
  SlabSource& source_;
  RowTables& rows_;
  const std::span<Magazine> magazines_;
  HeapCounters& counters_;
  ZeroedArray<SlabState*> slabs_;        // by unit; costs no memory where there is no slab
  ZeroedArray<std::uint32_t> my_units_;  // by superslab
  std::vector<SlabState*> all_;          // the same slabs; SlabState::position is the place here
  Regions regions_;
  std::function<void()> first_came_;            // may be empty
  std::function<void(const SlabState&)> goes_;  // may be empty
  Payments payments_;
  std::array<SlabList, kMaxClasses> partial_;
  std::array<std::uint32_t, kMaxClasses> empty_slabs_{};  // carved, nothing out
  std::uint64_t active_blocks_ = 0;
  SuperslabIndex hint_;  // where the last slab was; neighbours share control pages
};

}  // namespace arenad
