// Who holds a block changes without the block being freed: take over, share, release.
#include "server/core/api/text.h"
#include "server/core/shard/shard.h"

namespace arenad::server {

Answer<PerRefAnswer> Shard::acquire(SessionKey key, ArenaId arena_id, UntrustedRefs refs,
                                    std::uint32_t tag) {
  Access access;
  if (const Error e = admit_refs(key, arena_id, refs.size(), access); e != Error::kNone)
    return refuse_refs(e, key, arena_id, refs.size());
  ArenaSlot& slot = *access.slot;
  const bool counts_from_words = slot.state->counts_from_words.load(std::memory_order_relaxed);
  PerRefAnswer answer;
  for (std::size_t i = 0; i < refs.size(); ++i) {
    const SlabIndex slab = Ref{refs[i].value}.slot().slab();
    // The stride is read before: when the take-over succeeds, the block was held under this
    // generation all the while.
    const std::uint64_t stride = slot.arena.describe(refs[i]).stride_bytes;
    const std::uint64_t charge =
        stride == 0 || (counts_from_words && in_own_lease(slot, slab, key.id)) ? 0 : stride;
    Error e = shared_.session_bytes.reserve(key.id, charge) ? Error::kNone : Error::kQuotaSession;
    if (e == Error::kNone) {
      const auto before = slot.arena.acquire(refs[i], {key.id, tag});
      if (before.ok()) {
        remember(access, slab);
        if (!counts_from_words || !in_own_lease(slot, slab, before->session())) {
          account_free(slot, before->session(), 1, static_cast<std::int64_t>(stride));
        }
        access.attached->held.add(1, static_cast<std::int64_t>(stride));
        slot.held.add(1, static_cast<std::int64_t>(stride));
        ++answer.done;
        continue;
      }
      shared_.session_bytes.give_back(key.id, charge);
      e = before.error();
    }
    answer.errors.push_back(ref_failure(i, refs[i], e, slot, "taken over"));
  }
  return answer;
}

Answer<PerRefAnswer> Shard::share(SessionKey key, ArenaId arena_id, UntrustedRefs refs) {
  Access access;
  if (const Error e = admit_refs(key, arena_id, refs.size(), access); e != Error::kNone)
    return refuse_refs(e, key, arena_id, refs.size());
  ArenaSlot& slot = *access.slot;
  // A shared block has several holders: from here on only the words say who has what.
  slot.state->counts_from_words.store(true, std::memory_order_relaxed);
  PerRefAnswer answer;
  for (std::size_t i = 0; i < refs.size(); ++i) {
    Error e = Error::kNone;
    if (const auto ref = slot.arena.validate(refs[i]); ref.ok()) {
      const SlabIndex slab = ref->slot().slab();
      const BlockWord word{slot.arena.word(ref->slot()).load(std::memory_order_acquire)};
      const bool has_it =
          word.is_held() ||
          (word.is_shared() && (word.sharers() & slot.arena.sharer_bits(key.id)) != 0);
      const std::uint64_t charge = has_it || in_own_lease(slot, slab, key.id)
                                       ? 0
                                       : slot.arena.describe(refs[i]).stride_bytes;
      e = shared_.session_bytes.reserve(key.id, charge) ? slot.arena.share(refs[i], key.id)
                                                        : Error::kQuotaSession;
      if (e == Error::kNone) {
        remember(access, slab);
      } else if (e != Error::kQuotaSession) {
        shared_.session_bytes.give_back(key.id, charge);
      }
    } else {
      e = ref.error();
    }
    if (e == Error::kNone) {
      ++answer.done;
    } else {
      answer.errors.push_back(ref_failure(i, refs[i], e, slot, "shared"));
    }
  }
  return answer;
}

Answer<PerRefAnswer> Shard::release(SessionKey key, ArenaId arena_id, UntrustedRefs refs) {
  Access access;
  if (const Error e = admit_refs(key, arena_id, refs.size(), access); e != Error::kNone)
    return refuse_refs(e, key, arena_id, refs.size());
  ArenaSlot& slot = *access.slot;
  PerRefAnswer answer;
  for (std::size_t i = 0; i < refs.size(); ++i) {
    const std::uint64_t stride = slot.arena.describe(refs[i]).stride_bytes;
    if (const Error e = slot.heap.release(refs[i], key.id); e != Error::kNone) {
      answer.errors.push_back(ref_failure(i, refs[i], e, slot, "released"));
      continue;
    }
    ++answer.done;
    if (!in_own_lease(slot, Ref{refs[i].value}.slot().slab(), key.id))
      shared_.session_bytes.give_back(key.id, stride);
  }
  slot.freed = true;
  touch(slot);
  return answer;
}

}  // namespace arenad::server
