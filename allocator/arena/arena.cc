#include "allocator/arena/arena.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "allocator/base/crash_point.h"

namespace arenad {

Arena::Made Arena::create(const ArenaConfig& wanted, const ArenaFiles* files) {
  ArenaConfig o = wanted;
  if (o.capacity_bytes == 0 || o.capacity_bytes > kMaxArenaBytes)
    return Failure{Error::kInvalidCapacity, "capacity of " + std::to_string(o.capacity_bytes) +
                                                " bytes; " + error_advice(Error::kInvalidCapacity) +
                                                " and " + std::to_string(kMaxArenaBytes) +
                                                " bytes in any case"};
  if (o.id.value == 0 || o.id.value > kMaxArenaId)
    return Failure{Error::kInvalidOption,
                   "arena id " + std::to_string(o.id.value) + "; use 1 to 1023"};
  if (o.max_heaps == 0 || o.max_heaps > kMaxHeaps)
    return Failure{Error::kInvalidOption,
                   "max_heaps " + std::to_string(o.max_heaps) + "; use 1 to 4096"};
  if (o.name.size() > kMaxNameBytes)
    return Failure{Error::kInvalidName, "a name of " + std::to_string(o.name.size()) + " bytes; " +
                                            error_advice(Error::kInvalidName)};
  o.capacity_bytes = (o.capacity_bytes + kSuperslabBytes - 1) / kSuperslabBytes * kSuperslabBytes;

  std::unique_ptr<Arena> arena(new Arena(o));
  // The ledger first: from here on a restart finds an arena that was only half made, and removes
  // it.
  auto ledger = files != nullptr
                    ? Ledger::create_file(files->ledger_path, o.capacity_bytes, o.max_heaps)
                    : Ledger::create(o.capacity_bytes, o.max_heaps);
  if (!ledger) return ledger.error();
  arena->ledger_ = std::move(*ledger);
  LedgerHeader& h = arena->ledger_.header();
  h.version = kLayoutVersion;
  h.arena_id = o.id.value;
  h.capacity_bytes = o.capacity_bytes;
  h.header_bytes = o.layout.header_bytes;
  h.canary_bytes = o.layout.canary_bytes;
  h.stride_align = o.layout.stride_align;
  h.max_heaps = o.max_heaps;
  h.holder_only = o.holder_only ? 1 : 0;
  o.name.copy(h.name, kMaxNameBytes);
  h.life.store(LedgerHeader::kCreating, std::memory_order_relaxed);
  h.magic = kLedgerMagic;

  const std::uint64_t control_bytes = ControlView::file_bytes(o.capacity_bytes, o.max_heaps);
  auto control = files != nullptr
                     ? MemoryFile::create_at(files->control_path, control_bytes, true)
                     : MemoryFile::create("arenad-control-" + o.name, control_bytes, true);
  if (!control) return control.error();
  arena->control_ = std::move(*control);
  auto data = files != nullptr
                  ? MemoryFile::create_at(files->data_path, o.capacity_bytes, o.map_data)
                  : MemoryFile::create("arenad-data-" + o.name, o.capacity_bytes, o.map_data);
  if (!data) return data.error();
  arena->data_ = std::move(*data);
  arena->view_ = ControlView(arena->control_.base(), o.capacity_bytes, o.max_heaps);
  if (arena->control_.commit(0, kPage) != Error::kNone)
    return Failure{Error::kMachineFull, std::string("the control file's first page; ") +
                                            error_advice(Error::kMachineFull)};
  arena->view_.header() = {kControlMagic,         kLayoutVersion,        o.id.value,
                           o.capacity_bytes,      o.layout.header_bytes, o.layout.canary_bytes,
                           o.layout.stride_align, o.max_heaps,           o.holder_only ? 1u : 0u};
  arena->init_units();
  if (files == nullptr) arena->finish_creation();
  return arena;
}

void Arena::finish_creation() {
  LedgerHeader& h = ledger_.header();
  h.checksum = Ledger::checksum_of(h);
  h.life.store(LedgerHeader::kLive, std::memory_order_release);
}

Arena::Made Arena::attach(int data_fd, int control_fd, SessionId session) {
  // Both are this function's from here on.
  struct stat st;
  ArenaHeader h{};
  auto data_file = MemoryFile::hold(data_fd), control_file = MemoryFile::hold(control_fd);
  if (session == kNoSession || ::fstat(control_fd, &st) != 0 ||
      ::pread(control_fd, &h, sizeof h, 0) != sizeof h || h.magic != kControlMagic)
    return Failure{Error::kInvalidOption, "the second descriptor is not an arena's control file"};
  if (h.version != kLayoutVersion)
    return Failure{Error::kInvalidOption, "the arena has layout version " +
                                              std::to_string(h.version) + ", this library knows " +
                                              std::to_string(kLayoutVersion) +
                                              ": use daemon and library of one version"};
  ArenaConfig o;
  o.id = {static_cast<std::uint16_t>(h.arena_id)};
  o.capacity_bytes = h.capacity_bytes;
  o.layout = {h.header_bytes, h.canary_bytes, h.stride_align};
  o.holder_only = h.holder_only != 0;
  o.max_heaps = h.max_heaps;
  const bool known_layout = o.layout == Layout::plain() || o.layout == Layout::canaried() ||
                            o.layout == Layout::headered();
  if (o.id.value == 0 || o.id.value > kMaxArenaId || o.capacity_bytes == 0 ||
      o.capacity_bytes > kMaxArenaBytes || o.capacity_bytes % kSuperslabBytes != 0 ||
      o.max_heaps == 0 || o.max_heaps > kMaxHeaps || !known_layout)
    return Failure{Error::kInvalidOption, "the control file's header is damaged"};
  std::unique_ptr<Arena> arena(new Arena(o));
  arena->peer_ = session;
  if (auto e = data_file.map_whole(o.capacity_bytes); e.error != Error::kNone) return e;
  if (auto e = control_file.map_whole(ControlView::file_bytes(o.capacity_bytes, o.max_heaps));
      e.error != Error::kNone)
    return e;
  arena->data_ = std::move(data_file);
  arena->control_ = std::move(control_file);
  arena->view_ = ControlView(arena->control_.base(), o.capacity_bytes, o.max_heaps);
  return arena;
}

void Arena::init_units() {
  units_.init(
      options_.capacity_bytes,
      [this](SuperslabIndex first, std::uint32_t count) { return commit_superslabs(first, count); },
      [this](SuperslabIndex i) { decommit_superslab(i); });
  word_pages_ = std::make_unique<std::atomic<std::uint8_t>[]>(unit_count() / kUnitsPerGroup);
  enlisted_ = std::make_unique<std::atomic<std::uint64_t>[]>((options_.max_heaps + 63) / 64);
}

Error Arena::commit_superslabs(SuperslabIndex first, std::uint32_t count) {
  if (const Error e = data_.commit(first.value * kSuperslabBytes, count * kSuperslabBytes);
      e != Error::kNone)
    return e;
  const std::uint64_t headers = view_.superslab_header_page(first);
  const std::uint64_t headers_end = view_.superslab_header_page({first.value + count - 1}) + kPage;
  Error e = control_.commit(headers, headers_end - headers);
  if (e == Error::kNone)
    e = control_.commit(view_.slab_headers_at(first),
                        count * kUnitsPerSuperslab * sizeof(SlabHeader));
  if (e != Error::kNone) {
    data_.give_back(first.value * kSuperslabBytes, count * kSuperslabBytes);
    return e;
  }
  for (std::uint32_t i = 0; i < count; ++i) {
    CRASH_POINT("arena.superslab_committed");
    view_.superslab({first.value + i}).committed.store(1, std::memory_order_release);
  }
  return Error::kNone;
}

void Arena::decommit_superslab(SuperslabIndex i) {
  CRASH_POINT("arena.superslab_decommitted");
  view_.superslab(i).committed.store(0, std::memory_order_release);
  data_.give_back(i.value * kSuperslabBytes, kSuperslabBytes);
}

Arena::Arena(const ArenaConfig& options)
    : options_(options),
      geometry_(options.layout),
      footprint_shift_(footprint_shift(unit_count())) {}

Arena::~Arena() { delete reason_.load(); }

SlabShape Arena::shape_of(SlabIndex first) const {
  if (attached()) return {view_.slab(first).shape.load(std::memory_order_acquire)};
  const RunRecord run = ledger_.run(first);
  if (!run) return {};
  return SlabShape::of(
      run.kind(), run.cls(), run.units(),
      run.kind() == SlabKind::kSpan ? 1 : geometry_.size_class(run.cls()).capacity);
}

Result<Ref> Arena::validate(UntrustedRef untrusted) const {
  const Ref ref{untrusted.value};
  const SlabIndex slab = ref.slot().slab();
  if (ref.arena() != options_.id || slab.value >= unit_count()) return Error::kForeignRef;
  if (!committed({slab.value / kUnitsPerSuperslab})) return Error::kStaleRef;
  // acquire: pairs with the owner's release of shape in prepare_run and of carved in carve.
  const SlabHeader& h = view_.slab(slab);
  const SlabShape shape = shape_of(slab);
  if (shape.kind() == SlabKind::kNone) return Error::kStaleRef;
  const std::uint32_t most = std::min(shape.capacity(), kMaxBlocksPerSlab);
  if (ref.slot().block().value >= std::min(h.carved.load(std::memory_order_acquire), most))
    return Error::kStaleRef;
  return ref;
}

BlockFacts Arena::describe(UntrustedRef untrusted) const {
  BlockFacts info;
  const auto ref = validate(untrusted);
  if (!ref) {
    if (ref.error() == Error::kStaleRef) info.state = BlockFacts::State::kStale;
    return info;
  }
  const Slot slot = ref->slot();
  const SlabHeader& h = view_.slab(slot.slab());
  const SlabShape shape = shape_of(slot.slab());
  const BlockWord word{this->word(slot).load(std::memory_order_acquire)};
  info.heap = {static_cast<std::uint16_t>(h.owner.load(std::memory_order_relaxed))};
  info.generation = word.generation();
  const Layout& layout = geometry_.layout();
  if (shape.kind() == SlabKind::kSpan) {
    info.stride_bytes = shape.units() * kSlabUnitBytes;
    info.usable_bytes = info.stride_bytes - layout.header_bytes - layout.canary_bytes;
    info.offset_bytes = slot.slab().value * kSlabUnitBytes + layout.header_bytes;
  } else {
    if (shape.cls() >= geometry_.class_count())
      return info;  // control memory is not to be followed
    const SizeClass& sc = geometry_.size_class(shape.cls());
    info.cls = shape.cls();
    info.usable_bytes = sc.usable_bytes;
    info.stride_bytes = sc.stride_bytes;
    info.offset_bytes = geometry_.payload_offset(shape.cls(), slot);
  }
  if (word.generation() != ref->generation()) {
    info.state = BlockFacts::State::kStale;
    return info;
  }
  switch (word.tag()) {
    case BlockTag::kFree: info.state = BlockFacts::State::kFree; break;
    case BlockTag::kHeld: info.state = BlockFacts::State::kHeld; break;
    case BlockTag::kReturning: info.state = BlockFacts::State::kReturning; break;
    case BlockTag::kShared: info.state = BlockFacts::State::kShared; break;
  }
  if (word.is_held() || word.is_returning()) info.holder = word.holder();
  return info;
}

Error Arena::refusal(Ref ref, SessionId required_holder) const {
  const BlockWord w{word(ref.slot()).load(std::memory_order_acquire)};
  const std::uint16_t next = (ref.generation() + 1) & 0x3fff;
  if (w.generation() == next && !w.is_held() && !w.is_shared()) return Error::kDoubleFree;
  if (w.generation() != ref.generation()) return Error::kStaleRef;
  if (w.is_held() && required_holder != kNoSession && w.holder().session() != required_holder)
    return Error::kNotHolder;
  return w.tag() == BlockTag::kFree ? Error::kForeignRef : Error::kNotHolder;
}

Result<Holder> Arena::acquire(UntrustedRef untrusted, Holder to) {
  const auto ref = validate(untrusted);
  if (!ref) return ref.error();
  if (attached()) touch(ref->slot().slab());
  AtomicWord& w = word(ref->slot());
  std::uint64_t bits = w.load(std::memory_order_acquire);
  while (BlockWord(bits).is_held() && BlockWord(bits).generation() == ref->generation()) {
    const std::uint64_t mine = (bits & ~BlockWord::kLowMask) | to.bits();
    CRASH_POINT("acquire.word");
    // acq_rel: pairs with the allocating owner's release store, so that what the holder before
    // wrote is seen.
    if (w.compare_exchange_weak(bits, mine, std::memory_order_acq_rel, std::memory_order_acquire))
      return BlockWord(bits).holder();
  }
  return refusal(*ref, kNoSession);
}

Result<Ref> Arena::ref_at(std::uint64_t payload_offset) const {
  const std::uint64_t offset = payload_offset - geometry_.layout().header_bytes;
  if (offset >= capacity_bytes()) return Error::kForeignRef;
  // The slab starts at this unit or, when it has several, before it: slabs have at most 32 units,
  // spans start at the block.
  std::uint32_t unit = static_cast<std::uint32_t>(offset / kSlabUnitBytes);
  const std::uint32_t lowest = unit / kUnitsPerSuperslab * kUnitsPerSuperslab;
  if (!committed({unit / kUnitsPerSuperslab})) return Error::kForeignRef;
  for (;; --unit) {
    const SlabHeader& h = view_.slab({unit});
    const SlabShape shape = shape_of({unit});
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
      if (block >= std::min(h.carved.load(std::memory_order_acquire), kMaxBlocksPerSlab))
        return Error::kForeignRef;
      const Slot slot = Slot::of({unit}, {block});
      return Ref::of(BlockWord(word(slot).load(std::memory_order_acquire)).generation(),
                     options_.id, slot);
    }
    if (unit == lowest) return Error::kForeignRef;
  }
}

