#include "allocator/arena.h"

#include <algorithm>

namespace arenad {

Result<std::unique_ptr<Arena>, Failure> Arena::create(const ArenaOptions& wanted) {
  ArenaOptions o = wanted;
  if (o.capacity_bytes == 0 || o.capacity_bytes > kMaxArenaBytes)
    return Failure{Error::kInvalidCapacity, "capacity of " + std::to_string(o.capacity_bytes) + " bytes; " +
                                                error_advice(Error::kInvalidCapacity) + " and " +
                                                std::to_string(kMaxArenaBytes) + " bytes in any case"};
  if (o.id.value == 0 || o.id.value > kMaxArenaId)
    return Failure{Error::kInvalidOption, "arena id " + std::to_string(o.id.value) + "; use 1 to 1023"};
  if (o.max_heaps == 0 || o.max_heaps > kMaxHeaps)
    return Failure{Error::kInvalidOption, "max_heaps " + std::to_string(o.max_heaps) + "; use 1 to 4096"};
  o.capacity_bytes = (o.capacity_bytes + kSuperslabBytes - 1) / kSuperslabBytes * kSuperslabBytes;

  std::unique_ptr<Arena> arena(new Arena(o));
  auto data = MemoryFile::create("arenad-data-" + o.name, o.capacity_bytes, o.map_data);
  if (!data) return data.error();
  const std::uint64_t control_bytes = ControlView::file_bytes(o.capacity_bytes, o.max_heaps);
  auto control = MemoryFile::create("arenad-control-" + o.name, control_bytes, true);
  if (!control) return control.error();
  arena->data_ = std::move(*data);
  arena->control_ = std::move(*control);
  arena->view_ = ControlView(arena->control_.base(), o.capacity_bytes, o.max_heaps);
  if (arena->control_.commit(0, kPage) != Error::kNone)
    return Failure{Error::kMachineFull, std::string("the control file's first page; ") + error_advice(Error::kMachineFull)};
  arena->view_.header() = {kControlMagic, kLayoutVersion, o.id.value, o.capacity_bytes, o.layout.header_bytes,
                           o.layout.canary_bytes, o.layout.stride_align, o.max_heaps, o.holder_only ? 1u : 0u};

  Arena* a = arena.get();
  a->units_.init(
      o.capacity_bytes,
      [a](SuperslabIndex first, std::uint32_t count) {
        if (const Error e = a->data_.commit(first.value * kSuperslabBytes, count * kSuperslabBytes); e != Error::kNone) return e;
        const std::uint64_t headers = a->view_.superslab_header_page(first);
        const std::uint64_t headers_end = a->view_.superslab_header_page({first.value + count - 1}) + kPage;
        Error e = a->control_.commit(headers, headers_end - headers);
        if (e == Error::kNone)
          e = a->control_.commit(a->view_.slab_headers_at(first), count * kUnitsPerSuperslab * sizeof(SlabHeader));
        if (e != Error::kNone) a->data_.give_back(first.value * kSuperslabBytes, count * kSuperslabBytes);
        else
          for (std::uint32_t i = 0; i < count; ++i)
            a->view_.superslab({first.value + i}).committed.store(1, std::memory_order_relaxed);
        return e;
      },
      [a](SuperslabIndex i) {
        a->view_.superslab(i).committed.store(0, std::memory_order_relaxed);
        a->data_.give_back(i.value * kSuperslabBytes, kSuperslabBytes);
      });
  a->word_pages_ = std::make_unique<std::atomic<std::uint8_t>[]>(a->unit_count() / kUnitsPerGroup);
  return arena;
}

Arena::Arena(const ArenaOptions& options) : options_(options), geometry_(options.layout) {}

Arena::~Arena() { delete reason_.load(); }

Result<Ref> Arena::validate(UntrustedRef untrusted) const {
  const Ref ref{untrusted.value};
  const SlabIndex slab = ref.slot().slab();
  if (ref.arena() != options_.id || slab.value >= unit_count()) return Error::kForeignRef;
  if (!units_.committed({slab.value / kUnitsPerSuperslab})) return Error::kStaleRef;
  // acquire: pairs with the owner's release of shape in new_slab and of carved in carve.
  const SlabHeader& h = view_.slab(slab);
  if (SlabShape{h.shape.load(std::memory_order_acquire)}.kind() == SlabKind::kNone) return Error::kStaleRef;
  if (ref.slot().block().value >= std::min(h.carved.load(std::memory_order_acquire), kMaxBlocksPerSlab)) return Error::kStaleRef;
  return ref;
}

BlockInfo Arena::describe(UntrustedRef untrusted) const {
  BlockInfo info;
  const auto ref = validate(untrusted);
  if (!ref) {
    if (ref.error() == Error::kStaleRef) info.state = BlockInfo::State::kStale;
    return info;
  }
  const Slot slot = ref->slot();
  const SlabHeader& h = view_.slab(slot.slab());
  const SlabShape shape{h.shape.load(std::memory_order_acquire)};
  const BlockWord word{this->word(slot).load(std::memory_order_acquire)};
  info.heap = {static_cast<std::uint16_t>(h.owner.load(std::memory_order_relaxed))};
  info.generation = word.generation();
  const Layout& layout = geometry_.layout();
  if (shape.kind() == SlabKind::kSpan) {
    info.stride_bytes = shape.units() * kSlabUnitBytes;
    info.usable_bytes = info.stride_bytes - layout.header_bytes - layout.canary_bytes;
    info.offset_bytes = slot.slab().value * kSlabUnitBytes + layout.header_bytes;
  } else {
    if (shape.cls() >= geometry_.class_count()) return info;  // control memory is not to be followed
    const SizeClass& sc = geometry_.size_class(shape.cls());
    info.cls = shape.cls();
    info.usable_bytes = sc.usable_bytes;
    info.stride_bytes = sc.stride_bytes;
    info.offset_bytes = geometry_.payload_offset(shape.cls(), slot);
  }
  if (word.generation() != ref->generation()) {
    info.state = BlockInfo::State::kStale;
    return info;
  }
  switch (word.tag()) {
    case BlockTag::kFree: info.state = BlockInfo::State::kFree; break;
    case BlockTag::kHeld: info.state = BlockInfo::State::kHeld; break;
    case BlockTag::kReturning: info.state = BlockInfo::State::kReturning; break;
    case BlockTag::kShared: info.state = BlockInfo::State::kShared; break;
  }
  if (word.is_held() || word.is_returning()) info.holder = word.holder();
  return info;
}

Error Arena::refusal(Ref ref, SessionId required_holder) const {
  const BlockWord w{word(ref.slot()).load(std::memory_order_acquire)};
  const std::uint16_t next = (ref.generation() + 1) & 0x3fff;
  if (w.generation() == next && !w.is_held() && w.tag() != BlockTag::kShared) return Error::kDoubleFree;
  if (w.generation() != ref.generation()) return Error::kStaleRef;
  if (w.is_held() && required_holder != kNoSession && w.holder().session != required_holder) return Error::kNotHolder;
  return w.tag() == BlockTag::kFree ? Error::kForeignRef : Error::kNotHolder;
}

Result<Holder> Arena::acquire(UntrustedRef untrusted, Holder to) {
  const auto ref = validate(untrusted);
  if (!ref) return ref.error();
  AtomicWord& w = word(ref->slot());
  std::uint64_t bits = w.load(std::memory_order_acquire);
  while (BlockWord(bits).is_held() && BlockWord(bits).generation() == ref->generation()) {
    const std::uint64_t mine = (bits & ~BlockWord::kLowMask) | to.bits();
    // acq_rel: pairs with the allocating owner's release store, so that what the holder before wrote is seen.
    if (w.compare_exchange_weak(bits, mine, std::memory_order_acq_rel, std::memory_order_acquire)) return BlockWord(bits).holder();
  }
  return refusal(*ref, kNoSession);
}

Result<Ref> Arena::ref_at(std::uint64_t payload_offset) const {
  const std::uint64_t offset = payload_offset - geometry_.layout().header_bytes;
  if (offset >= capacity_bytes()) return Error::kForeignRef;
  // The slab starts at this unit or, when it has several, before it: slabs have at most 32 units, spans start at the block.
  std::uint32_t unit = static_cast<std::uint32_t>(offset / kSlabUnitBytes);
  const std::uint32_t lowest = unit / kUnitsPerSuperslab * kUnitsPerSuperslab;
  if (!units_.committed({unit / kUnitsPerSuperslab})) return Error::kForeignRef;
  for (;; --unit) {
    const SlabHeader& h = view_.slab({unit});
    const SlabShape shape{h.shape.load(std::memory_order_acquire)};
    const std::uint64_t in_slab = offset - unit * kSlabUnitBytes;
    if (shape.kind() != SlabKind::kNone && in_slab < shape.units() * kSlabUnitBytes) {
      std::uint32_t block = 0;
      if (shape.kind() == SlabKind::kSlab) {
        if (shape.cls() >= geometry_.class_count()) return Error::kForeignRef;
        const SizeClass& sc = geometry_.size_class(shape.cls());
        block = sc.reciprocal.divide(static_cast<std::uint32_t>(in_slab));
        if (block * sc.stride_bytes != in_slab) return Error::kForeignRef;
      } else if (in_slab != 0) {
        return Error::kForeignRef;
      }
      if (block >= std::min(h.carved.load(std::memory_order_acquire), kMaxBlocksPerSlab)) return Error::kForeignRef;
      const Slot slot = Slot::of({unit}, {block});
      return Ref::of(BlockWord(word(slot).load(std::memory_order_acquire)).generation(), options_.id, slot);
    }
    if (unit == lowest) return Error::kForeignRef;
  }
}

HeapId Arena::publish_returned(std::uint64_t key, std::uint64_t bits, bool force) {
  const Slot first{key << 6};
  const SlabIndex slab = first.slab();
  const SuperslabIndex superslab{slab.value / kUnitsPerSuperslab};
  // seq_cst throughout: the returned bit must be in memory before the owner is read (pairs with an adopter's store of
  // owner followed by its scan of the words). On x86 every read-modify-write is a full barrier anyway.
  const std::uint64_t before = view_.returned(slab, first.block().value / 64).fetch_or(bits);
  if (before != 0 && !force) return {static_cast<std::uint16_t>(view_.slab(slab).owner.load(std::memory_order_relaxed))};
  const std::uint32_t unit_bit = std::uint32_t{1} << (slab.value % kUnitsPerSuperslab);
  const bool superslab_known = (view_.superslab(superslab).pending.fetch_or(unit_bit) & unit_bit) != 0;
  const HeapId heap{static_cast<std::uint16_t>(view_.slab(slab).owner.load())};
  if ((superslab_known && !force) || heap.value >= options_.max_heaps) return heap;
  const std::uint32_t word = superslab.value / 64;
  const std::uint64_t heap_before = view_.pending_words(heap)[word].fetch_or(std::uint64_t{1} << (superslab.value % 64));
  if (heap_before == 0 || force) view_.pending_summary(heap)[word / 64].fetch_or(std::uint64_t{1} << (word % 64));
  return heap;
}

void Arena::enlist_heap(HeapId id, SessionId owner) {
  // Without these pages a touch commits them; it fails only on a machine that is full to the last page.
  control_.commit(view_.heap_bytes_at(id) & ~(kPage - 1), kPage);
  const std::uint64_t from = view_.pending_at(id) & ~(kPage - 1);
  control_.commit(from, (view_.pending_at(id) + view_.pending_stride() + kPage - 1 - from) & ~(kPage - 1));
  view_.heap(id).owner.store(owner.value, std::memory_order_relaxed);
  view_.heap(id).state.store(1, std::memory_order_release);
}

void Arena::mark_session(SessionId session, SessionEntry::State state) {
  SessionEntry& entry = view_.session(session);
  const std::uint64_t at = reinterpret_cast<std::byte*>(&entry) - control_.base();
  if (control_.commit(at & ~(kPage - 1), kPage) != Error::kNone) return;  // only recovery's hint is lost
  entry.state.store(state, std::memory_order_release);
}

Result<std::uint32_t> Arena::commit_ahead(std::uint32_t spare) { return units_.commit_ahead(spare); }
std::uint32_t Arena::decommit_idle(std::uint32_t keep) { return units_.decommit_idle(keep); }

Error Arena::commit_control(SlabIndex slab, std::uint32_t capacity) {
  const std::uint32_t group = slab.value / kUnitsPerGroup;
  const auto pages = static_cast<std::uint8_t>((capacity + 63) / 64);
  std::uint8_t have = word_pages_[group].load(std::memory_order_acquire);
  if (have < pages) {  // two heaps may commit the same pages: harmless
    for (std::uint8_t p = have; p < pages;) {
      // The pages of a group follow each other in the file, so one call commits the rest.
      if (const Error e = control_.commit(view_.word_page(group, p), (pages - p) * kPage); e != Error::kNone) return e;
      p = pages;
    }
    while (have < pages && !word_pages_[group].compare_exchange_weak(have, pages, std::memory_order_acq_rel)) {
    }
  }
  if (capacity > kInlineReturnedWords * 64) return control_.commit(view_.overflow_page(slab), kPage);
  return Error::kNone;
}

void Arena::quarantine(const std::string& reason) {
  quarantined_.store(true, std::memory_order_relaxed);
  const std::string* mine = new std::string(reason);
  const std::string* none = nullptr;
  if (!reason_.compare_exchange_strong(none, mine, std::memory_order_acq_rel)) delete mine;
}

std::string Arena::quarantine_reason() const {
  const std::string* r = reason_.load(std::memory_order_acquire);
  return r != nullptr ? *r : std::string();
}

}  // namespace arenad
