#include "server/rpc/services/keepalive_stream.h"

#include <grpcpp/impl/codegen/proto_utils.h>

#include <algorithm>
#include <utility>

#include "server/rpc/services/caller.h"
#include "server/rpc/services/status.h"
#include "server/rpc/services/wire_ids.h"

namespace arenad::server {

KeepAliveStream::KeepAliveStream(KeepAliveStreams& owner, std::uint64_t id)
    : owner_(owner), id_(id) {}

void KeepAliveStream::ask() {
  owner_.ask_(&context_, &stream_, &owner_.context_.queue, asked_.tag());
}

void KeepAliveStream::on_asked(bool ok) {
  if (!ok) {  // the server shuts down
    over_ = true;
    return leave_if_over();
  }
  owner_.ask_another();
  reading_ = true;
  stream_.Read(&request_, read_.tag());
}

void KeepAliveStream::on_read(bool ok) {
  reading_ = false;
  if (over_) return leave_if_over();
  if (!ok) return end({});  // the client has ended the stream, or is gone
  reading_ = true;
  if (known_) {
    for (int i = 0; i < std::min<int>(request_.trimmed_size(), kMaxArenaId);
         ++i) {  // more than it can be asked for are noise
      const auto arena = arena_from(request_.trimmed(i).arena_id());
      if (arena.ok())
        owner_.control_.keepalive_trimmed(session_, request_.trimmed(i).round(), *arena);
    }
    return stream_.Read(&request_, read_.tag());
  }
  known_ = true;
  session_ = session_from(request_.session());
  stream_.Read(&request_, read_.tag());
  owner_.context_.shard.count_call();
  asked_open_ = true;
  KeepAliveStreams& owner = owner_;
  const std::uint64_t id = id_;
  owner_.control_.keepalive_opened(
      caller_of(owner_.context_, context_), session_, id_,
      [&owner, id](const SessionEvent& event) {
        owner.post_to(id, [event](KeepAliveStream& stream) { stream.event(event); });
      },
      [&owner, id](Answer<Nothing> answer) {
        owner.post_to(
            id, [answer = std::move(answer)](KeepAliveStream& stream) { stream.opened(answer); });
      });
}

void KeepAliveStream::opened(const Answer<Nothing>& answer) {
  asked_open_ = false;
  if (!answer.ok()) return end(answer.error());
  open_ = true;
  if (ending_) return end(failure_);
  tell_ = true;
  write();
}

void KeepAliveStream::event(const SessionEvent& event) {
  if (event.kind == SessionEvent::Kind::kEnded) {
    open_ = false;
    return end({event.why, "session " + std::to_string(session_.id.value) +
                               " has ended: " + error_advice(event.why)});
  }
  evicted_ = evicted_ || event.kind == SessionEvent::Kind::kEvicted;
  draining_ = draining_ || event.kind == SessionEvent::Kind::kDraining;
  if (event.kind == SessionEvent::Kind::kTrim) trims_.push_back(event);
  if (event.kind == SessionEvent::Kind::kArenaDeleted) deleted_.push_back(event);
  tell_ = true;
  write();
}

void KeepAliveStream::write() {
  if (!tell_ || writing_ || ending_) return;
  tell_ = false;
  writing_ = true;
  v1::KeepAliveEvent event;
  event.set_draining(draining_);
  event.set_evicted(evicted_);
  for (const SessionEvent& trim : std::exchange(trims_, {})) {
    v1::TrimRequest& request = *event.add_trims();
    request.set_round(trim.round);
    request.set_arena_id(trim.arena_id.value);
  }
  for (const SessionEvent& gone : std::exchange(deleted_, {})) {
    v1::DeletedArena& deleted = *event.add_deleted();
    deleted.set_arena_id(gone.arena_id.value);
    deleted.set_name(gone.arena);
  }
  stream_.Write(event, written_.tag());
}

void KeepAliveStream::on_written(bool ok) {
  writing_ = false;
  if (!ok) return end({});
  write();
  finish_if_done();
}

void KeepAliveStream::end(const Failure& why) {
  if (open_) {
    open_ = false;
    owner_.control_.keepalive_lost(session_, id_);
  }
  if (!ending_) failure_ = why;
  ending_ = true;
  finish_if_done();
}

// A read may still be under way. The end of the call completes the read.
void KeepAliveStream::finish_if_done() {
  if (!ending_ || writing_ || asked_open_ || finishing_) return;
  finishing_ = true;
  stream_.Finish(failure_.error == Error::kNone ? grpc::Status::OK : status_from(failure_),
                 finished_.tag());
}

void KeepAliveStream::on_finished(bool) {
  over_ = true;
  leave_if_over();
}

void KeepAliveStream::leave_if_over() {
  const std::uint64_t id = id_;
  if (over_ && !reading_) owner_.streams_.erase(id);
}

// ---- all of a shard's streams

// The control thread knows streams by number, so numbers of different shards differ.
KeepAliveStreams::KeepAliveStreams(ServeContext& context, ControlApi& control, Ask ask)
    : context_(context),
      control_(control),
      ask_(std::move(ask)),
      next_id_(std::uint64_t{context.shard.index().value} << 48 | 1) {
  ask_another();
}

void KeepAliveStreams::ask_another() {
  const std::uint64_t id = next_id_++;
  auto& stream = *streams_.emplace(id, std::make_unique<KeepAliveStream>(*this, id)).first->second;
  stream.ask();
}

void KeepAliveStreams::post_to(std::uint64_t id, std::function<void(KeepAliveStream&)> f) {
  context_.shard.post([this, id, f = std::move(f)] {
    if (const auto found = streams_.find(id); found != streams_.end()) f(*found->second);
  });
}

}  // namespace arenad::server
