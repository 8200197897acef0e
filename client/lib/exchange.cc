#include "arenad/exchange.h"

#include <algorithm>
#include <utility>

#include "client/lib/exchange_connection.h"

namespace arenad::client {

class Exchange::Impl {
 public:
  Impl(const ArenaHandle& arena, std::shared_ptr<::grpc::Channel> channel, std::uint32_t most)
      : stream(arena.attachment_, std::move(channel)), max_in_flight(std::max(most, 1u)) {}

  std::uint32_t timeout_ms() const {
    return stream.attachment().session->client->call_timeout_ms();
  }

  // Waits for room for one more request, and gives an empty one. Only the first request carries the
  // session's key: the daemon keeps it for the stream.
  template <class Request>
  Status prepare(Request* (v1::ExchangeRequest::*member)(), Request*& request,
                 std::uint32_t extra_ms = 0) {
    if (Status s = stream.await_unanswered_below(max_in_flight, timeout_ms() + extra_ms); !s.ok())
      return s;
    request = (stream.blank().*member)();
    if (next_id == 1) *request->mutable_session() = stream.attachment().session->key;
    request->set_arena_id(stream.attachment().arena.id.value);
    return {};
  }

  Answer<std::uint64_t> send(ExchangeCall call) {
    if (Status s = stream.send(call); !s.ok()) return s;
    return next_id++;
  }

