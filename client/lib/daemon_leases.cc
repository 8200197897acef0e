#include "client/lib/daemon_leases.h"

#include <algorithm>
#include <utility>

namespace arenad::client {
namespace {

// The lease thread does not wait longer for a daemon that does not answer: it has other work.
constexpr std::uint32_t kLeaseThreadCallMs = 2'000;
// Of the arena, in one part of a resume: 16 GiB. A part must not keep the shard long.
constexpr std::uint32_t kUnitsPerResume = 262'144;

}  // namespace

DaemonLeases::DaemonLeases(std::shared_ptr<ClientState> client, v1::SessionKey key,
                           DaemonGate& gate, ArenaId arena, ShardId shard, std::uint32_t units,
                           std::uint64_t epoch)
    : client_(std::move(client)),
      key_(std::move(key)),
      gate_(gate),
      arena_(arena),
      shard_(shard),
      account_(gate, units, epoch) {}

template <class Request>
Request DaemonLeases::request() const {
  Request filled;
  *filled.mutable_session() = key_;
  filled.set_arena_id(arena_.value);
  return filled;
}

template <class Request, class Response, class Take>
Status DaemonLeases::call(::grpc::Status (v1::Heaps::Stub::*method)(::grpc::ClientContext*,
                                                                    const Request&, Response*),
                          Request& request, Response& response, Patience patience,
                          std::uint32_t extra_ms, Take take) {
  const bool is_lease_thread = patience == Patience::kLeaseThread;
  const auto now = DaemonGate::Clock::now();
  const auto deadline =
      is_lease_thread
          ? now
          : now + std::chrono::milliseconds(std::uint64_t{client_->call_timeout_ms()} + extra_ms);
  for (;;) {
    const auto epoch = account_.enter(deadline);
    if (!epoch.ok()) return epoch.error();
    const std::uint32_t detaches = account_.detaches();
    request.set_epoch(*epoch);
    response.Clear();
    Status status = client_->call_within(
        client_->heaps(shard_), method, request, response,
        is_lease_thread ? kLeaseThreadCallMs : client_->call_timeout_ms() + extra_ms);
    if (status.ok()) {
      if (account_.answered(*epoch, take)) return status;
      status = {Code::kAborted, Error::kStaleEpoch, "the session resumed meanwhile"};
    }
    // Another reason is the daemon's own refusal. Without one the daemon may have leased slabs, and
    // the answer got lost. An old epoch tells of another daemon, or of a resume meanwhile.
    // A detach was on its way. When it was refused, the call is made again.
    const bool detached = status.reason == Error::kNotAttached;
    if (detached && account_.detaches() != detaches) continue;
    const bool stale = status.reason == Error::kStaleEpoch;
    const bool lost = status.reason == Error::kNone;
    // An arena that is gone, or that another detach has left, is given up by the next resume.
    const bool gone = detached || status.reason == Error::kUnknownArena;
    if (lost || stale || gone) account_.want_resume();
    if (!stale && !(lost && status.code == Code::kUnavailable)) return status;
    if (DaemonGate::Clock::now() >= deadline) return stale ? away_status() : status;
    // The session finds out that the connection broke, reconnects and resumes.
    gate_.pause(deadline);
  }
}

Answer<HeapId> DaemonLeases::open_heap() {
  auto message = request<v1::OpenHeapRequest>();
  v1::OpenHeapResponse response;
  HeapId id = kNoHeap;
  const Status status =
      call(&v1::Heaps::Stub::OpenHeap, message, response, Patience::kThread, 0, [&] {
        id = {static_cast<std::uint16_t>(response.heap_id())};
        account_.add_heap(id);
      });
  if (!status.ok()) return status;
  return id;
}

Status DaemonLeases::lease(HeapId heap, const RunShape& run, std::uint32_t count,
                           std::uint32_t wait_ms, Patience patience, std::vector<SlabIndex>& runs) {
  auto message = request<v1::LeaseSlabsRequest>();
  message.set_heap_id(heap.value);
  message.set_size_class(run.cls.value);
  message.set_count(count);
  if (run.kind == SlabKind::kSpan) message.set_span_units(run.units);
  message.set_wait_ms(wait_ms);
  v1::LeaseSlabsResponse response;
  bool sound = true;
  Status status = call(&v1::Heaps::Stub::LeaseSlabs, message, response, patience, wait_ms, [&] {
    sound = response.slabs_size() != 0;
    for (const std::uint32_t slab : response.slabs()) {
      if (slab >= account_.units() || run.units > account_.units() - slab) {
        sound = false;
        continue;
      }
      account_.add_run({slab});
      runs.push_back({slab});
    }
  });
  if (status.ok() && !sound)
    return {
        Code::kInternal, Error::kInternal,
        "the daemon leased nothing, or what is not in the arena; report this as a bug of arenad"};
  return status;
}

void DaemonLeases::give_back(std::span<const SlabIndex> runs) {
  if (const auto epoch = account_.drop(runs)) {
    auto message = request<v1::ReturnSlabsRequest>();
    message.set_epoch(*epoch);
    for (const SlabIndex run : runs) message.add_slabs(run.value);
    v1::ReturnSlabsResponse response;
    if (client_
            ->call_within(client_->heaps(shard_), &v1::Heaps::Stub::ReturnSlabs, message, response,
                          kLeaseThreadCallMs)
            .ok())
      return;
  }
  // Not made again: the account does not have the runs, so the next resume gives them back.
  account_.want_resume();
}

v1::ResumeRequest DaemonLeases::part(std::uint32_t first, std::uint32_t end) {
  auto message = request<v1::ResumeRequest>();
  message.set_first_unit(first);
  message.set_end_unit(end);
  const LeaseAccount::Part part = account_.part(first, end);
  message.set_epoch(part.epoch);
  for (const SlabIndex run : part.runs) message.add_slabs(run.value);
  for (const HeapId heap : part.heaps) message.add_heaps(heap.value);
  return message;
}

Status DaemonLeases::resume() {
  const std::lock_guard alone(resume_mutex_);
  account_.begin_resume();
  const std::uint32_t units = account_.units();
  for (std::uint32_t first = 0; first < units; first += kUnitsPerResume) {
    const v1::ResumeRequest message = part(first, std::min(units, first + kUnitsPerResume));
    v1::ResumeResponse response;
    Status status =
        client_->call(client_->heaps(shard_), &v1::Heaps::Stub::Resume, message, response);
    // Slabs and heaps that a session has named are its own, unless a detach has taken them over.
    if (undecided() && (response.unknown_size() != 0 || status.reason == Error::kInvalidOption))
      lost_leases_.store(true, std::memory_order_relaxed);
    if (!status.ok()) {
      account_.want_resume();
      return status;
    }
  }
  account_.end_resume();
  return {};
}

Status DaemonLeases::detach(bool give_up_blocks, GivenBack& given) {
  const std::lock_guard alone(resume_mutex_);
  auto message = request<v1::DetachArenaRequest>();
  message.set_epoch(account_.begin_detach());
  message.set_give_up_blocks(give_up_blocks);
  v1::DetachArenaResponse response;
  Status status =
      client_->call(client_->sessions(), &v1::Sessions::Stub::DetachArena, message, response);
  given = {response.blocks_given_back(), response.bytes_given_back()};
  using Detached = LeaseAccount::Detached;
  const bool unanswered = status.reason == Error::kNone && !status.ok();
  if (unanswered) undecided_.store(true, std::memory_order_relaxed);
  account_.end_detach(status.ok()  ? Detached::kYes
                      : unanswered ? Detached::kUnknown
                                   : Detached::kNo);
  return status;
}

Status DaemonLeases::leave() {
  account_.drop_all();
  if (Status s = resume(); !s.ok()) return s;
  GivenBack given;
  if (Status s = detach(true, given); !s.ok()) return s;
  return {Code::kFailedPrecondition, Error::kNotAttached,
          "this session has detached: attach to the arena again"};
}

}  // namespace arenad::client
