// Full arenas: park the request, have all shards trim, retry, then fail with the particulars or wait.
#include <algorithm>

#include "server/core/clock.h"
#include "server/core/shard.h"
#include "server/core/text.h"

namespace arenad::server {
namespace {

// While somebody waits: how often the shard looks for announced blocks, and how often it asks for a trim round although
// nobody said that memory came back (a reap, or a freer that saw no waiter yet).
constexpr std::uint64_t kWaitLookNs = 10 * kNsPerMs;
constexpr std::uint64_t kWaitRoundNs = 100 * kNsPerMs;
// Without arenas there is nothing to drain.
constexpr std::uint64_t kNothingToDoNs = 1000 * kNsPerMs;

std::string asked_for(const AllocateArgs& args) {
  if (!args.sizes.empty()) return concat(args.sizes.size(), " blocks of given sizes");
  return concat(args.count, args.count == 1 ? " block of " : " blocks of ", args.size_bytes, " bytes");
}

bool memory_short(Error e) { return e == Error::kArenaFull || e == Error::kMachineFull; }

}  // namespace

void Shard::park_slow(ArenaSlot& slot, const AllocateArgs& args, Done<AllocatedBlocks> done, Error why) {
  ParkedAllocate parked{args, std::move(done), ++next_ticket_, 0, why};
  if (args.wait_ms != 0) {
    const std::uint64_t now = now_ns();
    parked.deadline_ns = now + args.wait_ms * kNsPerMs;
    wake_by(std::min(parked.deadline_ns, now + kWaitLookNs));
  }
  slot.parked.push_back(std::move(parked));
  slot.state->waiting.fetch_add(1, std::memory_order_relaxed);
  shared_.control->need_memory(slot.id, index_, next_ticket_);
}

void Shard::memory_round(std::uint16_t arena_id, std::uint64_t ticket, const UsageSummary& usage) {
  ArenaSlot* slot = tables_.arena(arena_id);
  if (slot == nullptr) return;
  slot->last_usage = usage;
  if (!slot->parked.empty()) serve_parked(*slot, ticket, now_ns());
}

void Shard::serve_parked(ArenaSlot& slot, std::uint64_t ticket, std::uint64_t now) {
  std::vector<std::pair<Done<AllocatedBlocks>, Answer<AllocatedBlocks>>> finished;
  std::deque<ParkedAllocate> kept;
  bool somebody_waits = false;
  for (ParkedAllocate& parked : slot.parked) {
    const bool waits = parked.deadline_ns != 0;
    Access access;
    AllocatedBlocks out;
    // Who waits is served in order: nobody who waits is tried after one that could not be served.
    Error e = parked.last;
    if (!waits || !somebody_waits) {
      e = admit(parked.args.session, parked.args.arena_id, Need::kChange, access);
      if (e == Error::kNone) e = try_allocate(access, parked.args, out);
    }
    if (e == Error::kNone) {
      finished.emplace_back(std::move(parked.done), std::move(out));
    } else if (!memory_short(e)) {
      finished.emplace_back(std::move(parked.done), allocate_failure_slow(e, parked.args, slot, parked.args.session));
    } else {
      parked.last = e;
      const bool over = waits ? now >= parked.deadline_ns : parked.ticket <= ticket;
      if (over) {
        finished.emplace_back(std::move(parked.done), full_failure(slot, parked, waits));
      } else {
        somebody_waits |= waits;
        kept.push_back(std::move(parked));
      }
    }
  }
  slot.parked = std::move(kept);
  slot.state->waiting.fetch_sub(static_cast<std::uint32_t>(finished.size()), std::memory_order_relaxed);
  // Last, because a callback may call allocate again.
  for (auto& [done, answer] : finished) done(std::move(answer));
}

Failure Shard::full_failure(const ArenaSlot& slot, const ParkedAllocate& parked, bool waited) const {
  const UsageSummary& usage = slot.last_usage;
  const std::string facts =
      concat(asked_for(parked.args), ": arena '", slot.arena.options().name, "' has a capacity of ",
             bytes_text(slot.arena.capacity_bytes()), ", of which ", bytes_text(usage.held_bytes), " are held and ",
             bytes_text(usage.committed_bytes), " committed",
             usage.biggest_holders.empty() ? std::string() : concat("; biggest holders: ", usage.biggest_holders));
  if (waited) return refuse(Error::kWaitExpired, "waited ", parked.args.wait_ms, " ms for ", facts);
  return refuse(parked.last, "no room for ", facts);
}

void Shard::fail_parked_if(ArenaSlot& slot, const std::function<bool(const ParkedAllocate&)>& which, Error why) {
  std::vector<ParkedAllocate> failed;
  std::deque<ParkedAllocate> kept;
  for (ParkedAllocate& parked : slot.parked) {
    if (which(parked)) {
      failed.push_back(std::move(parked));
    } else {
      kept.push_back(std::move(parked));
    }
  }
  slot.parked = std::move(kept);
  slot.state->waiting.fetch_sub(static_cast<std::uint32_t>(failed.size()), std::memory_order_relaxed);
  for (ParkedAllocate& parked : failed) parked.done(refuse_slow(why, parked.args.session, parked.args.arena_id));
}

void Shard::fail_parked(Error why) {
  for (ArenaSlot* slot : tables_.arenas) fail_parked_if(*slot, [](const ParkedAllocate&) { return true; }, why);
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
    const bool expired = std::any_of(slot.parked.begin(), slot.parked.end(), [now](const ParkedAllocate& p) {
      return p.deadline_ns != 0 && now >= p.deadline_ns;
    });
    if (expired || slot.heap.has_pending()) serve_parked(slot, 0, now);
    if (ask && !slot.parked.empty()) shared_.control->memory_returned(slot.id);
    for (const ParkedAllocate& p : slot.parked)
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
      next_idle_ns_ = now + shared_.tunables.idle_drain_ms.load(std::memory_order_relaxed) * kNsPerMs;
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
    if (slot->state->waiting.load(std::memory_order_relaxed) != 0) shared_.control->memory_returned(slot->id);
  }
  if (tables_.touched.empty()) {  // keep the vector's memory for the next turn
    touched.clear();
    tables_.touched.swap(touched);
  }
  shared_.control->kick_maintenance();
}

}  // namespace arenad::server
