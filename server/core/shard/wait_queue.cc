#include "server/core/shard/wait_queue.h"

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "allocator/base/format.h"
#include "server/core/api/clock.h"
#include "server/core/api/text.h"

namespace arenad::server {
namespace {

// While somebody waits, the shard looks for announced blocks this often.
constexpr std::uint64_t kWaitLookNs = 10 * kNsPerMs;
// While somebody waits, the shard asks for a trim round this often although nobody said that memory
// came back. A reap gives memory back unsaid, and so does a freer that saw no waiter yet.
constexpr std::uint64_t kWaitRoundNs = 100 * kNsPerMs;
// A session is recounted at most this often, because a recount reads all words of its arenas.
constexpr std::uint64_t kRecountNs = 100 * kNsPerMs;

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
  const SessionId session = call.session.id;
  ++parked_of_[call.uid];
  slot.parked.push_back(std::move(call));
  slot.state->waiting.fetch_add(1, std::memory_order_relaxed);
  if (why == Error::kQuotaSession)
    return shared_.control->need_recount(session, slot.id, shard_, next_ticket_);
  shared_.control->need_memory(slot.id, shard_, next_ticket_);
}

void WaitQueue::unpark(ArenaSlot& slot, const ParkedCall& call) {
  const auto of_user = parked_of_.find(call.uid);
  if (--of_user->second == 0) parked_of_.erase(of_user);
  slot.state->waiting.fetch_sub(1, std::memory_order_relaxed);
}

bool WaitQueue::waits(const ArenaSlot& slot, std::uint32_t uid) {
  return std::ranges::any_of(slot.parked,
                             [uid](const ParkedCall& call) { return call.uid == uid; });
}

Failure WaitQueue::no_place(std::uint32_t uid) const {
  const auto of_user = parked_of_.find(uid);
  if (of_user == parked_of_.end() || of_user->second < shared_.max_user_waiting_calls) return {};
  return refuse(Error::kQuotaUser,
                fmt::format("{} calls of uid {} wait for memory on this shard, which is the limit "
                            "max_user_waiting_calls",
                            of_user->second, uid));
}

bool WaitQueue::worth_recounting(const SessionSlot& session) const {
  if (now_ns() - session.recounted_ns < kRecountNs) return false;
  return std::any_of(session.attached.begin(), session.attached.end(), [this](const Attached& a) {
    const ArenaSlot* slot = tables_.arena(a.arena);
    return slot != nullptr && slot->counts_from_words();
  });
}

void WaitQueue::recounted(ArenaId arena_id, std::uint64_t ticket) {
  ArenaSlot* const slot = tables_.arena(arena_id);
  if (slot == nullptr) return;
  const std::uint64_t now = now_ns();
  for (ParkedCall& call : slot->parked) {
    if (call.ticket != ticket) continue;
    call.recounted = true;
    if (SessionSlot* session = tables_.session(call.session.id)) session->recounted_ns = now;
    return serve_parked(*slot, 0, now);
  }
}

void WaitQueue::retry(ArenaId arena_id) {
  ArenaSlot* const slot = tables_.arena(arena_id);
  if (slot != nullptr && !slot->parked.empty()) serve_parked(*slot, 0, now_ns());
}

void WaitQueue::trim_round(ArenaId arena_id, std::uint64_t ticket, const UsageSummary& usage) {
  ArenaSlot* const slot = tables_.arena(arena_id);
  if (slot == nullptr) return;
  slot->last_usage = usage;
  if (!slot->parked.empty()) serve_parked(*slot, ticket, now_ns());
}

void WaitQueue::memory_came_back(ArenaSlot& slot) {
  const std::atomic<std::uint32_t>& waiting = slot.state->waiting;
  if (waiting.load(std::memory_order_relaxed) == 0) return;
  if (!slot.parked.empty()) serve_parked(slot, 0, now_ns());
  if (waiting.load(std::memory_order_relaxed) != 0) shared_.control->memory_returned(slot.id);
}

void WaitQueue::serve_parked(ArenaSlot& slot, std::uint64_t ticket, std::uint64_t now) {
  std::vector<std::pair<ParkedCall, Failure>> finished;
  std::deque<ParkedCall> kept;
  std::set<std::uint32_t> waiting_users;
  for (ParkedCall& call : slot.parked) {
    Failure failure;
    const Fate fate = try_again(slot, call, waiting_users.contains(call.uid), ticket, now, failure);
    if (fate != Fate::kKept) {
      unpark(slot, call);
      finished.emplace_back(std::move(call), std::move(failure));
      continue;
    }
    // A call that waits for a recount holds up nobody: memory is not what it lacks.
    if (call.deadline_ns != 0 && call.last != Error::kQuotaSession) waiting_users.insert(call.uid);
    kept.push_back(std::move(call));
  }
  slot.parked = std::move(kept);
  // Last, because a callback may allocate again.
  for (auto& [call, failure] : finished)
    failure.error == Error::kNone ? call.answer() : call.fail(std::move(failure));
}

WaitQueue::Fate WaitQueue::try_again(ArenaSlot& slot, ParkedCall& call, bool behind_a_waiter,
                                     std::uint64_t ticket, std::uint64_t now, Failure& failure) {
  const bool waits = call.deadline_ns != 0;
  Access access;
  // Callers of one user that wait are served in order: none of them is tried after one that got
  // nothing.
  Error e = call.last;
  if (!waits || !behind_a_waiter || e == Error::kQuotaSession) {
    e = tables_.admit(call.session, slot.id, call.for_peer ? Need::kPeer : Need::kChange, access);
    if (e == Error::kNone) e = call.attempt(access);
  }
  if (e == Error::kNone) return Fate::kAnswered;
  if (e == Error::kQuotaSession && !call.recounted &&
      (call.last == e || worth_recounting(*access.session))) {
    if (std::exchange(call.last, e) != e) {
      call.ticket = ++next_ticket_;
      shared_.control->need_recount(call.session.id, slot.id, shard_, call.ticket);
    }
    return Fate::kKept;
  }
  if (!memory_short(e)) {
    failure = call.refusal(e, slot);
    return Fate::kFailed;
  }
  if (std::exchange(call.last, e) == Error::kQuotaSession) {  // recounted, and the arena is full
    call.ticket = ++next_ticket_;
    shared_.control->need_memory(slot.id, shard_, call.ticket);
  }
  const bool over = waits ? now >= call.deadline_ns : call.ticket <= ticket;
  if (!over) return Fate::kKept;
  failure = full_failure(slot, call);
  return Fate::kFailed;
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
      call.last == Error::kMachineFull ? "; " + slot.arena.memory_refusal() : std::string();
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
  for (std::size_t i = 0; i < tables_.arenas().size(); ++i) {
    fail_session_in(*tables_.arenas()[i], session, why);
  }
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
  for (std::size_t i = 0; i < tables_.arenas().size(); ++i) fail_all(*tables_.arenas()[i], why);
}

std::uint64_t WaitQueue::tick(std::uint64_t now) {
  std::uint64_t next = ~std::uint64_t{0};
  const bool ask = now >= next_round_ns_;
  if (ask) next_round_ns_ = now + kWaitRoundNs;
  for (std::size_t i = 0; i < tables_.arenas().size(); ++i) {
    ArenaSlot& slot = *tables_.arenas()[i];
    if (slot.parked.empty()) continue;
    const bool expired = std::any_of(
        slot.parked.begin(), slot.parked.end(),
        [now](const ParkedCall& call) { return call.deadline_ns != 0 && now >= call.deadline_ns; });
    if (expired || slot.heap.has_pending()) serve_parked(slot, 0, now);
    if (ask && !slot.parked.empty()) shared_.control->memory_returned(slot.id);
    for (const ParkedCall& call : slot.parked)
      if (call.deadline_ns != 0) next = std::min({next, call.deadline_ns, now + kWaitLookNs});
  }
  return next;
}

}  // namespace arenad::server
