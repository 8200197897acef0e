// ExchangeHandler: the server's end of one Exchange stream.
//
// Purpose: reads requests as they come, runs each at once, and answers in the order of the
// requests. A request that waits for memory delays the answers of later requests, but not their
// work.
// Invariants: at most one read and one write are under way. While kMostUnanswered requests are
//   unanswered, or their answers take kMostUnansweredBytes, the handler reads no further: the
//   client must take answers first. When the answers of its user take
//   max_user_unanswered_bytes, it reads only while it has no request unanswered, so each stream
//   goes on. Answers wait for the end of the turn, and all but the last answer of a run are only
//   buffered. So one system call answers all requests that arrived together.
// Threads: the shard's own. Crash: nothing is shared.
#pragma once

#include <google/protobuf/arena.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/async_stream.h>
#include <grpcpp/support/byte_buffer.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "server/core/api/api.h"
#include "server/rpc/loop/event.h"
#include "server/rpc/loop/turn_end.h"
#include "server/rpc/services/call_pool.h"
#include "server/rpc/services/rpc_service.h"
#include "server/rpc/services/unanswered_of_user.h"

namespace arenad::v1 {
class ExchangeRequest;
class ExchangeResponse;
}  // namespace arenad::v1

namespace arenad::server {

class ExchangeHandlers;

class ExchangeHandler final : public TurnEnd::Task {
 public:
  explicit ExchangeHandler(ExchangeHandlers& owner);
  ~ExchangeHandler();
  void ask();

 private:
  static constexpr std::size_t kMostUnanswered = 1024;
  // One answer more may come on top: 16,384 blocks take 0.6 MiB.
  static constexpr std::size_t kMostUnansweredBytes = 4 << 20;
  static constexpr std::size_t kInlineBytes = 4096;

  // The place of one answer in the order of requests.
  struct Slot {
    std::uint64_t id = 0;
    bool ready = false;
    grpc::ByteBuffer bytes;  // the serialised ExchangeResponse
    // Blocks that the answer hands out. They are taken back when the answer cannot be delivered.
    SessionKey session;
    ArenaId arena_id;
    std::vector<Allocation> blocks;
    std::size_t counted_bytes = 0;  // of this answer in unanswered_bytes_
  };

  void on_asked(bool ok);
  void on_read(bool ok);
  void on_written(bool ok);
  void on_finished(bool ok);
  void turn_ends() override { write_next(); }

  void read();
  void serve(const v1::ExchangeRequest& request);
  void answer(std::uint64_t sequence, v1::ExchangeResponse& response);
  void answer_allocate(std::uint64_t sequence, Answer<AllocatedBlocks> answered);
  void write_next();
  void give_up();
  void finish_if_done();
  Slot& slot(std::uint64_t sequence) { return slots_[sequence - first_]; }
  // What the answer takes, or may take.
  void count_bytes(Slot& slot, std::size_t bytes);
  void drop_first();
  bool may_read() const;

  ExchangeHandlers& owner_;
  char first_block_[kInlineBytes];
  google::protobuf::Arena arena_;  // of the request that is served now, and of its answer
  std::optional<grpc::ServerContext> context_;
  std::optional<grpc::ServerAsyncReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer>> stream_;
  grpc::ByteBuffer incoming_;
  std::deque<Slot> slots_;  // unanswered requests; the front has the number first_
  std::uint64_t first_ = 0;
  std::size_t unanswered_bytes_ = 0;  // sum of counted_bytes
  UnansweredOfUser::Share user_;      // of a stream that was asked for
  SessionKey default_session_;
  bool any_request_ = false;  // default_session_ is set
  bool any_written_ = false;
  bool reading_ = false, writing_ = false;
  bool no_more_requests_ = false;  // the client has finished, or is gone
  bool broken_ = false;            // answers no longer reach the client
  bool malformed_ = false;         // the client sent bytes that are no request
  Step<ExchangeHandler, &ExchangeHandler::on_asked> asked_{*this};
  Step<ExchangeHandler, &ExchangeHandler::on_read> read_{*this};
  Step<ExchangeHandler, &ExchangeHandler::on_written> written_{*this};
  Step<ExchangeHandler, &ExchangeHandler::on_finished> finished_{*this};
};

// All Exchange streams of one shard.
class ExchangeHandlers {
 public:
  // The generated service's RequestExchange.
  using Ask = std::function<void(grpc::ServerContext*,
                                 grpc::ServerAsyncReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer>*,
                                 grpc::ServerCompletionQueue*, void* tag)>;
  ExchangeHandlers(ServeContext& context, Ask ask);

 private:
  friend ExchangeHandler;
  static constexpr std::size_t kMostIdleStreams = 16;
  void ask_another();
  // The stream may be gone afterwards.
  void ended(ExchangeHandler& stream) { streams_.put_back(stream); }

  ServeContext& context_;
  const Ask ask_;
  CallPool<ExchangeHandler> streams_{kMostIdleStreams};
};

}  // namespace arenad::server
