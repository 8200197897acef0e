#include "allocator/arena/arena.h"

#include <sys/random.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <utility>

#include "allocator/arena/arena_recovery.h"
#include "allocator/arena/reaper.h"
#include "allocator/base/crash_point.h"
#include "allocator/base/format.h"
#include "allocator/format/ref_layout.h"

namespace arenad {
namespace {

// The FREE word that blocks begin with. Not 0, by which the committer knows a word without a life.
std::uint64_t first_word_of(const ArenaConfig& c, const RefLayout& refs) {
  if (c.first_generation != 0) return refs.free_word(c.first_generation);
  std::uint64_t random = 0;
  // Not a secret. Where a seccomp filter forbids getrandom, the clock will do.
  if (::getrandom(&random, sizeof random, 0) != sizeof random)
    random =
        static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
  return refs.free_word(static_cast<std::uint32_t>(1 + random % (refs.generations() - 1)));
}

ArenaHeader header_of(const ArenaConfig& c) {
  return {kControlMagic,         kLayoutVersion,        c.id.value,
          c.capacity_bytes,      c.layout.header_bytes, c.layout.trailer_bytes,
          c.layout.stride_align, c.max_heaps,           option_bits(c)};
}

void fill(LedgerHeader& h, const ArenaConfig& c) {
  h.version = kLayoutVersion;
  h.arena_id = c.id.value;
  h.capacity_bytes = c.capacity_bytes;
  h.header_bytes = c.layout.header_bytes;
  h.trailer_bytes = c.layout.trailer_bytes;
  h.stride_align = c.layout.stride_align;
  h.max_heaps = c.max_heaps;
  h.options = option_bits(c);
  c.name.copy(h.name, kMaxNameBytes);
  h.life.store(LedgerHeader::kCreating, std::memory_order_relaxed);
  h.magic = kLedgerMagic;
}

ArenaConfig config_of(const LedgerHeader& h, bool map_data, MemoryBudget* budget) {
  ArenaConfig c;
  c.id = {static_cast<std::uint16_t>(h.arena_id)};
  c.name.assign(h.name, strnlen(h.name, kMaxNameBytes));
  c.capacity_bytes = h.capacity_bytes;
  c.layout = {h.header_bytes, h.trailer_bytes, h.stride_align};
  set_options(c, h.options);
  c.max_heaps = h.max_heaps;
  c.map_data = map_data || needs_data(c);
  c.budget = budget;
  return c;
}

// What an arena takes before anything is allocated in it: the unit map, the committer's pages, and
// the ledger where it is a file. Asked for as long as this object lives.
class OverheadRequest {
 public:
  OverheadRequest(const ArenaConfig& c, bool in_files)
      : budget_(c.budget),
        bytes_(c.capacity_bytes / kSuperslabBytes * kPrivateBytesOfSuperslab +
               (in_files ? Ledger::file_bytes(c.capacity_bytes, c.max_heaps) : 0)) {
    if (budget_ != nullptr) refusal_ = budget_->request(MemoryBudget::Use::kControl, bytes_, -1);
  }
  ~OverheadRequest() {
    if (budget_ != nullptr && granted()) budget_->arrived(bytes_);
  }
  OverheadRequest(const OverheadRequest&) = delete;
  OverheadRequest& operator=(const OverheadRequest&) = delete;

  bool granted() const { return refusal_.error == Error::kNone; }
  Failure refusal() const {
    return {refusal_.error,
            fmt::format("{} to manage an arena of that capacity: {}; {}", bytes_text(bytes_),
                        refusal_.message, error_advice(refusal_.error))};
  }

