#include "server/rpc/services/exchange_handler.h"

#include <grpcpp/impl/codegen/proto_utils.h>
#include <grpcpp/support/proto_buffer_reader.h>
#include <grpcpp/support/proto_buffer_writer.h>

#include "server/rpc/connections/shard_connections.h"
#include "server/rpc/services/block_messages.h"

namespace arenad::server {
namespace {

google::protobuf::ArenaOptions arena_options(char* block, std::size_t bytes) {
  google::protobuf::ArenaOptions options;
  options.initial_block = block;
  options.initial_block_size = bytes;
  return options;
}

// About what a block takes in an answer: its ref and offset on the wire, and an Allocation beside.
constexpr std::size_t kAllocationBytes = 16 + sizeof(Allocation);

template <class Message>
Message& fresh(google::protobuf::Arena& arena) {
  return *google::protobuf::Arena::CreateMessage<Message>(&arena);
}

}  // namespace

ExchangeHandler::ExchangeHandler(ExchangeHandlers& owner)
    : owner_(owner), arena_(arena_options(first_block_, kInlineBytes)) {}

ExchangeHandler::~ExchangeHandler() { owner_.context_.turn_end.remove(*this); }

void ExchangeHandler::ask() {
  context_.emplace();
  stream_.emplace(&*context_);
  any_request_ = any_written_ = no_more_requests_ = broken_ = malformed_ = false;
  owner_.ask_(&*context_, &*stream_, &owner_.context_.queue, asked_.tag());
}

void ExchangeHandler::on_asked(bool ok) {
  if (!ok) return owner_.ended(*this);
  owner_.ask_another();
  const auto process = owner_.context_.connections.of(context_->peer());
  user_ = owner_.context_.unanswered.share(process ? std::optional(process->uid) : std::nullopt);
  read();
}

// ---- requests

void ExchangeHandler::read() {
  reading_ = true;
  stream_->Read(&incoming_, read_.tag());
}

void ExchangeHandler::on_read(bool ok) {
  reading_ = false;
  if (!ok) {
    no_more_requests_ = true;
    return finish_if_done();
  }
  arena_.Reset();
  auto& request = fresh<v1::ExchangeRequest>(arena_);
  grpc::ProtoBufferReader reader(&incoming_);
  if (!reader.status().ok() || !request.ParseFromZeroCopyStream(&reader)) {
    no_more_requests_ = malformed_ = true;
    return finish_if_done();
  }
  owner_.context_.shard.count_call();
  serve(request);
  if (may_read()) read();
}

void ExchangeHandler::serve(const v1::ExchangeRequest& request) {
  const auto session_of = [this](const auto& call) {
    const SessionKey key = call.has_session() ? session_from(call.session()) : default_session_;
    if (!any_request_) default_session_ = key;
    any_request_ = true;
    return key;
  };
  const std::uint64_t sequence = first_ + slots_.size();
  slots_.emplace_back().id = request.id();
  ShardApi& shard = owner_.context_.shard;
  if (request.call_case() == v1::ExchangeRequest::kAllocate) {
    const auto& call = request.allocate();
    const auto arena = arena_from(call.arena_id());
    Slot& place = slots_.back();
    place.session = session_of(call);
    // Counted before it is there: the answers of calls that wait can all come at once.
    count_bytes(place, call.count() * kAllocationBytes);
    if (!arena.ok()) return answer_allocate(sequence, arena.error());
    place.arena_id = *arena;
    return shard.allocate(args_from(call, place.session, *arena),
                          [this, sequence](Answer<AllocatedBlocks> answered) {
                            answer_allocate(sequence, std::move(answered));
                          });
  }

  auto& response = fresh<v1::ExchangeResponse>(arena_);
  switch (request.call_case()) {
    case v1::ExchangeRequest::kFree: {
      const auto& call = request.free();
      const SessionKey session = session_of(call);
      const auto arena = arena_from(call.arena_id());
      const auto answered = arena.ok()
                                ? shard.free(session, *arena, refs_of(call.refs()), scope_of(call))
                                : Answer<PerRefAnswer>(arena.error());
      if (answered.ok())
        fill(*response.mutable_free(), *answered);
      else
        fill(*response.mutable_error(), answered.error());
      break;
    }
    case v1::ExchangeRequest::kAcquire: {
      const auto& call = request.acquire();
      const SessionKey session = session_of(call);
      const auto arena = arena_from(call.arena_id());
      const auto answered = arena.ok()
                                ? shard.acquire(session, *arena, refs_of(call.refs()), call.tag())
                                : Answer<PerRefAnswer>(arena.error());
      if (answered.ok())
        fill(*response.mutable_acquire(), *answered);
      else
        fill(*response.mutable_error(), answered.error());
      break;
    }
    case v1::ExchangeRequest::kShare: {
      const auto& call = request.share();
      const SessionKey session = session_of(call);
      const auto arena = arena_from(call.arena_id());
      const auto answered = arena.ok() ? shard.share(session, *arena, refs_of(call.refs()))
                                       : Answer<PerRefAnswer>(arena.error());
      if (answered.ok())
        fill(*response.mutable_share(), *answered);
      else
        fill(*response.mutable_error(), answered.error());
      break;
    }
    case v1::ExchangeRequest::kRelease: {
      const auto& call = request.release();
      const SessionKey session = session_of(call);
      const auto arena = arena_from(call.arena_id());
      const auto answered = arena.ok() ? shard.release(session, *arena, refs_of(call.refs()))
                                       : Answer<PerRefAnswer>(arena.error());
      if (answered.ok())
        fill(*response.mutable_release(), *answered);
      else
        fill(*response.mutable_error(), answered.error());
      break;
    }
    case v1::ExchangeRequest::kDescribe: {
      const auto& call = request.describe();
      const auto refs = refs_of(call.refs());
      const SessionKey session = session_of(call);
      const auto arena = arena_from(call.arena_id());
      const auto answered = arena.ok() ? shard.describe(session, *arena, refs)
                                       : Answer<std::vector<BlockFacts>>(arena.error());
      if (answered.ok())
        fill(*response.mutable_describe(), *answered, refs);
      else
        fill(*response.mutable_error(), answered.error());
      break;
    }
    default:
      fill(*response.mutable_error(),
           {Error::kInvalidOption, "request " + std::to_string(request.id()) +
                                       " carries no call that this daemon knows: set allocate, "
                                       "free, acquire, share, release or describe"});
  }
  answer(sequence, response);
}

// ---- answers

void ExchangeHandler::answer_allocate(std::uint64_t sequence, Answer<AllocatedBlocks> answered) {
  auto& response = fresh<v1::ExchangeResponse>(arena_);
  if (answered.ok()) {
    fill(*response.mutable_allocate(), *answered);
    slot(sequence).blocks = std::move(answered->blocks);
  } else {
    fill(*response.mutable_error(), answered.error());
  }
  answer(sequence, response);
}

void ExchangeHandler::answer(std::uint64_t sequence, v1::ExchangeResponse& response) {
  Slot& place = slot(sequence);
  response.set_id(place.id);
  bool own_buffer = false;
  // This fails only above 2 GiB. No answer is that long.
  (void)grpc::SerializationTraits<v1::ExchangeResponse>::Serialize(response, &place.bytes,
                                                                   &own_buffer);
  place.ready = true;
  count_bytes(place, place.bytes.Length() + place.blocks.size() * sizeof(Allocation));
  if (broken_) {
    give_up();
    finish_if_done();
  } else if (!writing_) {
    owner_.context_.turn_end.add(*this);
  }
}

void ExchangeHandler::write_next() {
  if (writing_ || broken_ || slots_.empty() || !slots_.front().ready) return;
  grpc::WriteOptions options;
  // The next answer follows at once and takes this one along. The first write of a stream is never
  // buffered: it carries the initial metadata, and gRPC 1.51 completes such a buffered write only
  // when it is sent, which nothing would then ask for.
  if (any_written_ && slots_.size() > 1 && slots_[1].ready) options.set_buffer_hint();
  any_written_ = writing_ = true;
  stream_->Write(slots_.front().bytes, options, written_.tag());
}

void ExchangeHandler::on_written(bool ok) {
  writing_ = false;
  if (!ok) {
    broken_ = true;
    give_up();
    return finish_if_done();
  }
  drop_first();
  write_next();
  if (!reading_ && !no_more_requests_ && may_read()) read();  // reading had stopped at a limit
  finish_if_done();
}

// The client will never get these answers, so the blocks that they hand out are freed. A failure
// means that the holder is gone, too.
void ExchangeHandler::give_up() {
  std::vector<std::uint64_t> refs;
  while (!slots_.empty() && slots_.front().ready) {
    const Slot& place = slots_.front();
    refs.clear();
    for (const Allocation& block : place.blocks) refs.push_back(block.ref.value);
    if (!refs.empty())
      (void)owner_.context_.shard.free(place.session, place.arena_id, refs, FreeScope::kOwn);
    drop_first();
  }
}

void ExchangeHandler::count_bytes(Slot& slot, std::size_t bytes) {
  unanswered_bytes_ += bytes - slot.counted_bytes;
  *user_ += bytes - slot.counted_bytes;
  slot.counted_bytes = bytes;
}

bool ExchangeHandler::may_read() const {
  return slots_.size() < kMostUnanswered && unanswered_bytes_ < kMostUnansweredBytes &&
         (slots_.empty() || *user_ < owner_.context_.unanswered.most_bytes());
}

void ExchangeHandler::drop_first() {
  count_bytes(slots_.front(), 0);
  slots_.pop_front();
  ++first_;
}

void ExchangeHandler::finish_if_done() {
  if (!(no_more_requests_ || broken_) || reading_ || writing_ || !slots_.empty()) return;
  stream_->Finish(malformed_ ? grpc::Status(grpc::StatusCode::INVALID_ARGUMENT,
                                            "what was sent is not an arenad.v1.ExchangeRequest: "
                                            "see proto/arenad/v1/blocks.proto")
                             : grpc::Status::OK,
                  finished_.tag());
}

void ExchangeHandler::on_finished(bool) {
  user_.reset();
  owner_.ended(*this);
}

// ---- all of a shard's streams

ExchangeHandlers::ExchangeHandlers(ServeContext& context, Ask ask)
    : context_(context), ask_(std::move(ask)) {
  ask_another();
}

void ExchangeHandlers::ask_another() {
  streams_.take([this] { return std::make_unique<ExchangeHandler>(*this); }).ask();
}

}  // namespace arenad::server
