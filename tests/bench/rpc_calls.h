// Closed loops of gRPC calls for the benchmark: a slot starts its next call when the last one was
// answered.
//
// Purpose: EchoSlot, the bare floor (62 bytes there and back, no protobuf); BlockSlot, Allocate and
//   Free of one block in turn; ExchangeSlots, messages of many blocks on one stream.
// Invariants: a slot has one call in flight until the run is stopped, and none of its blocks held
//   after that.
// Threads: the thread that turns the completion queue, which is one a Loop.
// Crash: the daemon ends the session.
#pragma once

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>

#include "arenad/v1/blocks.grpc.pb.h"
#include "client/load/kernels/context.h"
#include "client/load/kernels/progress.h"

namespace arenad::bench {

// What a call is made with.
struct Target {
  std::shared_ptr<grpc::Channel> channel;
  v1::SessionKey session;
  std::uint32_t arena_id = 0;
};

// One thread's queue and what its slots share.
struct Loop {
  Loop(load::Progress& p, const load::Stop& s) : progress(p), stop(s) {}
  grpc::CompletionQueue queue;
  load::Progress& progress;
  const load::Stop& stop;
  std::uint32_t live = 0;  // slots and streams that have not ended
};

// Where a completion goes.
class Completion {
 public:
  virtual ~Completion() = default;
  virtual void completed(bool ok) = 0;
};

inline void require(const grpc::Status& status, const char* call) {
  if (!status.ok())
    throw std::runtime_error(std::string(call) + " failed: " + status.error_message());
}

class EchoSlot final : public Completion {
 public:
  static constexpr std::size_t kBytes = 62;
  EchoSlot(Loop& loop, const Target& target, std::string method)
      : loop_(loop), stub_(target.channel), method_(std::move(method)) {
    // Field 1, length 60: also a valid message, for an echo that parses it.
    const std::string bytes = std::string("\x0a\x3c", 2) + std::string(kBytes - 2, 'x');
    const grpc::Slice slice(bytes);
    request_ = grpc::ByteBuffer(&slice, 1);
    ++loop_.live;
    start();
  }

  void completed(bool) override {
    require(status_, "Echo");
    if (response_.Length() != kBytes) throw std::runtime_error("the echo is not what was sent");
    loop_.progress.add(1);
    if (loop_.stop.is_requested())
      --loop_.live;
    else
      start();
  }

 private:
  void start() {
    reader_.reset();
    context_.emplace();
    reader_ = stub_.PrepareUnaryCall(&*context_, method_, request_, &loop_.queue);
    reader_->StartCall();
    reader_->Finish(&response_, &status_, static_cast<Completion*>(this));
  }

  Loop& loop_;
  grpc::GenericStub stub_;
  std::string method_;
  grpc::ByteBuffer request_, response_;
  grpc::Status status_;
  std::optional<grpc::ClientContext> context_;
  std::unique_ptr<grpc::GenericClientAsyncResponseReader> reader_;
};

class BlockSlot final : public Completion {
 public:
  BlockSlot(Loop& loop, const Target& target) : loop_(loop), stub_(target.channel) {
    *allocate_.mutable_session() = target.session;
    allocate_.set_arena_id(target.arena_id);
    allocate_.set_size_bytes(load::kBlockBytes);
    allocate_.set_count(1);
    *free_.mutable_session() = target.session;
    free_.set_arena_id(target.arena_id);
    ++loop_.live;
    start();
  }

  void completed(bool) override {
    loop_.progress.add(1);
    if (holding_) {
      require(status_, "Free");
      if (freed_.freed() != 1) throw std::runtime_error("Free did not free the block");
      holding_ = false;
      if (loop_.stop.is_requested()) {
        --loop_.live;
        return;
      }
    } else {
      require(status_, "Allocate");
      free_.clear_refs();
      free_.add_refs(allocated_.refs(0));
      holding_ = true;
    }
    start();
  }

 private:
  void start() {
    allocate_reader_.reset();
    free_reader_.reset();
    context_.emplace();
    void* tag = static_cast<Completion*>(this);
    if (holding_) {
      free_reader_ = stub_.AsyncFree(&*context_, free_, &loop_.queue);
      free_reader_->Finish(&freed_, &status_, tag);
    } else {
      allocate_reader_ = stub_.AsyncAllocate(&*context_, allocate_, &loop_.queue);
      allocate_reader_->Finish(&allocated_, &status_, tag);
    }
  }

