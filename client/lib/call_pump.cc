#include "arenad/call_pump.h"

#include <grpcpp/completion_queue.h>
#include <grpcpp/support/async_unary_call.h>

#include <utility>

#include "client/lib/attachment.h"

namespace arenad::client {

class CallPump::Impl {
 public:
  Impl(std::shared_ptr<Attachment> attachment, std::shared_ptr<::grpc::Channel> channel)
      : attachment_(std::move(attachment)),
        channel_(std::move(channel)),
        blocks_(v1::Blocks::NewStub(channel_)) {}

  ~Impl() {
    for (const auto& slot : slots_)
      if (slot->context) slot->context->TryCancel();
    queue_.Shutdown();
    void* which = nullptr;
    bool ok = false;
    while (queue_.Next(&which, &ok)) {}
  }

  void allocate(std::uint64_t tag, std::uint64_t size_bytes, std::uint32_t count,
                const AllocateOptions& options) {
    Slot& slot = take(tag, Call::kAllocate, options.wait_ms);
    // A slot's messages keep their memory from call to call.
    v1::AllocateRequest& request = slot.allocate_request;
    *request.mutable_session() = attachment_->session->key;
    request.set_arena_id(attachment_->arena.id.value);
    request.set_size_bytes(size_bytes);
    request.set_count(count);
    to_wire(options, request);
    slot.allocate_reader = blocks_->PrepareAsyncAllocate(slot.context.get(), request, &queue_);
    slot.allocate_reader->StartCall();
    slot.allocate_reader->Finish(&slot.allocate_response, &slot.status, &slot);
  }

  void free(std::uint64_t tag, std::span<const Ref> refs) {
    Slot& slot = take(tag, Call::kFree, 0);
    v1::FreeRequest& request = slot.free_request;
    *request.mutable_session() = attachment_->session->key;
    request.set_arena_id(attachment_->arena.id.value);
    request.clear_refs();
    set_refs(refs, request);
    slot.free_reader = blocks_->PrepareAsyncFree(slot.context.get(), request, &queue_);
    slot.free_reader->StartCall();
    slot.free_reader->Finish(&slot.free_response, &slot.status, &slot);
  }

  const Completion* next(std::uint32_t timeout_ms) {
    if (in_flight_ == 0) return nullptr;
    void* which = nullptr;
    bool ok = false;
    // In gRPC 1.51 a deadline of now may block for about a millisecond. The infinite past does not.
    const gpr_timespec deadline =
        timeout_ms == 0 ? gpr_inf_past(GPR_CLOCK_MONOTONIC) : deadline_after(timeout_ms);
    if (queue_.AsyncNext(&which, &ok, deadline) != ::grpc::CompletionQueue::GOT_EVENT)
      return nullptr;
    --in_flight_;
    Slot& slot = *static_cast<Slot*>(which);
    completion_.tag = slot.tag;
    completion_.call = slot.call;
    completion_.status = from_grpc(slot.status);
    completion_.blocks.clear();
    completion_.batch.done = 0;
    completion_.batch.errors.clear();
    if (completion_.status.ok() && slot.call == Call::kAllocate) {
      completion_.status = append(slot.allocate_response, completion_.blocks);
      if (completion_.status.ok()) completion_.status = attachment_->check(completion_.blocks);
    } else if (completion_.status.ok()) {
      append(slot.free_response, slot.free_response.freed(), 0, completion_.batch);
    }
    slot.allocate_reader.reset();
    slot.free_reader.reset();
    slot.context.reset();
    idle_.push_back(&slot);
    return &completion_;
  }

  std::size_t in_flight() const { return in_flight_; }

 private:
  struct Slot {
    std::uint64_t tag = 0;
    Call call = Call::kAllocate;
    std::unique_ptr<::grpc::ClientContext> context;  // gRPC wants a new one for each call
    v1::AllocateRequest allocate_request;
    v1::AllocateResponse allocate_response;
    v1::FreeRequest free_request;
    v1::FreeResponse free_response;
    ::grpc::Status status;
    std::unique_ptr<::grpc::ClientAsyncResponseReader<v1::AllocateResponse>> allocate_reader;
    std::unique_ptr<::grpc::ClientAsyncResponseReader<v1::FreeResponse>> free_reader;
  };

  Slot& take(std::uint64_t tag, Call call, std::uint32_t extra_ms) {
    attachment_->session->client->count_call();
    if (idle_.empty()) {
      slots_.push_back(std::make_unique<Slot>());
      idle_.push_back(slots_.back().get());
    }
    Slot& slot = *idle_.back();
    idle_.pop_back();
    ++in_flight_;
    slot.tag = tag;
    slot.call = call;
    slot.context = std::make_unique<::grpc::ClientContext>();
    slot.context->set_deadline(
        deadline_after(std::uint64_t{attachment_->session->client->call_timeout_ms()} + extra_ms));
    return slot;
  }

  std::shared_ptr<Attachment> attachment_;
  std::shared_ptr<::grpc::Channel> channel_;
  std::unique_ptr<v1::Blocks::Stub> blocks_;
  ::grpc::CompletionQueue queue_;
  std::vector<std::unique_ptr<Slot>> slots_;  // one for each call in flight; they are reused
  std::vector<Slot*> idle_;
  std::size_t in_flight_ = 0;
  Completion completion_;
};

CallPump::CallPump() = default;
CallPump::CallPump(CallPump&&) noexcept = default;
CallPump& CallPump::operator=(CallPump&&) noexcept = default;
CallPump::~CallPump() {
  if (forked()) (void)impl_.release();  // its calls are the parent's
}

Answer<CallPump> CallPump::open(const ArenaHandle& arena, const CallPumpOptions& options) {
  if (!arena.attachment_) return not_attached();
  if (Status s = arena.attachment_->usable(); !s.ok()) return s;
  ClientState& client = *arena.attachment_->session->client;
  CallPump pump;
  pump.impl_ = std::make_unique<Impl>(arena.attachment_, options.own_connection
                                                             ? client.new_channel(arena.shard_)
                                                             : client.channel(arena.shard_));
  return pump;
}

void CallPump::allocate(std::uint64_t tag, std::uint64_t size_bytes, std::uint32_t count,
                        const AllocateOptions& options) {
  if (impl_ && !forked()) impl_->allocate(tag, size_bytes, count, options);
}

void CallPump::free(std::uint64_t tag, std::span<const Ref> refs) {
  if (impl_ && !forked()) impl_->free(tag, refs);
}

const CallPump::Completion* CallPump::next(std::uint32_t timeout_ms) {
  return impl_ && !forked() ? impl_->next(timeout_ms) : nullptr;
}

std::size_t CallPump::in_flight() const { return impl_ ? impl_->in_flight() : 0; }

}  // namespace arenad::client