HeapId Arena::publish_returned(std::uint64_t key, std::uint64_t bits, bool force) {
  const Slot first{key << 6};
  const SlabIndex slab = first.slab();
  const SuperslabIndex superslab{slab.value / kUnitsPerSuperslab};
  CRASH_POINT("publish.returned");
  // seq_cst throughout: the returned bit must be in memory before the owner is read (pairs with an
  // adopter's store of owner followed by its scan of the words). On x86 every read-modify-write is
  // a full barrier anyway.
  const std::uint64_t before = view_.returned(slab, first.block().value / 64).fetch_or(bits);
  if (before != 0 && !force)
    return {static_cast<std::uint16_t>(view_.slab(slab).owner.load(std::memory_order_relaxed))};
  const std::uint32_t unit_bit = std::uint32_t{1} << (slab.value % kUnitsPerSuperslab);
  CRASH_POINT("publish.superslab_pending");
  const bool superslab_known =
      (view_.superslab(superslab).pending.fetch_or(unit_bit) & unit_bit) != 0;
  const HeapId heap{static_cast<std::uint16_t>(view_.slab(slab).owner.load())};
  if ((superslab_known && !force) || heap.value >= options_.max_heaps) return heap;
  const std::uint32_t word = superslab.value / 64;
  CRASH_POINT("publish.heap_pending");
  const std::uint64_t heap_before =
      view_.pending_words(heap)[word].fetch_or(std::uint64_t{1} << (superslab.value % 64));
  if (heap_before == 0 || force) {
    CRASH_POINT("publish.summary");
    view_.pending_summary(heap)[word / 64].fetch_or(std::uint64_t{1} << (word % 64));
  }
  return heap;
}