  ExchangeConnection stream;
  const std::size_t max_in_flight;
  std::uint64_t next_id = 1;
};

Exchange::Exchange() = default;
Exchange::Exchange(Exchange&&) noexcept = default;
Exchange& Exchange::operator=(Exchange&&) noexcept = default;
Exchange::~Exchange() {
  if (forked()) (void)impl_.release();  // its stream is the parent's
}

Answer<Exchange> Exchange::open(const ArenaHandle& arena, const ExchangeOptions& options) {
  if (!arena.attachment_) return not_attached();
  if (Status s = arena.attachment_->usable(); !s.ok()) return s;
  ClientState& client = *arena.attachment_->session->client;
  Exchange exchange;
  exchange.impl_ = std::make_unique<Impl>(
      arena,
      options.own_connection ? client.new_channel(arena.shard_) : client.channel(arena.shard_),
      options.max_in_flight);
  if (Status s = exchange.impl_->stream.start(client.call_timeout_ms()); !s.ok()) return s;
  return exchange;
}

Answer<std::uint64_t> Exchange::allocate(std::uint64_t size_bytes, std::uint32_t count,
                                         const AllocateOptions& options) {
  if (!impl_) return not_attached();
  if (count == 0) return bad_count();
  v1::AllocateRequest* request = nullptr;
  if (Status s = impl_->prepare(&v1::ExchangeRequest::mutable_allocate, request); !s.ok()) return s;
  request->set_size_bytes(size_bytes);
  request->set_count(count);
  to_wire(options, *request);
  return impl_->send(ExchangeCall::kAllocate);
}

Answer<std::uint64_t> Exchange::allocate_sizes(std::span<const std::uint64_t> sizes_bytes,
                                               const AllocateOptions& options) {
  if (!impl_) return not_attached();
  if (sizes_bytes.empty()) return bad_count();
  v1::AllocateRequest* request = nullptr;
  if (Status s = impl_->prepare(&v1::ExchangeRequest::mutable_allocate, request); !s.ok()) return s;
  request->mutable_sizes()->Add(sizes_bytes.begin(), sizes_bytes.end());
  to_wire(options, *request);
  return impl_->send(ExchangeCall::kAllocate);
}

Answer<std::uint64_t> Exchange::free(std::span<const Ref> refs) {
  if (!impl_) return not_attached();
  v1::FreeRequest* request = nullptr;
  if (Status s = impl_->prepare(&v1::ExchangeRequest::mutable_free, request); !s.ok()) return s;
  set_refs(refs, *request);
  return impl_->send(ExchangeCall::kFree);
}

Answer<std::uint64_t> Exchange::acquire(std::span<const Ref> refs, std::uint32_t tag) {
  if (!impl_) return not_attached();
  v1::AcquireRequest* request = nullptr;
  if (Status s = impl_->prepare(&v1::ExchangeRequest::mutable_acquire, request); !s.ok()) return s;
  set_refs(refs, *request);
  request->set_tag(tag);
  return impl_->send(ExchangeCall::kAcquire);
}

Answer<std::uint64_t> Exchange::share(std::span<const Ref> refs) {
  if (!impl_) return not_attached();
  v1::ShareRequest* request = nullptr;
  if (Status s = impl_->prepare(&v1::ExchangeRequest::mutable_share, request); !s.ok()) return s;
  set_refs(refs, *request);
  return impl_->send(ExchangeCall::kShare);
}

Answer<std::uint64_t> Exchange::release(std::span<const Ref> refs) {
  if (!impl_) return not_attached();
  v1::ReleaseRequest* request = nullptr;
  if (Status s = impl_->prepare(&v1::ExchangeRequest::mutable_release, request); !s.ok()) return s;
  set_refs(refs, *request);
  return impl_->send(ExchangeCall::kRelease);
}

Answer<std::uint64_t> Exchange::describe(std::span<const Ref> refs) {
  if (!impl_) return not_attached();
  v1::DescribeRequest* request = nullptr;
  if (Status s = impl_->prepare(&v1::ExchangeRequest::mutable_describe, request); !s.ok()) return s;
  set_refs(refs, *request);
  return impl_->send(ExchangeCall::kDescribe);
}

Status Exchange::receive(ExchangeReply& reply, std::uint32_t timeout_ms) {
  if (!impl_) return not_attached();
  if (Status s = impl_->stream.await_reply(timeout_ms); !s.ok()) return s;
  impl_->stream.take_reply(reply);
  return {};
}

std::size_t Exchange::unreceived() const { return impl_ ? impl_->stream.unreceived() : 0; }

namespace {

Status nothing_may_be_unreceived(std::size_t unreceived) {
  if (unreceived == 0) return {};
  return {Code::kFailedPrecondition, Error::kNone,
          std::to_string(unreceived) +
              " replies are not received yet; receive them first, or open another stream"};
}

}  // namespace

Status Exchange::allocate_batched(std::uint64_t size_bytes, std::size_t count,
                                  std::vector<AllocatedBlock>& blocks,
                                  const AllocateOptions& options) {
  if (!impl_) return not_attached();
  if (Status s = nothing_may_be_unreceived(unreceived()); !s.ok()) return s;
  blocks.reserve(blocks.size() + count);
  Status first_failure;
  ExchangeReply reply;
  for (std::size_t sent = 0; (sent < count && first_failure.ok()) || unreceived() > 0;) {
    if (sent < count && first_failure.ok() && unreceived() < impl_->max_in_flight) {
      const std::size_t now = std::min(kBatchBlocks, count - sent);
      const auto id = allocate(size_bytes, static_cast<std::uint32_t>(now), options);
      if (!id) return id.error();
      sent += now;
      continue;
    }
    if (Status s = receive(reply, impl_->timeout_ms() + options.wait_ms); !s.ok()) return s;
    if (!reply.status.ok() && first_failure.ok()) first_failure = reply.status;
    blocks.insert(blocks.end(), reply.blocks.begin(), reply.blocks.end());
  }
  return first_failure;
}

Answer<BatchAnswer> Exchange::free_batched(std::span<const Ref> refs) {
  if (!impl_) return not_attached();
  if (Status s = nothing_may_be_unreceived(unreceived()); !s.ok()) return s;
  BatchAnswer answer;
  Status first_failure;
  ExchangeReply reply;
  // Replies come in order. So this is the index of the first ref of the next reply.
  std::uint32_t answered = 0;
  for (std::size_t sent = 0; (sent < refs.size() && first_failure.ok()) || unreceived() > 0;) {
    if (sent < refs.size() && first_failure.ok() && unreceived() < impl_->max_in_flight) {
      const auto part = refs.subspan(sent, std::min(kBatchBlocks, refs.size() - sent));
      const auto id = free(part);
      if (!id) return id.error();
      sent += part.size();
      continue;
    }
    if (Status s = receive(reply, impl_->timeout_ms()); !s.ok()) return s;
    if (!reply.status.ok() && first_failure.ok()) first_failure = reply.status;
    answer.done += reply.batch.done;
    for (RefError& error : reply.batch.errors) {
      error.index += answered;
      answer.errors.push_back(std::move(error));
    }
    answered += kBatchBlocks;
  }
  if (!first_failure.ok()) return first_failure;
  return answer;
}

Status Exchange::finish() {
  if (!impl_) return not_attached();
  return impl_->stream.finish(impl_->timeout_ms());
}

}  // namespace arenad::client
