#include "server/core/shard/lease_grant.h"

#include <algorithm>

#include "allocator/base/format.h"
#include "server/core/api/clock.h"
#include "server/core/api/limits.h"
#include "server/core/api/text.h"

namespace arenad::server {
namespace {

// A lease answers with the slabs that it has after this time, but not before it has these bytes.
// Committing memory takes half a millisecond for each 2 MiB, and other callers wait meanwhile. With
// the time alone, a busy machine would decide how much a small lease gets.
constexpr std::uint64_t kLeaseTurnNs = 2 * kNsPerMs;
constexpr std::uint64_t kLeaseTurnBytes = 8 << 20;

RunShape run_of(const Geometry& geometry, const LeaseArgs& args) {
  return args.size_class == kSpanClass ? geometry.span_shape(args.span_units)
                                       : geometry.slab_shape(args.size_class);
}

}  // namespace

Answer<HeapId> LeaseGrant::open_heap(const LeaseCaller& caller) {
  Access access;
  if (const auto admitted = tables_.admit_lease(caller, access); !admitted.ok())
    return admitted.error();
  Arena& arena = access.slot->arena;
  const std::uint32_t uid = access.session->uid;
  if (heaps_of(arena, uid) >= shared_.max_user_heaps) {
    return refuse(
        Error::kQuotaUser,
        fmt::format("uid {} has {} heaps in arena '{}', which is the limit max_user_heaps", uid,
                    shared_.max_user_heaps, access.slot->name()));
  }
  const HeapId heap = arena.ledger().claim_heap(kFirstPeerHeap, caller.session.id);
  if (heap == kNoHeap) {
    return refuse(Error::kQuotaDaemon,
                  fmt::format("arena '{}' has all of its {} heap ids of peers in use",
                              access.slot->name(), kHeapIds - kFirstPeerHeap.value));
  }
  const HostBudget::Asking asking(caller.session.id);
  if (const Error e = arena.commit_heap(heap); e != Error::kNone) {
    arena.ledger().release_heap(heap);
    return refuse(e, fmt::format("no memory for a heap in arena '{}'; {}", access.slot->name(),
                                 arena.memory_refusal()));
  }
  (void)arena.enlist_heap(heap, caller.session.id);  // its pages are there
  return heap;
}

std::uint32_t LeaseGrant::heaps_of(Arena& arena, std::uint32_t uid) {
  std::uint32_t heaps = 0;
  for (HeapId id = kFirstPeerHeap; id.value < arena.options().max_heaps; ++id.value) {
    const SessionId owner = arena.ledger().heap_owner(id);
    if (owner == kNoSession) continue;
    const SessionSlot* const session = tables_.session(owner);
    if (session != nullptr && session->uid == uid) ++heaps;
  }
  return heaps;
}

Failure LeaseGrant::check(const LeaseArgs& args, const ArenaSlot& slot) const {
  const Arena& arena = slot.arena;
  if (args.heap_id < kFirstPeerHeap || args.heap_id.value >= arena.options().max_heaps ||
      arena.ledger().heap_owner(args.heap_id) != args.session.id) {
    return Failure{
        Error::kInvalidOption,
        fmt::format("heap {} is not session {}'s in arena '{}': name one that OpenHeap gave it",
                    args.heap_id, args.session.id, slot.name())};
  }
  if (args.count == 0 || args.count > kMaxSlabsPerLease) {
    return refuse(Error::kInvalidCount,
                  fmt::format("{} slabs asked for in one lease, the limit is {}", args.count,
                              kMaxSlabsPerLease));
  }
  if (args.size_class != kSpanClass) {
    if (arena.geometry().has_class(args.size_class)) return {};
    return Failure{
        Error::kInvalidOption,
        fmt::format("size class {}: arena '{}' has classes 0 to {}, and {} for a span",
                    args.size_class, slot.name(), arena.geometry().class_count() - 1, kSpanClass)};
  }
  if (args.count != 1)
    return refuse(Error::kInvalidCount,
                  fmt::format("{} spans asked for in one lease, the limit is 1", args.count));
  if (args.span_units == 0 || args.span_units > arena.unit_count() ||
      (args.span_units > kUnitsPerSuperslab && args.span_units % kUnitsPerSuperslab != 0)) {
    return Failure{
        Error::kInvalidSize,
        fmt::format("a span of {} units: give 1 to {} in arena '{}', above {} a multiple of it",
                    args.span_units, arena.unit_count(), slot.name(), kUnitsPerSuperslab)};
  }
  return {};
}

Error LeaseGrant::attempt(const Access& access, const LeaseArgs& args, LeasedSlabs& out) {
  ArenaSlot& slot = *access.slot;
  if (slot.arena.quarantined()) return Error::kQuarantined;
  // Here and not in check: a call that waits may outlive its epoch.
  if (!slot.state->lease_epochs.is_present(args.session.id, args.epoch)) return Error::kStaleEpoch;
  const RunShape run = run_of(slot.arena.geometry(), args);
  const std::uint64_t bytes = run.bytes();
  const std::uint64_t until = now_ns() + kLeaseTurnNs;
  Error e = Error::kNone;
  while (out.slabs.size() < args.count &&
         (out.slabs.size() * bytes < kLeaseTurnBytes || now_ns() < until)) {
    e = account_.charge(args.session.id, bytes);
    if (e != Error::kNone) break;
    const auto granted =
        slot.arena.grant(args.heap_id, RunOwner::leased_to(args.session.id), run, slot.lease_hint);
    if (!granted.ok()) {
      account_.withdraw(args.session.id, bytes);
      e = granted.error();
      break;
    }
    account_.given(args.session.id, bytes);
    slot.lease_hint = superslab_of(*granted);
    out.slabs.push_back(*granted);
  }
  turn_.worked_in(slot);  // the end of the turn has memory committed ahead again
  return out.slabs.empty() ? e : Error::kNone;
}

Failure LeaseGrant::refusal(Error e, const LeaseArgs& args, const ArenaSlot& slot) const {
  if (e == Error::kStaleEpoch)
    return slot.state->lease_epochs.stale(args.session.id, args.epoch, slot.name());
  if (over_quota(e)) return account_.refusal(e, args.session);
  if (e == Error::kQuarantined) {
    return refuse(e, fmt::format("arena '{}' is quarantined, {}", slot.name(),
                                 slot.arena.quarantine_reason()));
  }
  return tables_.refusal(e, args.session, args.arena_id);
}

CommitNeed LeaseGrant::need(const LeaseArgs& args, const ArenaSlot& slot) {
  const RunShape run = run_of(slot.arena.geometry(), args);
  const auto most = static_cast<std::uint32_t>(
      std::max<std::uint64_t>(1, kLeaseTurnBytes / std::max<std::uint64_t>(1, run.bytes())));
  const std::uint32_t runs = std::min(args.count, most);
  return {args.session.id, run.bytes(), runs, {{run, runs}}};
}

std::string LeaseGrant::asked_for(const LeaseArgs& args) {
  if (args.size_class == kSpanClass)
    return fmt::format("a span of {} units for a peer", args.span_units);
  return fmt::format("{}{} of size class {} for a peer", args.count,
                     args.count == 1 ? " slab" : " slabs", args.size_class);
}

}  // namespace arenad::server
