// ExchangeConnection: the gRPC machinery of an Exchange. Private: includes gRPC headers.
//
// Purpose: one bidirectional stream on its own completion queue. It has no thread: the caller
//   drives the stream, so a reply needs no wake-up between threads.
// Invariants: gRPC works on at most one write and one read at a time. While the stream is good it
//   always works on a read. Requests leave in order, and replies arrive in order. pending_ names
//   the requests that have no reply yet.
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
  // An empty request. The caller fills it in and calls send().
  v1::ExchangeRequest& blank();
  // Sends the request of the last blank().
  Status send(ExchangeCall call);
  // Drive the stream until a reply has come, or until fewer than `unanswered` requests have no
  // reply. Errors: the stream's; DEADLINE_EXCEEDED.
  Status await_reply(std::uint32_t timeout_ms);
  Status await_unanswered_below(std::size_t unanswered, std::uint32_t timeout_ms);
  // After await_reply was ok: swaps the next reply with `reply`.
  void take_reply(ExchangeReply& reply);
  Status finish(std::uint32_t timeout_ms);

  std::size_t unreceived() const { return pending_.size() + replies_.size(); }
  const Attachment& attachment() const { return *attachment_; }

 private:
  enum class Event : std::uintptr_t { kStarted = 1, kWritten, kRead, kWritesDone, kFinished };
  struct Pending {
    std::uint64_t id;
    ExchangeCall call;
  };
  // gRPC's tags are pointers; this pointer is never followed.
  static void* tag(Event event) {
    return reinterpret_cast<void*>(event);  // NOLINT(performance-no-int-to-ptr)
  }

  // Works on one event. False when the deadline passed first.
  bool step(gpr_timespec deadline);
  void on_event(Event event, bool ok);
  void write_next();
  void read_next();
  void on_reply();
  void fail();  // asks gRPC for the stream's status, once
  Status broken_by_timeout(const char* what);

  std::shared_ptr<Attachment> attachment_;
  std::shared_ptr<::grpc::Channel> channel_;  // kept, as it may be of this stream alone
  ::grpc::ClientContext context_;
  ::grpc::CompletionQueue queue_;
  std::unique_ptr<::grpc::ClientAsyncReaderWriter<v1::ExchangeRequest, v1::ExchangeResponse>>
      stream_;

  std::deque<v1::ExchangeRequest> outbox_;
  std::deque<v1::ExchangeRequest> spare_requests_;
  v1::ExchangeRequest next_;
  v1::ExchangeResponse incoming_;
  std::deque<Pending> pending_;
  std::deque<ExchangeReply> replies_;
  std::deque<ExchangeReply> spare_replies_;
  std::uint64_t next_id_ = 1;
  int operations_ = 0;        // that gRPC works on
  bool started_ = false;      // the connection is made
  bool writing_ = false;      // gRPC works on outbox_.front()
  bool finishing_ = false;    // finish() was called
  bool writes_done_ = false;  // told gRPC that no more requests come
  bool failing_ = false;      // asked gRPC for the status
  bool finished_ = false;     // the status is there
  ::grpc::Status grpc_status_;
  Status broken_;  // not ok once the stream is broken
};

}  // namespace arenad::client
