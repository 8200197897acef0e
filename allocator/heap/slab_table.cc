#include "allocator/heap/slab_table.h"

#include <utility>

namespace arenad {

SlabTable::SlabTable(const Geometry& geometry, std::uint32_t unit_count, HeapId id,
                     SlabSource& source, RowTables& rows, std::span<Magazine> magazines,
                     HeapCounters& counters, HeapUse use, SlabNeeds needs)
    : geometry_(geometry),
      id_(id),
      use_(use),
      fast_frees_(use == HeapUse::kOwnProcess && !needs.slow_frees),
      last_holders_(needs.last_holders),
      source_(source),
      rows_(rows),
      magazines_(magazines),
      counters_(counters),
      slabs_(unit_count),
      my_units_(unit_count / kUnitsPerSuperslab),
      regions_(unit_count / kUnitsPerSuperslab),
      hint_{id.value * 64U % (unit_count / kUnitsPerSuperslab)} {}

SlabTable::~SlabTable() {
  for (const SlabState* s : all_) delete s;
}

Result<SlabState*> SlabTable::take(const RunShape& request) {
  const auto run = source_.take(id_, request, hint_);
  if (!run) return run.error();
  return &enter(*run, request);
}

Result<SlabState*> SlabTable::take_slab(ClassId cls) {
  const auto slab = take(geometry_.slab_shape(cls));
  if (!slab) return slab.error();
  hint_ = superslab_of((*slab)->slab);
  list(**slab);
  ++counters_.new_slabs;
  return *slab;
}

Result<SlabState*> SlabTable::take_span(std::uint32_t units) {
  return take(geometry_.span_shape(units));
}

SlabState& SlabTable::enter(SlabIndex first, const RunShape& run) {
  const Layout& layout = geometry_.layout();
  auto* const slab = new SlabState;
  slab->slab = first;
  slab->is_span = run.kind == SlabKind::kSpan;
  slab->cls = run.cls;
  slab->units = run.units;
  slab->capacity = run.capacity;
  slab->payload_offset = first.value * kSlabUnitBytes + layout.header_bytes;
  slab->free_bits = std::make_unique<std::uint64_t[]>(slab->word_count());
  if (use_ == HeapUse::kServesOthers) slab->away.emplace(run.capacity);
  if (last_holders_) slab->last_holders = std::make_unique<Holder[]>(run.capacity);
  slab->stride_bytes = run.stride_bytes;
  slab->usable_bytes = run.usable_bytes;
  if (!slab->is_span) {
    if (Magazine& m = magazines_[run.cls.value]; m.bottom == nullptr) m.make_storage();
    rows_.set(*slab, fast_frees_ ? magazine_position(run.cls) : std::uint16_t{0});
  }
  slabs_[first.value] = slab;
  my_units_[superslab_of(first).value] |= unit_bit_of(first);
  regions_.add(superslab_of(first));
  slab->position = all_.size();
  all_.push_back(slab);
  if (all_.size() == 1 && first_came_) first_came_();
  return *slab;
}

void SlabTable::release(SlabState& slab) {
  const SlabIndex first = slab.slab;
  const std::uint32_t units = slab.units;
  if (goes_) goes_(slab);
  if (slab.listed) partial_[slab.cls.value].remove(&slab);
  rows_.clear(slab);
  slabs_[first.value] = nullptr;
  my_units_[superslab_of(first).value] &= ~unit_bit_of(first);
  regions_.remove(superslab_of(first));
  all_[slab.position] = all_.back();
  all_[slab.position]->position = slab.position;
  all_.pop_back();
  delete &slab;
  ++counters_.released_slabs;
  source_.give_back(id_, first, units);
}

void SlabTable::change_payer(SlabState& slab, BlockIndex block, SessionId payer) {
  const auto bytes = static_cast<std::int64_t>(slab.stride_bytes);
  payments_.add(slab.away->payer(block), -bytes);
  payments_.add(payer, bytes);
  slab.away->set_payer(block, payer);
}

void SlabTable::move_payments(SlabState& slab, SessionId from, SessionId to) {
  const auto bytes = static_cast<std::int64_t>(slab.away->move(from, to) * slab.stride_bytes);
  payments_.add(from, -bytes);
  payments_.add(to, bytes);
}

void SlabTable::forgive_payments() {
  for (SlabState* const slab : all_) {
    if (!slab->away) continue;
    const auto bytes = static_cast<std::int64_t>(slab->stride_bytes);
    slab->away->for_each(
        [&](BlockIndex block) { payments_.add(slab->away->payer(block), -bytes); });
    slab->away->forget_payers();
  }
}

std::uint64_t SlabTable::release_empty(ClassId cls) {
  std::uint64_t bytes = 0;
  for (SlabState* s = partial_[cls.value].front(); s != nullptr;) {
    SlabState* const next = s->next;
    if (s->out() == 0) {
      if (s->carved != 0) --empty_slabs_[cls.value];
      bytes += s->bytes();
      release(*s);
    }
    s = next;
  }
  return bytes;
}

void SlabTable::gained(SlabState& slab) {
  if (!slab.listed) list(slab);
  if (slab.out() != 0) return;
  const bool may_leave = use_ == HeapUse::kServesOthers || magazines_[slab.cls.value].count() == 0;
  if (empty_slabs_[slab.cls.value] >= kKeepEmptySlabs && may_leave) return release(slab);
  ++empty_slabs_[slab.cls.value];
}

void SlabTable::release_surplus(ClassId cls) {
  if (!has_surplus(cls)) return;
  std::uint32_t kept = 0;
  for (SlabState* next = partial_[cls.value].front(); next != nullptr && has_surplus(cls);) {
    SlabState* const slab = std::exchange(next, next->next);
    if (slab->carved == 0 || slab->out() != 0 || ++kept <= kKeepEmptySlabs) continue;
    --empty_slabs_[cls.value];
    release(*slab);
  }
}

}  // namespace arenad
