#include "server/core/shard/wait_queue.h"

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "allocator/base/format.h"
#include "server/core/api/clock.h"
#include "server/core/api/text.h"
#include "server/core/host/host_budget.h"

namespace arenad::server {
namespace {

// While somebody waits, the shard looks for announced blocks this often.
constexpr std::uint64_t kWaitLookNs = 10 * kNsPerMs;
// While somebody waits, the shard asks for a trim round this often although nobody said that memory
// came back. A reap gives memory back unsaid, and so does a freer that saw no waiter yet.
constexpr std::uint64_t kWaitRoundNs = 100 * kNsPerMs;

bool memory_short(Error e) { return e == Error::kArenaFull || e == Error::kMachineFull; }

}  // namespace

void WaitQueue::park_slow(ArenaSlot& slot, ParkedCall call, Error why) {
  call.last = why;
  call.ticket = ++next_ticket_;
  if (call.wait_ms != 0) {
    const std::uint64_t now = now_ns();
    call.deadline_ns = now + call.wait_ms * kNsPerMs;
    alarm_.ring_by(std::min(call.deadline_ns, now + kWaitLookNs));
  }
  ++parked_of_[call.uid];
  if (!std::exchange(slot.waited, true)) waited_.push_back(&slot);
  slot.parked.push_back(std::move(call));
  slot.state->waiting.fetch_add(1, std::memory_order_relaxed);
  ParkedCall& parked = slot.parked.back();
  if (why == Error::kCommitNeeded) return begin_commit(slot, parked);
  if (over_quota(why)) return shared_.control->need_free_round(slot.id, shard_, next_ticket_);
  shared_.control->need_memory(slot.id, shard_, next_ticket_);
}

void WaitQueue::unpark(ArenaSlot& slot, const ParkedCall& call) {
  const auto of_user = parked_of_.find(call.uid);
  if (--of_user->second == 0) parked_of_.erase(of_user);
  if (!call.committing) slot.state->waiting.fetch_sub(1, std::memory_order_relaxed);
}

Failure WaitQueue::no_place(std::uint32_t uid) const {
  const auto of_user = parked_of_.find(uid);
  if (of_user == parked_of_.end() || of_user->second < shared_.max_user_waiting_calls) return {};
  return refuse(Error::kQuotaUser,
                fmt::format("{} calls of uid {} wait for memory on this shard, which is the limit "
                            "max_user_waiting_calls",
                            of_user->second, uid));
}

void WaitQueue::begin_commit(ArenaSlot& slot, ParkedCall& call) {
  call.committing = true;
  slot.state->waiting.fetch_sub(1, std::memory_order_relaxed);
  shared_.control->need_commit(slot.state, shard_, call.ticket, call.need(slot));
}

void WaitQueue::committed(ArenaId arena_id, std::uint64_t ticket, const RunClaims::Outcome& got) {
  ArenaSlot* const slot = tables_.arena(arena_id);
  if (slot == nullptr) return;
  for (ParkedCall& call : slot->parked) {
    if (call.ticket != ticket || !call.committing) continue;
    call.committing = false;
    slot->state->waiting.fetch_add(1, std::memory_order_relaxed);
    call.short_claims = got.error == Error::kNone ? 0 : call.short_claims + 1;
    // What there was may do, beside what the heap has. The second time it is clear that it does
    // not.
    const bool refused = got.error != Error::kNone && (got.runs == 0 || call.short_claims > 1);
    call.refused = call.commit_error = refused ? got.error : Error::kNone;
    return serve_parked(*slot, {.now = now_ns()});
  }
}

void WaitQueue::ask_for_room(ArenaSlot& slot, ParkedCall& call) {
  call.ticket = ++next_ticket_;
  shared_.control->need_memory(slot.id, shard_, call.ticket);
}

bool WaitQueue::somebody_waits(const ArenaSlot& slot) {
  return std::any_of(slot.parked.begin(), slot.parked.end(),
                     [](const ParkedCall& call) { return !call.committing; });
}

bool WaitQueue::waits(const ArenaSlot& slot, std::uint32_t uid) {
  return std::any_of(slot.parked.begin(), slot.parked.end(),
                     [uid](const ParkedCall& call) { return call.uid == uid && !call.committing; });
}

void WaitQueue::free_round_over(ArenaId arena_id, std::uint64_t ticket) {
  ArenaSlot* const slot = tables_.arena(arena_id);
  if (slot == nullptr) return;
  for (ParkedCall& call : slot->parked) {
    if (call.ticket != ticket) continue;
    call.free_round_over = true;
    return serve_parked(*slot, {.now = now_ns()});
  }
}

void WaitQueue::retry(ArenaId arena_id) {
  ArenaSlot* const slot = tables_.arena(arena_id);
  if (slot != nullptr && !slot->parked.empty()) serve_parked(*slot, {.now = now_ns()});
}

void WaitQueue::trim_round(ArenaId arena_id, std::uint64_t ticket, const UsageSummary& usage) {
  ArenaSlot* const slot = tables_.arena(arena_id);
  if (slot == nullptr) return;
  slot->last_usage = usage;
  if (!slot->parked.empty())
    serve_parked(*slot, {.now = now_ns(), .round_over = true, .ticket = ticket});
}

void WaitQueue::memory_came_back(ArenaSlot& slot) {
  const std::atomic<std::uint32_t>& waiting = slot.state->waiting;
  if (waiting.load(std::memory_order_relaxed) == 0) return;
  if (!slot.parked.empty()) serve_parked(slot, {.now = now_ns()});
  if (waiting.load(std::memory_order_relaxed) != 0) shared_.control->memory_returned(slot.id);
}

void WaitQueue::serve_parked(ArenaSlot& slot, const Occasion& occasion) {
  std::vector<std::pair<ParkedCall, Failure>> finished;
  std::deque<ParkedCall> kept;
  std::set<std::uint32_t> waiting_users;
  for (ParkedCall& call : slot.parked) {
    Failure failure;
    const Fate fate = try_again(slot, call, waiting_users.contains(call.uid), occasion, failure);
    if (fate != Fate::kKept) {
      unpark(slot, call);
      finished.emplace_back(std::move(call), std::move(failure));
      continue;
    }
    // A call that waits for a free round or a commit holds up nobody: it is not memory of others
    // that it lacks.
    if (call.deadline_ns != 0 && !over_quota(call.last) && !call.committing)
      waiting_users.insert(call.uid);
    kept.push_back(std::move(call));
  }
  slot.parked = std::move(kept);
  // Last, because a callback may allocate again.
  for (auto& [call, failure] : finished)
    failure.error == Error::kNone ? call.answer() : call.fail(std::move(failure));
}

WaitQueue::Fate WaitQueue::try_again(ArenaSlot& slot, ParkedCall& call, bool behind_a_waiter,
                                     const Occasion& occasion, Failure& failure) {
  const bool waits = call.deadline_ns != 0;
  const bool round_over = occasion.round_over && call.ticket <= occasion.ticket;
  if (round_over) call.trimmed = true;
  Access access;
  // Callers of one user that wait are served in order: none of them is tried after one that got
  // nothing.
  Error e = call.last;
  if (call.refused != Error::kNone) {
    e = std::exchange(call.refused, Error::kNone);
  } else if (!call.committing && (!waits || !behind_a_waiter || over_quota(e))) {
    e = tables_.admit(call.session, slot.id, call.for_peer ? Need::kPeer : Need::kChange, access);
    if (e == Error::kNone) {
      // For control memory, which the shard commits itself.
      const HostBudget::Asking asking(call.session.id);
      e = call.attempt(access);
    }
  }
  if (e == Error::kNone) return Fate::kAnswered;
  if (e == Error::kCommitNeeded) return commit_again(slot, call, occasion, failure);
  if (over_quota(e) && !call.free_round_over) {
    if (!over_quota(std::exchange(call.last, e))) {
      call.ticket = ++next_ticket_;
      shared_.control->need_free_round(slot.id, shard_, call.ticket);
    }
    return Fate::kKept;
  }
  if (!memory_short(e)) {
    failure = call.refusal(e, slot);
    return Fate::kFailed;
  }
  const Error before = std::exchange(call.last, e);
  bool over = waits ? occasion.now >= call.deadline_ns : round_over;
  if (over_quota(before) || (before == Error::kCommitNeeded && !call.trimmed)) {
    // A free round is over, or its commit was refused, or others took what was committed.
    ask_for_room(slot, call);
    over = waits && over;
  } else if (before == Error::kCommitNeeded && !waits) {
    over = true;  // a trim round has not helped
  }
  if (!over) return Fate::kKept;
  failure = full_failure(slot, call);
  return Fate::kFailed;
}

// A call whose commit was refused is not committed for again before a trim round is over: peers
// would not be asked while nobody waits for memory of others.
WaitQueue::Fate WaitQueue::commit_again(ArenaSlot& slot, ParkedCall& call, const Occasion& occasion,
                                        Failure& failure) {
  if (call.deadline_ns != 0 && occasion.now >= call.deadline_ns) {
    failure = full_failure(slot, call);
    return Fate::kFailed;
  }
  if (!call.committing && (call.commit_error == Error::kNone || occasion.round_over)) {
    call.last = Error::kCommitNeeded;
    begin_commit(slot, call);
  }
  return Fate::kKept;
}

Failure WaitQueue::full_failure(const ArenaSlot& slot, const ParkedCall& call) const {
  const UsageSummary& usage = slot.last_usage;
  const std::string facts = fmt::format(
      "{}: arena '{}' has a capacity of {}, of which {} are held and {} committed{}{}",
      call.asked_for(), slot.name(), bytes_text(slot.arena.capacity_bytes()),
      bytes_text(usage.held_bytes), bytes_text(usage.committed_bytes),
      usage.leased_bytes == 0 ? std::string()
                              : fmt::format(", {} leased to peers", bytes_text(usage.leased_bytes)),
      usage.biggest_holders.empty() ? std::string()
                                    : fmt::format("; biggest holders: {}", usage.biggest_holders));
  const std::string why =
      call.commit_error == Error::kMachineFull || call.last == Error::kMachineFull
          ? "; " + slot.arena.memory_refusal()
          : std::string();
  if (call.deadline_ns != 0)
    return refuse(Error::kWaitExpired,
                  fmt::format("waited {} ms for {}{}", call.wait_ms, facts, why));
  return refuse(call.last, fmt::format("no room for {}{}", facts, why));
}

void WaitQueue::fail_if(ArenaSlot& slot, const std::function<bool(const ParkedCall&)>& which,
                        Error why) {
  std::vector<ParkedCall> failed;
  std::deque<ParkedCall> kept;
  for (ParkedCall& call : slot.parked) {
    if (which(call)) {
      unpark(slot, call);
      failed.push_back(std::move(call));
    } else {
      kept.push_back(std::move(call));
    }
  }
  slot.parked = std::move(kept);
  for (ParkedCall& call : failed) call.fail(tables_.refusal(why, call.session, slot.id));
}

void WaitQueue::fail_session(SessionId session, Error why) {
  // By index: a callback may allocate. Arenas come and go only by messages, never in a callback.
  for (std::size_t i = 0; i < waited_.size(); ++i) fail_session_in(*waited_[i], session, why);
}

void WaitQueue::fail_session_in(ArenaSlot& slot, SessionId session, Error why) {
  fail_if(
      slot, [session](const ParkedCall& call) { return call.session.id == session; }, why);
}

void WaitQueue::fail_all(ArenaSlot& slot, Error why) {
  fail_if(
      slot, [](const ParkedCall&) { return true; }, why);
}

void WaitQueue::fail_all(Error why) {
  for (std::size_t i = 0; i < waited_.size(); ++i) fail_all(*waited_[i], why);
}

std::uint64_t WaitQueue::tick(std::uint64_t now) {
  std::uint64_t next = ~std::uint64_t{0};
  const bool ask = now >= next_round_ns_;
  if (ask) next_round_ns_ = now + kWaitRoundNs;
  std::erase_if(waited_, [](ArenaSlot* slot) {
    slot->waited = !slot->parked.empty();
    return !slot->waited;
  });
  for (std::size_t i = 0; i < waited_.size(); ++i) {  // a callback may park a call in another arena
    ArenaSlot& slot = *waited_[i];
    const bool expired = std::any_of(
        slot.parked.begin(), slot.parked.end(),
        [now](const ParkedCall& call) { return call.deadline_ns != 0 && now >= call.deadline_ns; });
    if (expired || slot.heap.has_pending()) serve_parked(slot, {.now = now});
    if (ask && somebody_waits(slot)) shared_.control->memory_returned(slot.id);
    for (const ParkedCall& call : slot.parked)
      if (call.deadline_ns != 0) next = std::min({next, call.deadline_ns, now + kWaitLookNs});
  }
  return next;
}

}  // namespace arenad::server
