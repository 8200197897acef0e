// Peers, the shard's part: heap ids, leases, and taking runs over when a peer returns them or is
// dead.
#include <algorithm>

#include "server/core/api/clock.h"
#include "server/core/api/limits.h"
#include "server/core/api/text.h"
#include "server/core/shard/run_words.h"
#include "server/core/shard/shard.h"

namespace arenad::server {
namespace {

// A lease answers with what it has after this time: committing memory takes half a millisecond each
// 2 MiB.
constexpr std::uint64_t kLeaseTurnNs = 2 * kNsPerMs;
// Between two looks at the inbox an adoption takes over so many runs, or runs of so many blocks.
constexpr std::size_t kRunsATime = 256;
constexpr std::uint64_t kBlocksATime = 65536;

RunShape run_of(const Geometry& geometry, const LeaseArgs& args) {
  return args.size_class == kSpanClass ? geometry.span_shape(args.span_units)
                                       : geometry.slab_shape(args.size_class);
}

}  // namespace

// ---- heaps and leases
// ----------------------------------------------------------------------------------------------------

Answer<HeapId> Shard::open_heap(SessionKey key, ArenaId arena_id) {
  Access access;
  if (const Error e = admit(key, arena_id, Need::kPeer, access); e != Error::kNone)
    return refuse_slow(e, key, arena_id);
  Arena& arena = access.slot->arena;
  const HeapId heap = arena.ledger().claim_heap(kFirstPeerHeap, key.id);
  if (heap == kNoHeap) {
    return refuse(Error::kQuotaDaemon, "arena '", arena.options().name, "' has all of its ",
                  kHeapIds - kFirstPeerHeap.value, " heap ids of peers in use");
  }
  arena.enlist_heap(heap, key.id);
  return heap;
}

void Shard::lease_slabs(const LeaseArgs& args, Done<LeasedSlabs> done) {
  serve(Need::kPeer, args, std::move(done));
}

Failure Shard::check_request(const LeaseArgs& args, const ArenaSlot& slot) const {
  const Arena& arena = slot.arena;
  if (args.heap_id < kFirstPeerHeap || args.heap_id.value >= arena.options().max_heaps ||
      arena.ledger().heap_owner(args.heap_id) != args.session.id) {
    return Failure{
        Error::kInvalidOption,
        concat("heap ", args.heap_id, " is not session ", args.session.id, "'s in arena '",
               arena.options().name, "': name one that OpenHeap gave it")};
  }
  if (args.count == 0 || args.count > kMaxSlabsPerLease) {
    return refuse(Error::kInvalidCount, args.count, " slabs asked for in one lease, the limit is ",
                  kMaxSlabsPerLease);
  }
  if (args.size_class != kSpanClass) {
    if (args.size_class < arena.geometry().class_count()) return {};
    return Failure{Error::kInvalidOption,
                   concat("size class ", args.size_class, ": arena '", arena.options().name,
                          "' has classes 0 to ", arena.geometry().class_count() - 1, ", and ",
                          int{kSpanClass}, " for a span")};
  }
  if (args.count != 1)
    return refuse(Error::kInvalidCount, args.count,
                  " spans asked for in one lease, the limit is 1");
  if (args.span_units == 0 || args.span_units > arena.unit_count() ||
      (args.span_units > kUnitsPerSuperslab && args.span_units % kUnitsPerSuperslab != 0)) {
    return Failure{Error::kInvalidSize,
                   concat("a span of ", args.span_units, " units: give 1 to ", arena.unit_count(),
                          " in arena '", arena.options().name, "', above ", kUnitsPerSuperslab,
                          " a multiple of it")};
  }
  return {};
}

Error Shard::attempt(const Access& access, const LeaseArgs& args, LeasedSlabs& out) {
  ArenaSlot& slot = *access.slot;
  if (slot.arena.quarantined()) return Error::kQuarantined;
  const RunShape run = run_of(slot.arena.geometry(), args);
  const std::uint64_t bytes = run.bytes();
  const std::uint64_t until = now_ns() + kLeaseTurnNs;
  Error e = Error::kNone;
  while (out.slabs.size() < args.count && (out.slabs.empty() || now_ns() < until)) {
    if (!shared_.session_bytes.reserve(args.session.id, bytes)) {
      e = Error::kQuotaSession;
      break;
    }
    const auto granted =
        slot.arena.grant(args.heap_id, RunOwner::leased_to(args.session.id), run, slot.lease_hint);
    if (!granted.ok()) {
      shared_.session_bytes.give_back(args.session.id, bytes);
      e = granted.error();
      break;
    }
    slot.lease_hint = {granted->value / kUnitsPerSuperslab};
    out.slabs.push_back(*granted);
  }
  touch(slot);  // memory is committed ahead again at the end of the turn
  return out.slabs.empty() ? e : Error::kNone;
}

Failure Shard::refusal(Error e, const LeaseArgs& args, const ArenaSlot& slot) {
  if (e == Error::kQuotaSession) return refuse_quota(args.session);
  if (e == Error::kQuarantined) {
    return refuse(e, "arena '", slot.arena.options().name, "' is quarantined, ",
                  slot.arena.quarantine_reason());
  }
  return refuse_slow(e, args.session, args.arena_id);
}

std::string Shard::asked_for(const LeaseArgs& args) {
  if (args.size_class == kSpanClass)
    return concat("a span of ", args.span_units, " units for a peer");
  return concat(args.count, args.count == 1 ? " slab" : " slabs", " of size class ",
                args.size_class, " for a peer");
}

// ---- back
// ----------------------------------------------------------------------------------------------------------------

void Shard::take_back(const Access& access, SessionId session, SlabIndex slab) {
  ArenaSlot& slot = *access.slot;
  const std::uint64_t bytes = slot.arena.ledger().run(slab).units() * kSlabUnitBytes;
  if (slot.arena.run_is_free(slab)) {
    slot.arena.reclaim(slab);
  } else {
    // What the session holds there is no lease's any more: it is charged for each block, and the
    // reaper must look there.
    std::int64_t held = 0;
    const std::uint64_t shares = slot.arena.sharer_bits(session);
    const RunCut cut = cut_of(slot.arena, slab, slot.arena.ledger().run(slab));
    for_each_word(slot.arena, slab, cut, [&](BlockWord word) {
      const bool has_it = word.is_held() ? word.holder().session() == session
                                         : word.is_shared() && (word.sharers() & shares) != 0;
      if (has_it) held += static_cast<std::int64_t>(cut.stride_bytes);
    });
    shared_.session_bytes.add(session, held);
    remember(access, slab);
    ReapResult result;
    slot.heap.adopt(slot.arena, slab, kNoSession, result);
  }
  shared_.session_bytes.give_back(session, bytes);
  slot.freed = true;
  touch(slot);
}

Answer<ReturnedSlabs> Shard::return_slabs(SessionKey key, ArenaId arena_id,
                                          std::span<const SlabIndex> slabs) {
  Access access;
  if (const Error e = admit(key, arena_id, Need::kPeer, access); e != Error::kNone)
    return refuse_slow(e, key, arena_id);
  if (slabs.size() > kMaxSlabsPerReturn) {
    return refuse(Error::kInvalidCount, slabs.size(), " slabs in one call, the limit is ",
                  kMaxSlabsPerReturn);
  }
  Arena& arena = access.slot->arena;
  ReturnedSlabs answer;
  for (const SlabIndex slab : slabs) {
    // From here on it is this shard's, whoever else names it.
    if (slab.value >= arena.unit_count() ||
        !arena.ledger().pass_run(slab, RunOwner::leased_to(key.id),
                                 RunOwner::heap(access.slot->heap.id()))) {
      answer.refused.push_back(slab);
      continue;
    }
    take_back(access, key.id, slab);
    ++answer.returned;
  }
  return answer;
}

Answer<ResumedLeases> Shard::resume(SessionKey key, ArenaId arena_id,
                                    std::span<const SlabIndex> slabs,
                                    std::span<const HeapId> heaps) {
  Access access;
  if (const Error e = admit(key, arena_id, Need::kPeer, access); e != Error::kNone)
    return refuse_slow(e, key, arena_id);
  if (slabs.size() > kMaxSlabsPerResume) {
    return refuse(Error::kInvalidCount, slabs.size(), " slabs in one call, the limit is ",
                  kMaxSlabsPerResume);
  }
  Arena& arena = access.slot->arena;
  Ledger& ledger = arena.ledger();
  std::vector<bool> known_heap(ledger.max_heaps());
  for (const HeapId heap : heaps) {
    if (heap < kFirstPeerHeap || heap.value >= ledger.max_heaps() ||
        ledger.heap_owner(heap) != key.id) {
      return Failure{Error::kInvalidOption,
                     concat("heap ", heap, " is not session ", key.id, "'s in arena '",
                            arena.options().name, "': end the session and open a new one")};
    }
    known_heap[heap.value] = true;
  }
  ResumedLeases answer;
  std::vector<bool> known(arena.unit_count());
  for (const SlabIndex slab : slabs) {
    if (slab.value < arena.unit_count() &&
        ledger.run(slab).owner() == RunOwner::leased_to(key.id)) {
      known[slab.value] = true;
    } else {
      answer.unknown.push_back(slab);
    }
  }
  std::vector<SlabIndex> forgotten;
  arena.for_each_run([&](SlabIndex slab, RunRecord run) {
    if (run.owner() == RunOwner::leased_to(key.id) && !known[slab.value]) forgotten.push_back(slab);
  });
  for (const SlabIndex slab : forgotten) {
    if (!ledger.pass_run(slab, RunOwner::leased_to(key.id), RunOwner::heap(access.slot->heap.id())))
      continue;
    take_back(access, key.id, slab);
    ++answer.taken_back;
  }
  // Heaps that were opened by calls whose answers never arrived: nothing was ever owned by them.
  for (std::uint32_t heap = kFirstPeerHeap.value; heap < ledger.max_heaps(); ++heap) {
    const HeapId id{static_cast<std::uint16_t>(heap)};
    if (!known_heap[heap] && ledger.heap_owner(id) == key.id) ledger.release_heap(id);
  }
  return answer;
}

// ---- adoption
// ------------------------------------------------------------------------------------------------------------

struct Shard::Adoption {
  std::shared_ptr<ArenaState> state;
  SessionId dead;
  std::vector<SlabIndex> runs;
  std::function<void(const ReapResult&)> done;
  std::size_t next = 0;
  ReapResult result;
};

void Shard::adopt(std::shared_ptr<ArenaState> state, SessionId dead, std::vector<SlabIndex> runs,
                  std::function<void(const ReapResult&)> done) {
  adopt_some(std::make_shared<Adoption>(
      Adoption{std::move(state), dead, std::move(runs), std::move(done), 0, {}}));
}

void Shard::adopt_some(const std::shared_ptr<Adoption>& a) {
  ArenaSlot* slot = tables_.arena(a->state->arena->id());
  // Deleted in the meantime, and perhaps another has got its id: there is nothing to take over any
  // more.
  if (slot == nullptr || slot->state != a->state) a->next = a->runs.size();
  std::uint64_t blocks = 0;
  for (std::size_t n = 0; a->next < a->runs.size() && n < kRunsATime && blocks < kBlocksATime;
       ++n, ++a->next) {
    blocks += slot->arena.shape_of(a->runs[a->next]).capacity();
    slot->heap.adopt(slot->arena, a->runs[a->next], a->dead, a->result);
  }
  if (a->next < a->runs.size()) return inbox_.push([this, a] { adopt_some(a); });
  a->done(a->result);
}

}  // namespace arenad::server
