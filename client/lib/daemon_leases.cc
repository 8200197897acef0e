#include "client/lib/daemon_leases.h"

#include <utility>

namespace arenad::client {
namespace {

// The lease thread does not wait longer for a daemon that does not answer: it has other work.
constexpr std::uint32_t kLeaseThreadCallMs = 2'000;

}  // namespace

DaemonLeases::DaemonLeases(std::shared_ptr<ClientState> client, v1::SessionKey key,
                           DaemonGate& gate, ArenaId arena, ShardId shard, std::uint32_t units)
    : client_(std::move(client)),
      key_(std::move(key)),
      gate_(gate),
      arena_(arena),
      shard_(shard),
      leased_(units) {}

template <class Request>
Request DaemonLeases::request() const {
  Request filled;
  *filled.mutable_session() = key_;
  filled.set_arena_id(arena_.value);
  return filled;
}

template <class Request, class Response, class Account>
Status DaemonLeases::call(::grpc::Status (v1::Heaps::Stub::*method)(::grpc::ClientContext*,
                                                                    const Request&, Response*),
                          const Request& request, Response& response, Patience patience,
                          std::uint32_t extra_ms, Account account) {
  const bool is_lease_thread = patience == Patience::kLeaseThread;
  const auto now = DaemonGate::Clock::now();
  const auto deadline =
      is_lease_thread
          ? now
          : now + std::chrono::milliseconds(std::uint64_t{client_->call_timeout_ms()} + extra_ms);
  for (;;) {
    if (Status s = gate_.enter(deadline); !s.ok()) return s;
    response.Clear();
    Status status = client_->call_within(
        client_->heaps(shard_), method, request, response,
        is_lease_thread ? kLeaseThreadCallMs : client_->call_timeout_ms() + extra_ms);
    if (status.ok()) account();
    // Not the daemon's own refusal: it may have leased slabs, and the answer got lost.
    const bool unanswered = !status.ok() && status.reason == Error::kNone;
    if (unanswered) unanswered_.store(true, std::memory_order_relaxed);
    gate_.leave();
    if (!unanswered || status.code != Code::kUnavailable || DaemonGate::Clock::now() >= deadline)
      return status;
    // The connection broke. The session finds out, reconnects and resumes.
    gate_.pause(deadline);
  }
}

Answer<HeapId> DaemonLeases::open_heap() {
  v1::OpenHeapResponse response;
  HeapId id = kNoHeap;
  const Status status = call(&v1::Heaps::Stub::OpenHeap, request<v1::OpenHeapRequest>(), response,
                             Patience::kThread, 0, [&] {
                               id = {static_cast<std::uint16_t>(response.heap_id())};
                               const std::lock_guard lock(mutex_);
                               heaps_.push_back(id);
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
    const std::lock_guard lock(mutex_);
    sound = response.slabs_size() != 0;
    for (const std::uint32_t slab : response.slabs()) {
      if (slab >= leased_.size() || run.units > leased_.size() - slab) {
        sound = false;
        continue;
      }
      leased_[slab] = true;
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
  auto message = request<v1::ReturnSlabsRequest>();
  {
    const std::lock_guard lock(mutex_);
    for (const SlabIndex run : runs) {
      leased_[run.value] = false;
      message.add_slabs(run.value);
    }
  }
  v1::ReturnSlabsResponse response;
  // When this call fails it is not made again: the account does not have the runs any more, so the
  // daemon takes them back at the next resume.
  const Status status =
      call(&v1::Heaps::Stub::ReturnSlabs, message, response, Patience::kLeaseThread, 0, [] {});
  if (!status.ok())
    unanswered_.store(true, std::memory_order_relaxed);  // a resume on its way may name the runs
}

Status DaemonLeases::resume() {
  unanswered_.store(false, std::memory_order_relaxed);
  auto message = request<v1::ResumeRequest>();
  {
    const std::lock_guard lock(mutex_);
    for (std::uint32_t unit = 0; unit < leased_.size(); ++unit)
      if (leased_[unit]) message.add_slabs(unit);
    for (const HeapId heap : heaps_) message.add_heaps(heap.value);
  }
  v1::ResumeResponse response;
  Status status =
      client_->call(client_->heaps(shard_), &v1::Heaps::Stub::Resume, message, response);
  if (!status.ok()) unanswered_.store(true, std::memory_order_relaxed);
  return status;
}

}  // namespace arenad::client
