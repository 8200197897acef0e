// UnaryMethod: serves one unary gRPC method on one shard.
//
// Purpose: keeps calls asked for at the completion queue. Hands each call that arrives to the
// handler, sends the handler's answer, and uses the call object again. The messages of a call lie
// in a protobuf arena inside the call object, so a call of ordinary size allocates nothing here.
// Invariants: the handler finishes each call exactly once, at once or later on the shard's thread.
// At least one call is asked for until the server shuts down. A call object may be gone once its
// answer was sent.
// Threads: the shard's own. Crash: nothing is shared.
#pragma once

#include <google/protobuf/arena.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/async_unary_call.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "server/core/api/api.h"
#include "server/rpc/connections/connection_limits.h"
#include "server/rpc/loop/event.h"
#include "server/rpc/services/call_pool.h"
#include "server/rpc/services/caller.h"
#include "server/rpc/services/rpc_service.h"
#include "server/rpc/services/status.h"
#include "server/rpc/services/unanswered_of_user.h"

namespace arenad::server {

template <class Request, class Response>
class UnaryMethod;

template <class Request, class Response>
class UnaryCall final : public Event {
 public:
  using Method = UnaryMethod<Request, Response>;

  const Request& request() const { return *request_; }
  Response& response() { return *response_; }
  ShardApi& shard() const { return method_.shard(); }
  // Who made the connection. Costs a microsecond: for calls without a session.
  Caller caller() const { return caller_of(*method_.context_, *context_); }

  // A large answer may be too much for what its user has left unread. Then kQuotaUser is sent, and
  // the answer is not delivered.
  void finish() {
    const std::size_t bytes = response_->ByteSizeLong();
    if (bytes <= kSmallAnswerBytes) [[likely]]
      return send(grpc::Status::OK);
    const Failure full = count_unanswered(bytes);
    if (full.error == Error::kNone) return send(grpc::Status::OK);
    if (method_.undelivered_) method_.undelivered_(*this);
    send(status_from(full));
  }
  void finish(const Failure& failure) { send(status_from(failure)); }
  void finish(const grpc::Status& status) { send(status); }

 private:
  friend Method;
  enum class State : std::uint8_t { kIdle, kAsked, kServed, kFinishing };
  static constexpr std::size_t kInlineBytes = 4096;
  // Up to here an answer counts as one of its connection's only (connection_limits.h).
  static constexpr std::size_t kSmallAnswerBytes = 4096;

  explicit UnaryCall(Method& method) : method_(method), arena_(arena_options(first_block_)) {}

  static google::protobuf::ArenaOptions arena_options(char* block) {
    google::protobuf::ArenaOptions options;
    options.initial_block = block;
    options.initial_block_size = kInlineBytes;
    return options;
  }

  void ask() {
    arena_.Reset();
    request_ = google::protobuf::Arena::CreateMessage<Request>(&arena_);
    response_ = google::protobuf::Arena::CreateMessage<Response>(&arena_);
    context_.emplace();
    writer_.emplace(&*context_);
    state_ = State::kAsked;
    method_.ask_(&*context_, request_, &*writer_, &method_.queue(), static_cast<Event*>(this));
  }

  Failure count_unanswered(std::size_t bytes) {
    const auto process = method_.context_->connections.of(context_->peer());
    return unanswered_.count(method_.context_->unanswered,
                             process ? std::optional(process->uid) : std::nullopt, bytes);
  }

  void send(const grpc::Status& status) {
    ok_ = status.ok();
    state_ = State::kFinishing;
    charged_ = method_.context_->limits.answer_leaves([this] { return context_->peer(); });
    if (ok_)
      writer_->Finish(*response_, status, static_cast<Event*>(this));
    else
      writer_->FinishWithError(status, static_cast<Event*>(this));
  }

  void complete(bool ok) override {
    if (state_ == State::kAsked) {
      state_ = ok ? State::kServed : State::kIdle;
      method_.arrived(*this, ok);
      return;
    }
    state_ = State::kIdle;
    method_.context_->limits.answer_taken(charged_);
    unanswered_.taken();
    if (!ok && ok_ && method_.undelivered_) method_.undelivered_(*this);
    method_.done(*this);  // destroys this object when enough others are idle
  }

  Method& method_;
  Request* request_ = nullptr;
  Response* response_ = nullptr;
  State state_ = State::kIdle;
  bool ok_ = false;  // whether the call was finished with OK
  int charged_ = ConnectionLimits::kNotCharged;
  UnansweredAnswer unanswered_;
  std::optional<grpc::ServerContext> context_;
  std::optional<grpc::ServerAsyncResponseWriter<Response>> writer_;
  alignas(16) char first_block_[kInlineBytes];
  google::protobuf::Arena arena_;  // declared after its block
};

template <class Request, class Response>
class UnaryMethod {
 public:
  using Call = UnaryCall<Request, Response>;
  using Handler = std::function<void(Call&)>;
  // The generated service's Request<Method>.
  using Ask =
      std::function<void(grpc::ServerContext*, Request*, grpc::ServerAsyncResponseWriter<Response>*,
                         grpc::ServerCompletionQueue*, void* tag)>;

  UnaryMethod(Ask ask, Handler handler) : ask_(std::move(ask)), handler_(std::move(handler)) {}
  UnaryMethod(const UnaryMethod&) = delete;
  UnaryMethod& operator=(const UnaryMethod&) = delete;

  // The handler is called when an answer of OK could not be sent. It must take back what the answer
  // gave to the caller.
  void on_undelivered(Handler handler) { undelivered_ = std::move(handler); }

  // Keeps up to `asked` calls asked for. That many may arrive in one turn without an allocation.
  void serve(ServeContext& context, std::size_t asked) {
    context_ = &context;
    most_asked_ = asked;
    while (asked_ < most_asked_) ask_another();
  }

  ShardApi& shard() const { return context_->shard; }

 private:
  friend Call;
  static constexpr std::size_t kMostIdleCalls = 64;
  grpc::ServerCompletionQueue& queue() const { return context_->queue; }

  void ask_another() {
    Call& call = calls_.take([this] { return std::unique_ptr<Call>(new Call(*this)); });
    ++asked_;
    call.ask();
  }

  void arrived(Call& call, bool ok) {
    --asked_;
    if (!ok) {  // the server shuts down, so ask for no more
      calls_.put_back(call);
      return;
    }
    shard().count_call();
    handler_(call);
    if (asked_ == 0) ask_another();
  }

  void done(Call& call) {
    calls_.put_back(call);
    if (asked_ < most_asked_) ask_another();
  }

  const Ask ask_;
  const Handler handler_;
  Handler undelivered_;
  ServeContext* context_ = nullptr;
  std::size_t most_asked_ = 1;
  std::size_t asked_ = 0;
  CallPool<Call> calls_{kMostIdleCalls};
};

// Runs f on the shard's thread with the answer that the control thread gives.
template <class T, class F>
Done<T> on_shard(ShardApi& shard, F f) {
  return [&shard, f = std::move(f)](Answer<T> answer) {
    shard.post([f, answer = std::move(answer)]() mutable { f(std::move(answer)); });
  };
}

}  // namespace arenad::server
