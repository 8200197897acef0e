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
                           DaemonGate& gate, ArenaId arena, ShardId shard, std::uint32_t units)
    : client_(std::move(client)),
      key_(std::move(key)),
      gate_(gate),
      arena_(arena),
      shard_(shard),
      account_(gate, units) {}

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
    const bool stale = status.reason == Error::kStaleEpoch;
    const bool lost = status.reason == Error::kNone;
    if (lost || stale) account_.want_resume();
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
    if (!status.ok()) {
      account_.want_resume();
      return status;
    }
  }
  account_.end_resume();
  return {};
}

}  // namespace arenad::client