 private:
  static constexpr std::uint64_t kPrivateBytesOfSuperslab = 32;
  MemoryBudget* const budget_;
  const std::uint64_t bytes_;
  Failure refusal_;
};

}  // namespace

Arena::Arena(const ArenaConfig& config, MemoryFile data, MemoryFile control_memory, Ledger ledger)
    : ArenaView(config, std::move(data), std::move(control_memory)),
      ledger_(std::move(ledger)),
      committer_(data_file(), control_file(), control(), unit_count(),
                 first_word_of(config, refs()), config.budget, config.huge_pages),
      units_(
          config.capacity_bytes,
          [this](SuperslabIndex first, std::uint32_t count) {
            return committer_.commit_superslabs(first, count);
          },
          [this](SuperslabIndex i) { committer_.decommit_superslab(i); }),
      enlisted_(std::make_unique<std::atomic<std::uint64_t>[]>((config.max_heaps + 63) / 64)) {}

Arena::Made Arena::create(const ArenaConfig& wanted, const ArenaFiles* files) {
  if (Failure wrong = check_config(wanted); wrong.error != Error::kNone) return wrong;
  ArenaConfig c = wanted;
  c.capacity_bytes = rounded_capacity(c.capacity_bytes);
  if (c.debug.take_space()) c.layout = Layout::debugged(c.debug);
  c.map_data |= needs_data(c);
  const OverheadRequest overhead(c, files != nullptr);
  if (!overhead.granted()) return overhead.refusal();
  // The ledger first: from here on a restart finds an arena that is only half made, and removes it.
  auto ledger = files != nullptr
                    ? Ledger::create_file(files->ledger_path, c.capacity_bytes, c.max_heaps)
                    : Ledger::create(c.capacity_bytes, c.max_heaps);
  if (!ledger) return ledger.error();
  fill(ledger->header(), c);

  const std::uint64_t control_bytes = ControlView::file_bytes(c.capacity_bytes, c.max_heaps);
  auto control_memory = files != nullptr
                            ? MemoryFile::create_at(files->control_path, control_bytes, true)
                            : MemoryFile::create("arenad-control-" + c.name, control_bytes, true);
  if (!control_memory) return control_memory.error();
  auto data = files != nullptr
                  ? MemoryFile::create_at(files->data_path, c.capacity_bytes, c.map_data)
                  : MemoryFile::create("arenad-data-" + c.name, c.capacity_bytes, c.map_data);
  if (!data) return data.error();
  std::string unplaced = set_numa_policy(data->base(), c.capacity_bytes, c.numa, c.numa_nodes);
  if (control_memory->commit(0, kPage) != Error::kNone)
    return Failure{Error::kMachineFull, fmt::format("the control file's first page; {}",
                                                    error_advice(Error::kMachineFull))};
  std::unique_ptr<Arena> arena(
      new Arena(c, std::move(*data), std::move(*control_memory), std::move(*ledger)));
  arena->numa_refusal_ = std::move(unplaced);
  arena->control().header() = header_of(c);
  if (files == nullptr) arena->finish_creation();
  return arena;
}

void Arena::finish_creation() {
  LedgerHeader& h = ledger_.header();
  h.checksum = Ledger::checksum_of(h);
  h.life.store(LedgerHeader::kLive, std::memory_order_release);
}

Failure Arena::commit_whole() {
  const std::string what = bytes_text(capacity_bytes()) + " of a pinned arena";
  // One claim of everything is one request to the budget, and one commit.
  const auto all = units_.claim_superslabs(superslab_count());
  if (!all.ok())
    return {all.error(),
            fmt::format("{}: {}; {}", what, committer_.refusal(), error_advice(all.error()))};
  units_.drop_superslabs(*all, superslab_count());
  return options().lock ? lock_data() : Failure{};
}

Failure Arena::lock_data() {
  if (committer_.lock_data() != Error::kNone)
    return {Error::kMachineFull,
            fmt::format("{} to lock: {}", bytes_text(capacity_bytes()), committer_.refusal())};
  locked_.store(true, std::memory_order_relaxed);
  return {};
}

Arena::Made Arena::open(const ArenaFiles& files, Ledger ledger, bool map_data,
                        MemoryBudget* budget) {
  const ArenaConfig c = config_of(ledger.header(), map_data, budget);
  if (c.id.value == 0 || c.id.value > kMaxArenaId || !c.layout.fits(c.debug) ||
      !possible_options(ledger.header().options))
    return Failure{Error::kInvalidOption, fmt::format("ledger {} is damaged", files.ledger_path)};
  auto control_memory = MemoryFile::open(
      files.control_path, ControlView::file_bytes(c.capacity_bytes, c.max_heaps), true);
  if (!control_memory) return control_memory.error();
  auto data = MemoryFile::open(files.data_path, c.capacity_bytes, c.map_data);
  if (!data) return data.error();
  std::unique_ptr<Arena> arena(
      new Arena(c, std::move(*data), std::move(*control_memory), std::move(ledger)));
  const ArenaHeader expected = header_of(c);
  if (std::memcmp(&arena->control().header(), &expected,
                  offsetof(ArenaHeader, options) + sizeof expected.options) != 0)
    return Failure{
        Error::kInvalidOption,
        fmt::format("control file {} does not begin as its ledger says", files.control_path)};
  arena->committer_.adopt_control();
  if (Failure wrong = ArenaRecovery(*arena, arena->committer_, files).run();
      wrong.error != Error::kNone)
    return wrong;
  arena->numa_refusal_ = numa_policy_lacks(arena->data(), c.numa);
  // A lock ends with the process that made it. An arena that cannot be locked again is served.
  if (c.lock && !arena->quarantined()) (void)arena->lock_data();
  return arena;
}

std::uint64_t Arena::huge_bytes() const {
  return std::min(committer_.huge_pages().bytes(), committed_bytes());
}

std::string Arena::huge_page_refusal() const {
  const std::uint64_t committed = committed_bytes();
  const bool all = committed != 0 && committer_.huge_pages().bytes() >= committed;
  return all ? std::string() : committer_.huge_pages().refusal();
}

std::uint32_t Arena::decommit_idle(std::uint32_t keep) {
  return options().pinned ? 0 : units_.decommit_idle(keep);
}

SlabShape Arena::shape_of(SlabIndex first) const {
  const RunRecord run = ledger_.run(first);
  return run ? SlabShape::of(geometry().run_shape(run.kind(), run.cls(), run.units()))
             : SlabShape{};
}

Result<SlabIndex> Arena::take(HeapId heap, const RunShape& shape, SuperslabIndex hint) {
  return grant(heap, RunOwner::heap(heap), shape, hint);
}

void Arena::give_back(HeapId, SlabIndex first, std::uint32_t) { reclaim(first); }

Result<SlabIndex> Arena::take_units(const RunShape& shape, SuperslabIndex hint) {
  if (const auto claimed = claims_.take(shape)) return *claimed;
  if (shape.whole_superslabs())
    return units_.take_superslabs(shape.units / kUnitsPerSuperslab, memory_);
  const auto order =
      shape.kind == SlabKind::kSpan ? UnitMap::Order::kRotating : UnitMap::Order::kLowest;
  return units_.take_run(shape.units, hint, order, memory_);
}

Result<SlabIndex> Arena::grant(HeapId heap, RunOwner owner, const RunShape& shape,
                               SuperslabIndex hint) {
  const auto run = take_units(shape, hint);
  if (!run) return run.error();
  if (const Error e = committer_.commit_run(*run, shape.capacity); e != Error::kNone) {
    release_units(*run, shape);
    return e;
  }
  CRASH_POINT("grant.ledger");
  ledger_.set_run(*run, RunRecord::of(shape, owner));
  prepare_run(*run, heap, shape);
  return run;
}

void Arena::release_units(SlabIndex first, const RunShape& shape) {
  if (shape.whole_superslabs())
    units_.release_superslabs(first, shape.units / kUnitsPerSuperslab);
  else
    units_.release_run(first, shape.units);
}

void Arena::retire_run(SlabIndex first) {
  SlabHeader& h = control().slab(first);
  CRASH_POINT("retire.shape");
  h.shape.store(0, std::memory_order_release);
  CRASH_POINT("retire.carved");
  h.carved.store(0, std::memory_order_relaxed);
  CRASH_POINT("retire.owner");
  h.owner.store(kNoHeap.value);
}

void Arena::reclaim(SlabIndex first) {
  const RunShape shape = run_at(first);
  retire_run(first);
  CRASH_POINT("reclaim.ledger");
  ledger_.set_run(first, {});
  release_units(first, shape);
}

void Arena::for_each_run(const std::function<void(SlabIndex, RunRecord)>& f) const {
  for_each_run_in({0}, {unit_count()}, f);
}

void Arena::for_each_run_in(SlabIndex first, SlabIndex end,
                            const std::function<void(SlabIndex, RunRecord)>& f) const {
  if (first.value >= end.value) return;
  const SuperslabIndex last = superslab_of({end.value - 1});
  for (SuperslabIndex s = units_.next_used(superslab_of(first)); s.value <= last.value;
       s = units_.next_used({s.value + 1})) {
    const std::uint32_t stop = std::min(first_unit_of({s.value + 1}).value, end.value);
    for (std::uint32_t unit = std::max(first_unit_of(s).value, first.value);
         units_.committed(s) && unit < stop; ++unit)
      if (const RunRecord run = ledger_.run({unit})) f({unit}, run);
  }
}

void Arena::scrub_run(SlabIndex first) {
  if (options().scrub)
    std::memset(data() + bytes_of_units(first.value), 0, ledger_.run(first).bytes());
}

bool Arena::run_is_free(SlabIndex first) const {
  const std::uint32_t capacity = shape_of(first).capacity();
  for (std::uint32_t b = 0; b < capacity; ++b)
    if (!BlockWord(word(Slot::of(first, {b})).load(std::memory_order_acquire)).is_free())
      return false;
  return true;
}

ReapResult Arena::reap(SessionId dead, const Footprint* footprint) {
  (void)mark_session(dead, SessionEntry::kReaping);  // a hint for recovery, no more
  return Reaper(*this).reap(dead, footprint);
}

// The entries of the dead stay as they are until forget_session. A forged holder has no entry, and
// gets none: its page would be memory that nobody gives back.
std::map<SessionId, ReapResult> Arena::reap_all_but(const SessionSet& living) {
  return Reaper(*this).reap_all_but(living);
}

Footprint Arena::footprint_of(SessionId session) const {
  Footprint set(unit_count());
  const std::atomic<std::uint64_t>* const words = control().footprint(session);
  // acquire: pairs with the fetch_or in FootprintMarker::mark.
  for (std::size_t i = 0; i < set.words().size(); ++i)
    set.words()[i] = words[i].load(std::memory_order_acquire);
  return set;
}

void Arena::forget_session(SessionId session) {
  for (std::uint32_t i = 0; i < options().max_heaps; ++i) {
    const HeapId id{static_cast<std::uint16_t>(i)};
    if (ledger_.heap_owner(id) != session) continue;
    CRASH_POINT("forget.heap");
    ledger_.release_heap(id);
  }
  sharers().release(session);
  // A session that was never attached here has no page of its own yet.
  if (control().session(session).state.load(std::memory_order_relaxed) != SessionEntry::kNone) {
    for (std::uint32_t i = 0; i < control().footprint_words(); ++i)
      if (control().footprint(session)[i].load(std::memory_order_relaxed) != 0) {
        CRASH_POINT("forget.footprint");
        control().footprint(session)[i].store(0, std::memory_order_relaxed);
      }
    (void)mark_session(session, SessionEntry::kNone);
  }
  // Last: a session that lives on, detached, is attached until nothing of it is left.
  CRASH_POINT("forget.mode");
  ledger_.set_attach_mode(session, 0);
}

std::uint64_t Arena::touched_bytes() const {
  const std::uint64_t has = committer_.data_bytes();
  return has - std::min(has, committed_bytes()) + committer_.touched_control_bytes();
}

void Arena::drop_touched() {
  committer_.give_back_touched_control();
  for (SuperslabIndex at{0}; at.value < superslab_count(); ++at.value) {
    const SuperslabIndex used = units_.next_used(at);
    if (used != at) committer_.give_back_data(at, used.value - at.value);
    at = used;
  }
}

Error Arena::mark_session(SessionId session, SessionEntry::State state) {
  if (const Error e = committer_.commit_session(session, state == SessionEntry::kLive);
      e != Error::kNone)
    return e;
  CRASH_POINT("session.state");
  control().session(session).state.store(state, std::memory_order_release);
  return Error::kNone;
}

Error Arena::enlist_heap(HeapId id, SessionId owner) {
  const Error committed = commit_heap(id);
  enlisted_[id.value / 64].fetch_or(std::uint64_t{1} << (id.value % 64), std::memory_order_relaxed);
  // The pending words may hold bits of the id's owner before. Freers that see such a bit would not
  // tell the new owner.
  raise_summary(id);
  (void)ArenaView::enlist_heap(id, owner);  // a peer's view commits nothing, so it never fails
  return committed;
}

void Arena::raise_summaries() {
  // Only heaps that exist: the pages of the others have no memory, and a look would give them some.
  for (std::uint32_t i = 0; i < options().max_heaps; ++i) {
    const HeapId id{static_cast<std::uint16_t>(i)};
    const bool enlisted = (enlisted_[i / 64].load(std::memory_order_relaxed) >> (i % 64) & 1) != 0;
    if (enlisted || ledger_.heap_owner(id) != kNoSession) raise_summary(id);
  }
}

}  // namespace arenad
