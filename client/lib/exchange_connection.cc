#include "client/lib/exchange_connection.h"

#include <utility>

namespace arenad::client {
namespace {

void fill(const v1::ExchangeResponse& wire, ExchangeCall asked, const Attachment& attachment,
          ExchangeReply& reply) {
  reply.id = wire.id();
  reply.call = asked;
  reply.status = {};
  reply.blocks.clear();
  reply.batch = {};
  reply.infos.clear();
  using Result = v1::ExchangeResponse::ResultCase;
  switch (wire.result_case()) {
    case Result::kAllocate:
      reply.status = append(wire.allocate(), reply.blocks);
      if (reply.status.ok()) reply.status = attachment.check(reply.blocks);
      break;
    case Result::kFree: append(wire.free(), wire.free().freed(), 0, reply.batch); break;
    case Result::kAcquire: append(wire.acquire(), wire.acquire().acquired(), 0, reply.batch); break;
    case Result::kShare: append(wire.share(), wire.share().shared(), 0, reply.batch); break;
    case Result::kRelease: append(wire.release(), wire.release().released(), 0, reply.batch); break;
    case Result::kDescribe:
      for (const v1::BlockInfo& info : wire.describe().blocks())
        reply.infos.push_back(from_wire(info));
      break;
    case Result::kError: reply.status = from_wire(wire.error()); break;
    case Result::RESULT_NOT_SET:
      reply.status = {Code::kInternal, Error::kInternal,
                      "an empty answer on the stream; report this as a bug of arenad"};
      break;
  }
  if (!reply.status.ok()) reply.call = ExchangeCall::kNone;
}

}  // namespace

ExchangeConnection::ExchangeConnection(std::shared_ptr<Attachment> attachment,
                                       std::shared_ptr<::grpc::Channel> channel)
    : attachment_(std::move(attachment)), channel_(std::move(channel)) {}

ExchangeConnection::~ExchangeConnection() {
  context_.TryCancel();
  // After the cancel gRPC gives back each operation's tag. The queue may end only after the last.
  while (operations_ > 0 && step(gpr_inf_future(GPR_CLOCK_MONOTONIC))) {}
  queue_.Shutdown();
  void* unused = nullptr;
  bool ok = false;
  while (queue_.Next(&unused, &ok)) {}
}

Status ExchangeConnection::start(std::uint32_t timeout_ms) {
  const auto stub = v1::Blocks::NewStub(channel_);
  stream_ = stub->PrepareAsyncExchange(&context_, &queue_);
  stream_->StartCall(tag(Event::kStarted));
  ++operations_;
  const gpr_timespec deadline = deadline_after(timeout_ms);
  while (!started_ && broken_.ok())
    if (!step(deadline)) return broken_by_timeout("the connection was not made");
  return broken_;
}

v1::ExchangeRequest& ExchangeConnection::blank() {
  next_.Clear();
  return next_;
}

Status ExchangeConnection::send(ExchangeCall call) {
  if (!broken_.ok()) return broken_;
  if (Status s = attachment_->usable(); !s.ok()) return s;
  if (finishing_)
    return {Code::kFailedPrecondition, Error::kNone, "this stream was finished; open another one"};
  next_.set_id(next_id_);
  pending_.push_back({next_id_++, call});
  if (spare_requests_.empty()) spare_requests_.emplace_back();
  outbox_.push_back(std::move(spare_requests_.front()));
  spare_requests_.pop_front();
  outbox_.back().Swap(&next_);
  // The write before may be done already. A caller that only sends finds out here.
  if (writing_) step(gpr_inf_past(GPR_CLOCK_MONOTONIC));
  write_next();
  return broken_;
}

Status ExchangeConnection::await_reply(std::uint32_t timeout_ms) {
  const gpr_timespec deadline = deadline_after(timeout_ms);
  while (replies_.empty()) {
    if (!broken_.ok()) return broken_;
    if (pending_.empty())
      return {Code::kFailedPrecondition, Error::kNone,
              "nothing is in flight on this stream; send a request first"};
    if (!step(deadline))
      return {Code::kDeadlineExceeded, Error::kNone,
              "no answer on the stream for " + std::to_string(timeout_ms) + " ms; receive again"};
  }
  return {};
}

Status ExchangeConnection::await_unanswered_below(std::size_t unanswered,
                                                  std::uint32_t timeout_ms) {
  const gpr_timespec deadline = deadline_after(timeout_ms);
  while (pending_.size() >= unanswered) {
    if (!broken_.ok()) return broken_;
    if (!step(deadline))
      return {Code::kDeadlineExceeded, Error::kNone,
              std::to_string(pending_.size()) + " requests are unanswered for " +
                  std::to_string(timeout_ms) + " ms; send again"};
  }
  return broken_;
}

void ExchangeConnection::take_reply(ExchangeReply& reply) {
  std::swap(reply, replies_.front());
  spare_replies_.push_back(std::move(replies_.front()));
  replies_.pop_front();
}

Status ExchangeConnection::finish(std::uint32_t timeout_ms) {
  finishing_ = true;
  const gpr_timespec deadline = deadline_after(timeout_ms);
  while (!finished_) {
    if (broken_.ok() && outbox_.empty() && !writes_done_ && !failing_) {
      writes_done_ = true;
      stream_->WritesDone(tag(Event::kWritesDone));
      ++operations_;
    }
    replies_.clear();
    if (!step(deadline)) return broken_by_timeout("the daemon did not end it");
  }
  // OK is the orderly end that finish() asks for.
  return from_grpc(grpc_status_);
}

bool ExchangeConnection::step(gpr_timespec deadline) {
  void* which = nullptr;
  bool ok = false;
  if (queue_.AsyncNext(&which, &ok, deadline) != ::grpc::CompletionQueue::GOT_EVENT) return false;
  --operations_;
  on_event(static_cast<Event>(reinterpret_cast<std::uintptr_t>(which)), ok);
  return true;
}

void ExchangeConnection::on_event(Event event, bool ok) {
  switch (event) {
    case Event::kStarted:
      if (!ok) return fail();
      started_ = true;
      return read_next();
    case Event::kWritten:
      writing_ = false;
      spare_requests_.push_back(std::move(outbox_.front()));
      outbox_.pop_front();
      return ok ? write_next() : fail();
    case Event::kRead:
      if (!ok) return fail();
      on_reply();
      return read_next();
    case Event::kWritesDone: return;
    case Event::kFinished:
      finished_ = true;
      broken_ = from_grpc(grpc_status_);
      if (broken_.ok())
        broken_ = {Code::kUnavailable, Error::kNone,
                   "the daemon ended the stream; open another one"};
      return;
  }
}

void ExchangeConnection::write_next() {
  if (writing_ || failing_ || outbox_.empty()) return;
  v1::ExchangeRequest& request = outbox_.front();
  writing_ = true;
  // No buffer hint, although more requests may wait. gRPC 1.51 completes a hinted write only when
  // another write starts, and here the next write starts only when this one is complete.
  attachment_->session->client->count_call();
  stream_->Write(request, tag(Event::kWritten));
  ++operations_;
}

void ExchangeConnection::read_next() {
  if (failing_) return;
  stream_->Read(&incoming_, tag(Event::kRead));
  ++operations_;
}

void ExchangeConnection::on_reply() {
  if (spare_replies_.empty()) spare_replies_.emplace_back();
  replies_.push_back(std::move(spare_replies_.front()));
  spare_replies_.pop_front();
  const bool matches = !pending_.empty() && pending_.front().id == incoming_.id();
  fill(incoming_, matches ? pending_.front().call : ExchangeCall::kNone, *attachment_,
       replies_.back());
  if (matches) {
    pending_.pop_front();
    return;
  }
  replies_.pop_back();
  context_.TryCancel();
  broken_ = {Code::kInternal, Error::kInternal,
             "a reply on the stream that answers no request; report this as a bug of arenad"};
}

void ExchangeConnection::fail() {
  if (failing_) return;
  failing_ = true;
  stream_->Finish(&grpc_status_, tag(Event::kFinished));
  ++operations_;
}

Status ExchangeConnection::broken_by_timeout(const char* what) {
  context_.TryCancel();
  broken_ = {Code::kUnavailable, Error::kNone,
             std::string("the stream timed out: ") + what + " in time; open another one"};
  return broken_;
}

}  // namespace arenad::client
