// ExchangeConnection: the gRPC machinery under Exchange. Private: includes gRPC headers.
//
// Purpose: one bidirectional stream on a completion queue of its own, driven by whoever calls it:
// no thread of its own, so a
//   reply is handed over without a wake-up.
// Invariants: at most one write and one read are with gRPC at a time, and one read always is while
// the stream is good. Requests
//   leave in order, replies arrive in order; pending_ names the requests that have no reply yet.
// Threads: one at a time. Crash: see exchange.h.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/support/async_stream.h>

#include <cstdint>
#include <deque>
#include <memory>

#include "arenad/exchange.h"
#include "client/lib/attachment.h"

namespace arenad::client {

class ExchangeConnection {
 public:
  ExchangeConnection(std::shared_ptr<Attachment> attachment,
                     std::shared_ptr<::grpc::Channel> channel);
  ~ExchangeConnection();

  Status start(std::uint32_t timeout_ms);
  // A request to fill in and pass to send(); its session is set where the protocol wants it.
  v1::ExchangeRequest& blank();
  Status send(ExchangeCall call);  // what blank() gave
  // Works until a reply is there, or fewer than `unanswered` requests have none. Errors: the
  // stream's; DEADLINE_EXCEEDED.
  Status await_reply(std::uint32_t timeout_ms);
  Status await_unanswered_below(std::size_t unanswered, std::uint32_t timeout_ms);
  void take_reply(ExchangeReply& reply);  // after await_reply was ok: swaps
  Status finish(std::uint32_t timeout_ms);

  std::size_t unreceived() const { return pending_.size() + replies_.size(); }
  const Attachment& attachment() const { return *attachment_; }

 private:
  enum class Event : std::uintptr_t { kStarted = 1, kWritten, kRead, kWritesDone, kFinished };
  struct Pending {
    std::uint64_t id;
    ExchangeCall call;
  };
  static void* tag(Event event) { return reinterpret_cast<void*>(event); }

  bool step(gpr_timespec deadline);  // one event; false when the deadline passed first
  void on_event(Event event, bool ok);
  void write_next();
  void read_next();
  void on_reply();
  void fail();  // asks for the stream's status, once
  Status broken_by_timeout(const char* what);

  std::shared_ptr<Attachment> attachment_;
  std::shared_ptr<::grpc::Channel> channel_;  // kept: it may be this stream's own
  ::grpc::ClientContext context_;
  ::grpc::CompletionQueue queue_;
  std::unique_ptr<::grpc::ClientAsyncReaderWriter<v1::ExchangeRequest, v1::ExchangeResponse>>
      stream_;

  std::deque<v1::ExchangeRequest> outbox_;  // front: being written when writing_
  std::deque<v1::ExchangeRequest> spare_requests_;
  v1::ExchangeRequest next_;
  v1::ExchangeResponse incoming_;
  std::deque<Pending> pending_;
  std::deque<ExchangeReply> replies_;
  std::deque<ExchangeReply> spare_replies_;
  std::uint64_t next_id_ = 1;
  int operations_ = 0;  // with gRPC
  bool started_ = false, writing_ = false, failing_ = false, finished_ = false, finishing_ = false,
       writes_done_ = false;
  ::grpc::Status grpc_status_;
  Status broken_;  // not ok once the stream is
};

}  // namespace arenad::client
