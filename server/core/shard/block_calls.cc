#include "server/core/shard/block_calls.h"

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <utility>

#include "allocator/base/format.h"
#include "server/core/api/text.h"

namespace arenad::server {
namespace {

// `what` was to be done with the ref: "freed".
void add_failure(PerRefAnswer& answer, std::size_t index, UntrustedRef ref, Error e,
                 const ArenaSlot& slot, const char* what) {
  answer.errors.push_back({static_cast<std::uint32_t>(index), ref, e,
                           refuse(e, fmt::format("ref {} in arena '{}' is not {}",
                                                 ref_text(ref.value), slot.name(), what))
                               .message});
}

// " (most: 20 sessions of uid 1000, ...)"
std::string biggest(const std::map<std::uint32_t, std::uint32_t>& of_user) {
  constexpr std::size_t kNamed = 3;
  std::vector<std::pair<std::uint32_t, std::uint32_t>> users;  // sessions, uid
  for (const auto& [uid, count] : of_user)
    if (count != 0) users.emplace_back(count, uid);
  std::ranges::sort(users, std::greater());
  users.resize(std::min(users.size(), kNamed));
  std::string text;
  for (const auto& [count, uid] : users)
    text += fmt::format("{}{} sessions of uid {}", text.empty() ? " (most: " : ", ", count, uid);
  return text.empty() ? text : text + ")";
}

}  // namespace

Error BlockCalls::admit(SessionKey key, ArenaId arena_id, Need need, UntrustedRefs refs,
                        Access& out) {
  const Error e = tables_.admit(key, arena_id, need, out);
  return e == Error::kNone && refs.size() > kMaxBlocksPerCall ? Error::kInvalidCount : e;
}

Failure BlockCalls::refusal(Error e, SessionKey key, ArenaId arena_id, UntrustedRefs refs) {
  if (e == Error::kInvalidCount)
    return refuse(
        e, fmt::format("{} refs in one call, the limit is {}", refs.size(), kMaxBlocksPerCall));
  return tables_.refusal(e, key, arena_id);
}

Answer<PerRefAnswer> BlockCalls::free(SessionKey key, ArenaId arena_id, UntrustedRefs refs,
                                      FreeScope scope) {
  Access access;
  if (const Error e = admit(key, arena_id, Need::kGive, refs, access); e != Error::kNone)
    return refusal(e, key, arena_id, refs);
  ArenaSlot& slot = *access.slot;
  const bool only_own = scope == FreeScope::kOwn || slot.arena.options().holder_only;
  const SessionId required = only_own ? key.id : kNoSession;
  PerRefAnswer answer;
  {
    FreesOfOneHolder frees(account_, slot);
    for (std::size_t i = 0; i < refs.size(); ++i) {
      const FreeOutcome outcome = slot.heap.free_checked(refs[i], key.id, required);
      if (outcome.error != Error::kNone) [[unlikely]] {
        add_failure(answer, i, refs[i], outcome.error, slot, "freed");
        continue;
      }
      ++answer.done;
      frees.add(outcome.holder.session(), outcome.stride_bytes);
    }
  }
  account_.settle(slot);
  turn_.freed_in(slot);
  return answer;
}

Answer<PerRefAnswer> BlockCalls::acquire(SessionKey key, ArenaId arena_id, UntrustedRefs refs,
                                         std::uint32_t tag) {
  Access access;
  if (const Error e = admit(key, arena_id, Need::kChange, refs, access); e != Error::kNone)
    return refusal(e, key, arena_id, refs);
  if (tag > Holder::kMaxTag) return wrong_tag(tag);
  PerRefAnswer answer;
  PayerChanges::Batch changes(key.id);
  for (std::size_t i = 0; i < refs.size(); ++i) {
    if (const Error e = acquire_one(access, refs[i], {key.id, tag}, changes); e != Error::kNone) {
      add_failure(answer, i, refs[i], e, *access.slot, "taken over");
    } else {
      ++answer.done;
    }
  }
  payer_changes_.send(*access.slot, std::move(changes));
  return answer;
}

Error BlockCalls::acquire_one(const Access& access, UntrustedRef ref, Holder to,
                              PayerChanges::Batch& changes) {
  ArenaSlot& slot = *access.slot;
  const SlabIndex slab = slot.arena.refs().slab_of(Ref{ref.value});
  // The stride is read first. When the take-over succeeds, the block was held under this generation
  // all the while, so its stride cannot have changed.
  const std::uint64_t stride = slot.arena.describe(ref).stride_bytes;
  // Who has leased the run pays for all of it.
  const HeapId owner = stride == 0 ? kNoHeap : slot.arena.ledger().run(slab).owner().heap_id();
  const std::uint64_t charge = owner == kNoHeap ? 0 : stride;
  if (const Error e = account_.charge(to.session(), charge); e != Error::kNone) return e;
  const auto before = slot.arena.acquire(ref, to);
  if (!before.ok()) {
    account_.withdraw(to.session(), charge);
    return before.error();
  }
  account_.given(to.session(), charge);
  access.note(slab);
  if (charge != 0) changes.add(owner, Ref{ref.value}, charge);
  account_.took(slot, before->session(), 1, stride);
  account_.gave(access, 1, stride);
  return Error::kNone;
}

Answer<PerRefAnswer> BlockCalls::share(SessionKey key, ArenaId arena_id, UntrustedRefs refs) {
  Access access;
  if (const Error e = admit(key, arena_id, Need::kChange, refs, access); e != Error::kNone)
    return refusal(e, key, arena_id, refs);
  // A shared block has several holders. From here on only the words say who holds what.
  access.slot->state->counts_from_words.store(true, std::memory_order_relaxed);
  PerRefAnswer answer;
  const Failure full = sharers_full(access, key.id);
  for (std::size_t i = 0; i < refs.size(); ++i) {
    if (full.error != Error::kNone) {
      answer.errors.push_back(
          {static_cast<std::uint32_t>(i), refs[i], full.error,
           fmt::format("ref {} is not shared: {}", ref_text(refs[i].value), full.message)});
    } else if (const Error e = share_one(access, refs[i], key.id); e != Error::kNone) {
      add_failure(answer, i, refs[i], e, *access.slot, "shared");
    } else {
      ++answer.done;
    }
  }
  return answer;
}

Failure BlockCalls::sharers_full(const Access& access, SessionId session) {
  const Arena& arena = access.slot->arena;
  if (arena.sharer_bits(session) != 0) return {};
  std::map<std::uint32_t, std::uint32_t> of_user;
  std::uint32_t all = 0;
  arena.sharers().for_each([&](SessionId sharer) {
    ++all;
    if (const SessionSlot* const slot = tables_.session(sharer)) ++of_user[slot->uid];
  });
  if (all >= kMaxSharers)
    return refuse(Error::kSharersFull,
                  fmt::format("arena '{}'{}", access.slot->name(),
                              access.session->of_admin ? biggest(of_user) : std::string()));
  const std::uint32_t uid = access.session->uid;
  if (of_user[uid] >= shared_.max_user_sharers)
    return refuse(Error::kQuotaUser,
                  fmt::format("{} sessions of uid {} share blocks of arena '{}', and the limit "
                              "max_user_sharers is {}",
                              of_user[uid], uid, access.slot->name(), shared_.max_user_sharers));
  return {};
}

Error BlockCalls::share_one(const Access& access, UntrustedRef untrusted, SessionId session) {
  Arena& arena = access.slot->arena;
  if (const Error e = arena.share(untrusted, session); e != Error::kNone) return e;
  access.note(arena.refs().slab_of(Ref{untrusted.value}));
  return Error::kNone;
}

Answer<PerRefAnswer> BlockCalls::release(SessionKey key, ArenaId arena_id, UntrustedRefs refs) {
  Access access;
  if (const Error e = admit(key, arena_id, Need::kGive, refs, access); e != Error::kNone)
    return refusal(e, key, arena_id, refs);
  ArenaSlot& slot = *access.slot;
  PerRefAnswer answer;
  for (std::size_t i = 0; i < refs.size(); ++i) {
    if (const Error e = slot.heap.release(refs[i], key.id); e != Error::kNone) {
      add_failure(answer, i, refs[i], e, slot, "released");
      continue;
    }
    ++answer.done;
  }
  account_.settle(slot);
  turn_.freed_in(slot);
  return answer;
}

Answer<std::vector<BlockFacts>> BlockCalls::describe(SessionKey key, ArenaId arena_id,
                                                     UntrustedRefs refs) {
  Access access;
  if (const Error e = admit(key, arena_id, Need::kLook, refs, access); e != Error::kNone)
    return refusal(e, key, arena_id, refs);
  std::vector<BlockFacts> facts;
  facts.reserve(refs.size());
  for (std::size_t i = 0; i < refs.size(); ++i)
    facts.push_back(access.slot->arena.describe(refs[i]));
  return facts;
}

}  // namespace arenad::server
