// Full arenas: park the request, have all shards trim, retry, then fail with the particulars or
// wait.
#include <algorithm>

#include "server/core/api/clock.h"
#include "server/core/api/text.h"
#include "server/core/shard/shard.h"

namespace arenad::server {
namespace {

// While somebody waits: how often the shard looks for announced blocks, and how often it asks for a
// trim round although nobody said that memory came back (a reap, or a freer that saw no waiter
// yet).
constexpr std::uint64_t kWaitLookNs = 10 * kNsPerMs;
constexpr std::uint64_t kWaitRoundNs = 100 * kNsPerMs;
// What a session holds is counted anew so often at most: the count reads all words.
constexpr std::uint64_t kRecountNs = 100 * kNsPerMs;
// Without arenas there is nothing to drain.
constexpr std::uint64_t kNothingToDoNs = 1000 * kNsPerMs;

bool memory_short(Error e) { return e == Error::kArenaFull || e == Error::kMachineFull; }

}  // namespace

void Shard::park_slow(ArenaSlot& slot, Parked parked, Error why) {
  parked.last = why;
  parked.ticket = ++next_ticket_;
  if (parked.wait_ms != 0) {
    const std::uint64_t now = now_ns();
    parked.deadline_ns = now + parked.wait_ms * kNsPerMs;
    wake_by(std::min(parked.deadline_ns, now + kWaitLookNs));
  }
  const SessionId session = parked.session.id;
  slot.parked.push_back(std::move(parked));
  slot.state->waiting.fetch_add(1, std::memory_order_relaxed);
  if (why == Error::kQuotaSession)
    return shared_.control->need_recount(session, slot.id, index_, next_ticket_);
  shared_.control->need_memory(slot.id, index_, next_ticket_);
}

bool Shard::worth_recounting(const SessionSlot& session) const {
  if (now_ns() - session.recounted_ns < kRecountNs) return false;
  return std::any_of(session.attached.begin(), session.attached.end(), [this](const Attached& a) {
    const ArenaSlot* slot = tables_.by_id[a.arena.value].get();
    return slot != nullptr && slot->state->counts_from_words.load(std::memory_order_relaxed);
  });
}

void Shard::recounted(ArenaId arena_id, std::uint64_t ticket) {
  ArenaSlot* slot = tables_.arena(arena_id);
  if (slot == nullptr) return;
  const std::uint64_t now = now_ns();
  for (Parked& parked : slot->parked) {
    if (parked.ticket != ticket) continue;
    parked.recounted = true;
    if (SessionSlot* session = tables_.session(parked.session.id)) session->recounted_ns = now;
    return serve_parked(*slot, 0, now);
  }
}

void Shard::retry_parked(ArenaId arena_id) {
  ArenaSlot* slot = tables_.arena(arena_id);
  if (slot != nullptr && !slot->parked.empty()) serve_parked(*slot, 0, now_ns());
}

void Shard::trim_round(ArenaId arena_id, std::uint64_t ticket, const UsageSummary& usage) {
  ArenaSlot* slot = tables_.arena(arena_id);
  if (slot == nullptr) return;
  slot->last_usage = usage;
  if (!slot->parked.empty()) serve_parked(*slot, ticket, now_ns());
}

void Shard::serve_parked(ArenaSlot& slot, std::uint64_t ticket, std::uint64_t now) {
  std::vector<std::pair<Parked, Failure>> finished;
  std::deque<Parked> kept;
  bool somebody_waits = false;
  for (Parked& parked : slot.parked) {
    const bool waits = parked.deadline_ns != 0;
    Access access;
    // Who waits is served in order: nobody who waits is tried after one that could not be served.
    Error e = parked.last;
    if (!waits || !somebody_waits || e == Error::kQuotaSession) {
      e = admit(parked.session, slot.id, parked.for_peer ? Need::kPeer : Need::kChange, access);
      if (e == Error::kNone) e = parked.attempt(access);
    }
    if (e == Error::kNone) {
      finished.emplace_back(std::move(parked), Failure{});
      continue;
    }
    if (e == Error::kQuotaSession && !parked.recounted &&
        (parked.last == e || worth_recounting(*access.session))) {
      if (std::exchange(parked.last, e) != e) {
        parked.ticket = ++next_ticket_;
        shared_.control->need_recount(parked.session.id, slot.id, index_, parked.ticket);
      }
      kept.push_back(std::move(parked));
      continue;
    }
    if (!memory_short(e)) {
      Failure failure = parked.refusal(e, slot);
      finished.emplace_back(std::move(parked), std::move(failure));
      continue;
    }
    if (std::exchange(parked.last, e) ==
        Error::kQuotaSession) {  // it was counted anew, and now the arena is full
      parked.ticket = ++next_ticket_;
      shared_.control->need_memory(slot.id, index_, parked.ticket);
    }
    const bool over = waits ? now >= parked.deadline_ns : parked.ticket <= ticket;
    if (over) {
      Failure failure = full_failure(slot, parked, waits);
      finished.emplace_back(std::move(parked), std::move(failure));
    } else {
      somebody_waits |= waits;
      kept.push_back(std::move(parked));
    }
  }
  slot.parked = std::move(kept);
  slot.state->waiting.fetch_sub(static_cast<std::uint32_t>(finished.size()),
                                std::memory_order_relaxed);
  // Last, because a callback may call allocate again.
  for (auto& [parked, failure] : finished)
    failure.error == Error::kNone ? parked.answer() : parked.fail(std::move(failure));
}

Failure Shard::full_failure(const ArenaSlot& slot, const Parked& parked, bool waited) const {
  const UsageSummary& usage = slot.last_usage;
  const std::string facts = concat(
      parked.asked_for(), ": arena '", slot.arena.options().name, "' has a capacity of ",
      bytes_text(slot.arena.capacity_bytes()), ", of which ", bytes_text(usage.held_bytes),
      " are held and ", bytes_text(usage.committed_bytes), " committed",
      usage.leased_bytes == 0 ? std::string()
                              : concat(", ", bytes_text(usage.leased_bytes), " leased to peers"),
      usage.biggest_holders.empty() ? std::string()
                                    : concat("; biggest holders: ", usage.biggest_holders));
  if (waited) return refuse(Error::kWaitExpired, "waited ", parked.wait_ms, " ms for ", facts);
  return refuse(parked.last, "no room for ", facts);
}

void Shard::fail_parked_if(ArenaSlot& slot, const std::function<bool(const Parked&)>& which,
                           Error why) {
  std::vector<Parked> failed;
  std::deque<Parked> kept;
  for (Parked& parked : slot.parked) {
    if (which(parked)) {
      failed.push_back(std::move(parked));
    } else {
      kept.push_back(std::move(parked));
    }
  }
  slot.parked = std::move(kept);
  slot.state->waiting.fetch_sub(static_cast<std::uint32_t>(failed.size()),
                                std::memory_order_relaxed);
  for (Parked& parked : failed) parked.fail(refuse_slow(why, parked.session, slot.id));
}

void Shard::fail_parked(Error why) {
  for (ArenaSlot* slot : tables_.arenas)
    fail_parked_if(
        *slot, [](const Parked&) { return true; }, why);
}

void Shard::wake_by(std::uint64_t deadline_ns) {
  if (deadline_ns >= next_tick_ns_) return;
  next_tick_ns_ = deadline_ns;
  inbox_.wake();  // the loop sleeps by the time that tick returned before
}

std::uint64_t Shard::waits_tick(std::uint64_t now) {
  std::uint64_t next = ~std::uint64_t{0};
  bool ask = false;
  if (now >= next_round_ns_) {
    ask = true;
    next_round_ns_ = now + kWaitRoundNs;
  }
  for (std::size_t i = 0; i < tables_.arenas.size(); ++i) {
    ArenaSlot& slot = *tables_.arenas[i];
    if (slot.parked.empty()) continue;
    const bool expired =
        std::any_of(slot.parked.begin(), slot.parked.end(),
                    [now](const Parked& p) { return p.deadline_ns != 0 && now >= p.deadline_ns; });
    if (expired || slot.heap.has_pending()) serve_parked(slot, 0, now);
    if (ask && !slot.parked.empty()) shared_.control->memory_returned(slot.id);
    for (const Parked& p : slot.parked)
      if (p.deadline_ns != 0) next = std::min({next, p.deadline_ns, now + kWaitLookNs});
  }
  return next;
}

std::uint64_t Shard::tick(std::uint64_t now) {
  if (now < next_tick_ns_) return next_tick_ns_;
  const std::uint64_t next_wait = waits_tick(now);
  if (now >= next_idle_ns_) {
    for (ArenaSlot* slot : tables_.arenas) slot->heap.idle_tick();
    if (tables_.arenas.empty()) {
      next_idle_ns_ = now + kNothingToDoNs;
    } else {
      ++idle_drains_;
      next_idle_ns_ =
          now + shared_.tunables.idle_drain_ms.load(std::memory_order_relaxed) * kNsPerMs;
    }
  }
  next_tick_ns_ = std::min(next_wait, next_idle_ns_);
  return next_tick_ns_;
}

void Shard::retime() { next_tick_ns_ = next_idle_ns_ = 0; }

void Shard::end_turn() {
  if (tables_.touched.empty()) return;
  // A callback of serve_parked may touch arenas again: those stay for the next turn.
  std::vector<ArenaSlot*> touched;
  touched.swap(tables_.touched);
  for (ArenaSlot* slot : touched) {
    slot->touched = false;
    if (slot->heap.has_unpublished()) slot->heap.publish();
    if (!slot->freed) continue;
    slot->freed = false;
    if (slot->state->waiting.load(std::memory_order_relaxed) == 0) continue;
    if (!slot->parked.empty()) serve_parked(*slot, 0, now_ns());
    if (slot->state->waiting.load(std::memory_order_relaxed) != 0)
      shared_.control->memory_returned(slot->id);
  }
  if (tables_.touched.empty()) {  // keep the vector's memory for the next turn
    touched.clear();
    tables_.touched.swap(touched);
  }
  shared_.control->kick_maintenance();
}

}  // namespace arenad::server
