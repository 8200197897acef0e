// Heaps over control memory that changes under them.
//
// Purpose: the input decides what three heaps of one arena do, and what a hostile peer writes into
// the arena's control memory: between two operations, and inside an operation in front of each
// store to shared memory (every CRASH_POINT). One heap serves other processes, as a shard's does.
// One has the fast paths. One is a peer's, on leased slabs.
// What must hold:
// * No crash, and no report of a sanitizer.
// * What leaves a heap lies in the arena, inside a slab of that heap and of the right class. The
//   ledger, which is private, says so.
// * A magazine has only blocks of slabs of its heap. In the heap that serves others, each of them
//   once, and none that is away or in a free bitmap.
// * The refills' own counts agree.
// * Another arena beside the forged one gives out no block twice and stays exact.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>
#include <set>
#include <string_view>
#include <vector>

#include "allocator/arena/arena.h"
#include "allocator/arena/peer_arena.h"
#include "allocator/base/crash_point.h"
#include "allocator/base/log.h"
#include "allocator/check/verify.h"
#include "allocator/heap/heap.h"
#include "tests/fuzz/forger.h"
#include "tests/fuzz/input.h"

namespace arenad::fuzz {
namespace {

constexpr SessionId kPeer{5};
constexpr HeapId kServing{0}, kFast{1}, kPeerHeap{40};
constexpr std::size_t kKnownRefs = 512;
constexpr std::uint64_t kSizes[] = {8,    16,   48,    100,   256,    320,    1000,   1024,
                                    1500, 3000, 10000, 40000, 100000, 131072, 200000, 3000000};

// In a forged arena every answer is right, as long as nothing breaks.
template <class Answer>
void any_answer(const Answer&) {}

std::unique_ptr<Arena> make_arena(std::uint16_t id, Layout layout) {
  ArenaConfig config;
  config.id = {id};
  config.capacity_bytes = 3 * kSuperslabBytes;
  config.debug.redzones = layout == Layout::redzoned();
  config.max_heaps = 64;
  config.first_generation = 1;
  auto made = Arena::create(config);
  FUZZ_EXPECT(made.ok(), "the arena can be made");
  return std::move(*made);
}

// The arena beside the forged one. It outlives the runs.
class Neighbour {
 public:
  void step(Input& input) {
    const std::uint64_t size = kSizes[input.u8() % std::size(kSizes)];
    if (live_.size() < 64 && input.u8() % 3 != 0) {
      const auto got = heap_.allocate(size, Holder({1}, 1));
      if (!got.ok()) return;
      FUZZ_EXPECT(offsets_.insert(got->offset).second, "no block of another arena is out twice");
      live_.push_back(*got);
    } else if (!live_.empty()) {
      const std::size_t i = input.below(live_.size());
      free(live_[i]);
      live_.erase(live_.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }
  void finish() {
    for (const Allocation& b : live_) free(b);
    live_.clear();
    const Heap* const heaps[] = {&heap_};
    const VerifyReport report = verify(*arena_, heaps);
    FUZZ_EXPECT(report.exact() && report.held == 0, "another arena stays exact");
    FUZZ_EXPECT(!arena_->quarantined(), "another arena is not quarantined");
  }

 private:
  void free(const Allocation& b) {
    FUZZ_EXPECT(heap_.free(b.ref) == Error::kNone, "another arena frees what it gave");
    offsets_.erase(b.offset);
  }
  const std::unique_ptr<Arena> arena_ = make_arena(2, Layout::plain());
  Heap heap_{*arena_, {0}, {1}};
  std::vector<Allocation> live_;
  std::set<std::uint64_t> offsets_;
};

class World : private SlabSource {
 public:
  World(Input& input, Neighbour& neighbour)
      : input_(input),
        neighbour_(neighbour),
        arena_(make_arena(1, input.u8() % 2 != 0 ? Layout::redzoned() : Layout::plain())),
        serving_(*arena_, kServing, kReaperSession, HeapUse::kServesOthers),
        fast_(*arena_, kFast, {1}),
        forger_(*arena_, input, known_, {kServing, kFast, kPeerHeap}) {
    arena_->mark_session(kPeer, SessionEntry::kLive);
    auto attached = PeerArena::attach(::dup(arena_->data_fd()), ::dup(arena_->control_fd()), kPeer);
    FUZZ_EXPECT(attached.ok(), "a peer attaches");
    peer_arena_ = std::move(*attached);
    arena_->enlist_heap(kPeerHeap, kPeer);
    peer_ = std::make_unique<Heap>(*peer_arena_, kPeerHeap, kPeer, static_cast<SlabSource&>(*this));
    known_.reserve(kKnownRefs);
  }

  void run() {
    until_forged_ = input_.u8();
    current = this;
    for (std::uint32_t n = 1; !input_.ended(); ++n) {
      step();
      if (n % 32 == 0) check_magazines();
    }
    current = nullptr;
    check_magazines();
    for (const Heap* h : {&serving_, &fast_})
      FUZZ_EXPECT(h->counters().p0_counter_mismatch == 0, "refills count exactly");
    const Heap* const heaps[] = {&serving_, &fast_};
    any_answer(verify(*arena_, heaps));
  }

  // At each point of the allocator that comes before a store to shared memory.
  static void at_point() {
    World* const world = std::exchange(current, nullptr);  // forging passes points, too
    if (world == nullptr) return;
    if (world->until_forged_-- == 0) {
      world->forger_.forge();
      world->until_forged_ = world->input_.u8();
    }
    current = world;
  }

 private:
  // --- the peer's leases, as the daemon grants them and takes them back
  Result<SlabIndex> take(HeapId heap, const RunShape& shape, SuperslabIndex hint) override {
    if (arena_->quarantined()) return Error::kQuarantined;
    return arena_->grant(heap, RunOwner::leased_to(kPeer), shape, hint);
  }
  void give_back(HeapId, SlabIndex first, std::uint32_t) override {
    if (!arena_->ledger().pass_run(first, RunOwner::leased_to(kPeer), RunOwner::heap(kServing)))
      FUZZ_EXPECT(false, "a peer gives back what was leased to it");
    if (arena_->run_is_free(first)) return arena_->reclaim(first);
    ReapResult result;
    serving_.adopt(*arena_, first, kNoSession, result);
  }

  void step() {
    Heap& heap = some_heap();
    const std::uint8_t what = input_.u8() % 24;
    if (what < 8) return allocate(heap);
    if (what < 14) return free(heap);
    switch (what) {
      case 14: return pass_on(heap);
      case 15: heap.publish(); return;
      case 16: heap.publish(), heap.drain(); return;
      case 17: heap.idle_tick(); return;
      case 18: heap.trim(); return;
      case 19: return end_session();
      case 20: return look();
      case 21: return neighbour_.step(input_);
      case 22: return keep_memory();
      default: return forger_.forge();
    }
  }

  Heap& some_heap() {
    Heap* const heaps[] = {&serving_, &fast_, peer_.get()};
    return *heaps[input_.u8() % 3];
  }
  Ref some_ref() {
    if (known_.empty()) return {RefLayout(arena_->id(), arena_->slot_limit()).arena_bits()};
    return known_[input_.below(known_.size())];
  }
  UntrustedRef any_ref() {
    const Ref ref = some_ref();
    return {input_.u8() % 8 == 0 ? ref.value ^ input_.u64() : ref.value};
  }
  SessionId some_session() { return {static_cast<std::uint16_t>(5 + input_.u8() % 3)}; }

  void allocate(Heap& heap) {
    const std::uint64_t size = kSizes[input_.u8() % std::size(kSizes)];
    const Holder holder(some_session(), 3);
    const std::uint8_t how = input_.u8();
    if (how % 8 == 0) {
      std::array<Allocation, 4> batch;
      if (heap.allocate_batch(size, 0, holder, batch) != Error::kNone) return;
      for (const Allocation& b : batch) check(heap, b, size);
      return;
    }
    // Mostly many, so that slabs fill and become empty.
    for (std::uint32_t count = how % 2 != 0 ? 1 : 1 + input_.u8() % 64; count != 0; --count) {
      const auto got = heap.allocate(size, holder);
      if (!got.ok()) return;
      check(heap, *got, size);
    }
  }

  void check(const Heap& heap, const Allocation& block, std::uint64_t size) {
    const Slot slot = arena_->refs().slot_of(block.ref);
    const RunRecord record = arena_->ledger().run(slot.slab());
    FUZZ_EXPECT(record, "what leaves a heap lies in a run");
    const RunShape run = arena_->geometry().run_shape(record.kind(), record.cls(), record.units());
    FUZZ_EXPECT(run.usable_bytes >= size, "what leaves a heap is large enough");
    FUZZ_EXPECT(slot.block().value < run.capacity, "what leaves a heap is a block of its slab");
    FUZZ_EXPECT(block.offset == arena_->geometry().payload_offset(run, slot),
                "what leaves a heap lies inside its slab");
    FUZZ_EXPECT(block.offset + run.usable_bytes <= arena_->capacity_bytes(),
                "what leaves a heap lies inside the arena");
    const RunOwner owner =
        &heap == peer_.get() ? RunOwner::leased_to(kPeer) : RunOwner::heap(heap.id());
    FUZZ_EXPECT(record.owner() == owner, "what leaves a heap lies in a slab of that heap");
    if (known_.size() < kKnownRefs)
      known_.push_back(block.ref);
    else
      known_[next_known_++ % kKnownRefs] = block.ref;
  }

  void free(Heap& heap) {
    const std::uint8_t how = input_.u8();
    const std::size_t count = how % 4 != 0 ? 1 : known_.size();
    for (std::size_t i = 0; i < count; ++i) {
      const Ref ref = count == 1 ? some_ref() : known_[i];
      if (&heap == &serving_)
        any_answer(heap.free_checked(count == 1 ? any_ref() : UntrustedRef{ref.value},
                                     some_session(), how % 3 == 0 ? some_session() : kNoSession));
      else
        any_answer(heap.free(ref));
    }
  }

  void pass_on(Heap& heap) {
    const UntrustedRef ref = any_ref();
    const SessionId session = some_session();
    switch (input_.u8() % 4) {
      case 0: return any_answer(heap.arena().acquire(ref, {session, 4}));
      case 1: return any_answer(heap.arena().share(ref, session));
      case 2: return any_answer(heap.release(ref, session));
      default: return any_answer(heap.free_checked(ref, session, kNoSession));
    }
  }

  // A session ends outside of its own slabs.
  void end_session() {
    const SessionId dead = some_session();
    const Footprint footprint = arena_->footprint_of(dead);
    arena_->reap(dead, input_.u8() % 2 != 0 ? &footprint : nullptr);
  }

  void look() {
    for (const ArenaView* view : {static_cast<const ArenaView*>(arena_.get()),
                                  static_cast<const ArenaView*>(peer_arena_.get())}) {
      const BlockFacts facts = view->describe(any_ref());
      FUZZ_EXPECT(facts.offset_bytes <= arena_->capacity_bytes(), "a look stays inside the arena");
      any_answer(view->ref_at(std::uint64_t{input_.u16()} << 8));
    }
    any_answer(serving_.usage());
  }

  void keep_memory() {
    if (input_.u8() % 2 != 0)
      any_answer(arena_->commit_ahead(1));
    else
      arena_->decommit_idle(0);
  }

  void check_magazines() const {
    std::set<std::uint64_t> seen;
    for (const Heap* heap : {static_cast<const Heap*>(&serving_), static_cast<const Heap*>(&fast_),
                             static_cast<const Heap*>(peer_.get())}) {
      heap->for_each_cached([&](Slot slot) {
        const SlabState* const slab = heap->slabs().find(slot.slab());
        FUZZ_EXPECT(slab != nullptr, "a magazine has blocks of slabs of its heap");
        FUZZ_EXPECT(slot.block().value < slab->capacity, "a magazine has blocks of its slabs");
        if (heap != &serving_) return;
        const std::uint64_t bit = std::uint64_t{1} << slot.block().value % 64;
        FUZZ_EXPECT(seen.insert(slot.value).second, "a magazine has a block once");
        FUZZ_EXPECT(!slab->can_be_away(slot.block()), "a block in a magazine is not away");
        FUZZ_EXPECT((slab->free_bits[slot.block().value / 64] & bit) == 0,
                    "a block in a magazine is in no free bitmap");
      });
    }
  }

  static inline World* current = nullptr;  // whose operations are interrupted

  Input& input_;
  Neighbour& neighbour_;
  std::uint8_t until_forged_ = 0;  // points that pass before the next forgery
  const std::unique_ptr<Arena> arena_;
  std::unique_ptr<PeerArena> peer_arena_;
  std::vector<Ref> known_;
  std::size_t next_known_ = 0;
  Heap serving_;
  Heap fast_;
  std::unique_ptr<Heap> peer_;
  Forger forger_;
};

void run_one(std::span<const std::uint8_t> bytes) {
  static Neighbour neighbour;
  static const bool ready = [] {
    set_log_sink([](std::string_view) {});
    crash::call_at_each(World::at_point);
    return true;
  }();
  if (!ready) return;
  Input input(bytes);
  World(input, neighbour).run();
  neighbour.finish();
}

}  // namespace
}  // namespace arenad::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  arenad::fuzz::run_one({data, size});
  return 0;
}