void Arena::announce(SlabIndex first, std::uint32_t capacity) {
  const std::uint32_t unit_bit = std::uint32_t{1} << (first.value % kUnitsPerSuperslab);
  bool stands =
      (view_.superslab({first.value / kUnitsPerSuperslab}).pending.load() & unit_bit) != 0;
  for (std::uint32_t w = 0; w < (capacity + 63) / 64 && !stands; ++w)
    stands = view_.returned(first, w).load() != 0;
  if (stands) publish_returned(Slot::of(first, {0}).value >> 6, 0, true);
}

void Arena::raise_summary(HeapId id) {
  const std::atomic<std::uint64_t>* const words = view_.pending_words(id);
  for (std::uint32_t w = 0; w < view_.pending_word_count(); ++w) {
    if (words[w].load() == 0) continue;
    CRASH_POINT("raise.summary");
    view_.pending_summary(id)[w / 64].fetch_or(std::uint64_t{1} << (w % 64));
  }
}

// Only heaps that there are: the others' pages have no memory, and a look would give them some.
void Arena::raise_summaries() {
  for (std::uint32_t i = 0; i < options_.max_heaps; ++i) {
    const HeapId id{static_cast<std::uint16_t>(i)};
    const bool enlisted = (enlisted_[i / 64].load(std::memory_order_relaxed) >> (i % 64) & 1) != 0;
    if (enlisted || ledger_.heap_owner(id) != kNoSession) raise_summary(id);
  }
}