  Loop& loop_;
  v1::Blocks::Stub stub_;
  v1::AllocateRequest allocate_;
  v1::AllocateResponse allocated_;
  v1::FreeRequest free_;
  v1::FreeResponse freed_;
  grpc::Status status_;
  std::optional<grpc::ClientContext> context_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<v1::AllocateResponse>> allocate_reader_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<v1::FreeResponse>> free_reader_;
  bool holding_ = false;
};

// `slots` requests in flight on one stream; each answer to an allocation is sent back as a free of
// its blocks.
class ExchangeSlots {
 public:
  ExchangeSlots(Loop& loop, const Target& target, std::uint32_t slots, std::uint32_t blocks)
      : loop_(loop), target_(target), stub_(target.channel), slots_(slots), blocks_(blocks) {
    ++loop_.live;
    stream_ = stub_.AsyncExchange(&context_, &loop_.queue, static_cast<Completion*>(&started_));
  }

 private:
  // One member function as a completion.
  struct Step final : Completion {
    Step(ExchangeSlots& o, void (ExchangeSlots::*s)(bool)) : owner(o), step(s) {}
    void completed(bool ok) override { (owner.*step)(ok); }
    ExchangeSlots& owner;
    void (ExchangeSlots::*step)(bool);
  };

  void on_started(bool ok) {
    if (!ok) return end();  // the status says why
    for (std::uint32_t i = 0; i < slots_; ++i) push_allocate();
    *outbox_.front().mutable_allocate()->mutable_session() =
        target_.session;  // the stream's default from then on
    write();
    read();
  }

  void on_written(bool ok) {
    if (!ok) return;  // the read that fails too ends the stream
    outbox_.pop_front();
    writing_ = false;
    write();
    finish_when_all_is_free();
  }

  void on_read(bool ok) {
    if (!ok) return end();
    --unanswered_;
    switch (response_.result_case()) {
      case v1::ExchangeResponse::kAllocate: push_free(); break;
      case v1::ExchangeResponse::kFree:
        if (response_.free().freed() != blocks_)
          throw std::runtime_error("Exchange did not free all blocks");
        loop_.progress.add(blocks_);
        if (!loop_.stop.is_requested()) push_allocate();
        break;
      default: throw std::runtime_error("Exchange refused: " + response_.error().message());
    }
    write();
    if (unanswered_ > 0)
      read();
    else
      finish_when_all_is_free();
  }

  void on_done(bool) { end(); }
  void on_finished(bool) {
    require(status_, "Exchange");
    if (unanswered_ != 0) throw std::runtime_error("the daemon ended the Exchange stream");
    --loop_.live;
  }

  // Nothing unanswered: the run was stopped. The answer to the last request may overtake the
  // completion of its write, and a stream takes one write at a time.
  void finish_when_all_is_free() {
    if (unanswered_ == 0 && !writing_) stream_->WritesDone(static_cast<Completion*>(&done_));
  }
  void end() { stream_->Finish(&status_, static_cast<Completion*>(&finished_)); }

  v1::ExchangeRequest& push() {
    ++unanswered_;
    v1::ExchangeRequest& request = outbox_.emplace_back();
    request.set_id(++next_id_);
    return request;
  }
  void push_allocate() {
    v1::AllocateRequest& allocate = *push().mutable_allocate();
    allocate.set_arena_id(target_.arena_id);
    allocate.set_size_bytes(load::kBlockBytes);
    allocate.set_count(blocks_);
  }
  void push_free() {
    v1::FreeRequest& free = *push().mutable_free();
    free.set_arena_id(target_.arena_id);
    free.mutable_refs()->Swap(response_.mutable_allocate()->mutable_refs());
  }
  void write() {
    if (writing_ || outbox_.empty()) return;
    writing_ = true;
    stream_->Write(outbox_.front(), static_cast<Completion*>(&written_));
  }
  void read() { stream_->Read(&response_, static_cast<Completion*>(&read_)); }

  Loop& loop_;
  Target target_;
  v1::Blocks::Stub stub_;
  std::uint32_t slots_;
  std::uint32_t blocks_;
  std::uint64_t next_id_ = 0;
  std::uint32_t unanswered_ = 0;
  bool writing_ = false;
  std::deque<v1::ExchangeRequest> outbox_;
  v1::ExchangeResponse response_;
  grpc::Status status_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientAsyncReaderWriter<v1::ExchangeRequest, v1::ExchangeResponse>> stream_;
  Step started_{*this, &ExchangeSlots::on_started};
  Step written_{*this, &ExchangeSlots::on_written};
  Step read_{*this, &ExchangeSlots::on_read};
  Step done_{*this, &ExchangeSlots::on_done};
  Step finished_{*this, &ExchangeSlots::on_finished};
};

}  // namespace arenad::bench
