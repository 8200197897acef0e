#include "server/core/shard/lease_returns.h"

#include <algorithm>

#include "allocator/base/crash_point.h"
#include "allocator/base/format.h"
#include "server/core/api/limits.h"
#include "server/core/api/text.h"

namespace arenad::server {
namespace {

Failure too_many(std::size_t slabs, std::uint32_t limit) {
  return refuse(Error::kInvalidCount,
                fmt::format("{} slabs in one call, the limit is {}", slabs, limit));
}

// The heap ids that belong to the session, by id, of those that it names. Errors: kInvalidOption
// when one of them is not the session's.
Answer<std::vector<bool>> named_heaps(const ArenaSlot& slot, SessionId session,
                                      std::span<const HeapId> heaps) {
  const Ledger& ledger = slot.arena.ledger();
  std::vector<bool> named(ledger.max_heaps());
  for (const HeapId heap : heaps) {
    if (heap < kFirstPeerHeap || heap.value >= ledger.max_heaps() ||
        ledger.heap_owner(heap) != session) {
      return Failure{
          Error::kInvalidOption,
          fmt::format(
              "heap {} is not session {}'s in arena '{}': end the session and open a new one", heap,
              session, slot.name())};
    }
    named[heap.value] = true;
  }
  return named;
}

}  // namespace

bool LeaseReturns::take_back(const Access& access, SessionId session, SlabIndex first) {
  ArenaSlot& slot = *access.slot;
  // From here on the run is this shard's, whoever else names it.
  if (!slot.arena.ledger().pass_run(first, RunOwner::leased_to(session),
                                    RunOwner::heap(slot.heap.id())))
    return false;
  const std::uint64_t lease_bytes = slot.arena.ledger().run(first).bytes();
  if (slot.arena.run_is_free(first)) {
    slot.arena.scrub_run(first);  // the session may have left what the next one must not read
    slot.arena.reclaim(first);
  } else {
    // The session pays for what is still out there. Words that say who holds it may be forged. And
    // the reaper must look there.
    access.note(first);
    ReapResult result;
    slot.heap.adopt(slot.arena, first, kNoSession, result, {session});
  }
  account_.replace(slot, session, lease_bytes);
  turn_.freed_in(slot);
  return true;
}

Answer<ReturnedSlabs> LeaseReturns::return_slabs(const LeaseCaller& caller,
                                                 std::span<const SlabIndex> slabs) {
  Access access;
  if (const auto admitted = tables_.admit_lease(caller, access); !admitted.ok())
    return admitted.error();
  if (slabs.size() > kMaxSlabsPerReturn) return too_many(slabs.size(), kMaxSlabsPerReturn);
  ReturnedSlabs answer;
  for (const SlabIndex slab : slabs) {
    if (slab.value < access.slot->arena.unit_count() &&
        take_back(access, caller.session.id, slab)) {
      ++answer.returned;
    } else {
      answer.refused.push_back(slab);
    }
  }
  return answer;
}

Answer<ResumedLeases> LeaseReturns::resume(const LeaseCaller& caller, const ResumeArgs& known) {
  Access access;
  if (const Error e = tables_.admit(caller.session, caller.arena_id, Need::kPeer, access);
      e != Error::kNone)
    return tables_.refusal(e, caller.session, caller.arena_id);
  if (known.slabs.size() > kMaxSlabsPerResume)
    return too_many(known.slabs.size(), kMaxSlabsPerResume);
  const SessionId session = caller.session.id;
  const auto named_heap = named_heaps(*access.slot, session, known.heaps);
  if (!named_heap.ok()) return named_heap.error();
  LeaseEpochs& epochs = access.slot->state->lease_epochs;
  const bool begins = known.first_unit == 0;
  if (begins ? !epochs.may_begin(session, caller.epoch) : !epochs.is_present(session, caller.epoch))
    return epochs.stale(session, caller.epoch, access.slot->name());
  if (begins) epochs.begin(session, caller.epoch);  // from here on calls under way are refused
  CRASH_POINT("resume.begun");

  Arena& arena = access.slot->arena;
  Ledger& ledger = arena.ledger();
  const RunOwner leased = RunOwner::leased_to(session);
  const std::uint32_t first = std::min(known.first_unit, arena.unit_count());
  const std::uint32_t end = std::clamp(known.end_unit, first, arena.unit_count());
  ResumedLeases answer;
  std::vector<bool> named(end - first);
  for (const SlabIndex slab : known.slabs) {
    if (slab.value >= first && slab.value < end && ledger.run(slab).owner() == leased) {
      named[slab.value - first] = true;
    } else {
      answer.unknown.push_back(slab);
    }
  }
  std::vector<SlabIndex> forgotten;
  arena.for_each_run_in({first}, {end}, [&](SlabIndex slab, RunRecord run) {
    if (run.owner() == leased && !named[slab.value - first]) forgotten.push_back(slab);
  });
  for (const SlabIndex slab : forgotten)
    if (take_back(access, session, slab)) ++answer.taken_back;
  CRASH_POINT("resume.taken_back");
  if (begins) release_unnamed(ledger, session, *named_heap);
  return answer;
}

void LeaseReturns::release_unnamed(Ledger& ledger, SessionId session,
                                   const std::vector<bool>& named) {
  for (std::uint32_t heap = kFirstPeerHeap.value; heap < ledger.max_heaps(); ++heap) {
    const HeapId id{static_cast<std::uint16_t>(heap)};
    if (!named[heap] && ledger.heap_owner(id) == session) ledger.release_heap(id);
  }
}

}  // namespace arenad::server