void Arena::enlist_heap(HeapId id, SessionId owner) {
  if (!attached()) {
    // Without these pages a touch commits them; it fails only on a machine that is full to the last
    // page.
    control_.commit(view_.heap_bytes_at(id) & ~(kPage - 1), kPage);
    const std::uint64_t from = view_.pending_at(id) & ~(kPage - 1);
    control_.commit(
        from, (view_.pending_at(id) + view_.pending_stride() + kPage - 1 - from) & ~(kPage - 1));
    enlisted_[id.value / 64].fetch_or(std::uint64_t{1} << (id.value % 64),
                                      std::memory_order_relaxed);
    raise_summary(id);  // what the id's owner before has left in its pending words would keep
                        // freers from telling this one
  }
  CRASH_POINT("enlist.owner");
  view_.heap(id).owner.store(owner.value, std::memory_order_relaxed);
  CRASH_POINT("enlist.state");
  view_.heap(id).state.store(1, std::memory_order_release);
}

void Arena::mark_session(SessionId session, SessionEntry::State state) {
  SessionEntry& entry = view_.session(session);
  const std::uint64_t at = reinterpret_cast<std::byte*>(&entry) - control_.base();
  if (control_.commit(at & ~(kPage - 1), kPage) != Error::kNone)
    return;  // only recovery's hint is lost
  if (state == SessionEntry::kLive)
    control_.commit(view_.touched_at(session), view_.footprint_stride());
  CRASH_POINT("session.state");
  entry.state.store(state, std::memory_order_release);
}

Result<std::uint32_t> Arena::commit_ahead(std::uint32_t spare) {
  return units_.commit_ahead(spare);
}
std::uint32_t Arena::decommit_idle(std::uint32_t keep) { return units_.decommit_idle(keep); }

Error Arena::commit_control(SlabIndex slab, std::uint32_t capacity) {
  const std::uint32_t group = slab.value / kUnitsPerGroup;
  const auto pages = static_cast<std::uint8_t>((capacity + 63) / 64);
  std::uint8_t have = word_pages_[group].load(std::memory_order_acquire);
  if (have < pages) {  // two heaps may commit the same pages: harmless
    for (std::uint8_t p = have; p < pages;) {
      // The pages of a group follow each other in the file, so one call commits the rest.
      if (const Error e = control_.commit(view_.word_page(group, p), (pages - p) * kPage);
          e != Error::kNone)
        return e;
      p = pages;
    }
    while (have < pages &&
           !word_pages_[group].compare_exchange_weak(have, pages, std::memory_order_acq_rel)) {}
  }
  if (capacity > kInlineReturnedWords * 64)
    return control_.commit(view_.overflow_page(slab), kPage);
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
