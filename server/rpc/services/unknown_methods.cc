#include "server/rpc/services/unknown_methods.h"

#include <grpcpp/completion_queue.h>

#include <optional>
#include <string>

#include "server/rpc/connections/connection_limits.h"
#include "server/rpc/loop/event.h"

namespace arenad::server {

class UnknownMethods::Call final : public Event {
 public:
  explicit Call(UnknownMethods& owner) : owner_(owner) {}

  void ask() {
    context_.emplace();
    stream_.emplace(&*context_);
    arrived_ = false;
    auto& queue = owner_.context_->queue;
    owner_.service_.RequestCall(&*context_, &*stream_, &queue, &queue, static_cast<Event*>(this));
  }

  void complete(bool ok) override {
    if (!arrived_) {
      --owner_.asked_;
      if (ok) {
        answer();
        return owner_.ask();
      }
      owner_.ending_ = true;
    } else {
      owner_.context_->limits.answer_taken(charged_);
    }
    owner_.calls_.put_back(*this);  // may destroy this object
  }

 private:
  void answer() {
    arrived_ = true;
    const std::string peer = context_->peer();
    owner_.context_->limits.unknown_call(peer);
    charged_ =
        owner_.context_->limits.answer_leaves([&peer]() -> const std::string& { return peer; });
    stream_->Finish(
        grpc::Status(grpc::StatusCode::UNIMPLEMENTED,
                     "this arenad has no such method: see whether client and daemon have the same "
                     "version"),
        static_cast<Event*>(this));
  }

  UnknownMethods& owner_;
  bool arrived_ = false;
  int charged_ = ConnectionLimits::kNotCharged;
  std::optional<grpc::GenericServerContext> context_;
  std::optional<grpc::GenericServerAsyncReaderWriter> stream_;
};

UnknownMethods::UnknownMethods() : calls_(kAsked) {}
UnknownMethods::~UnknownMethods() = default;

void UnknownMethods::serve(ServeContext& context) {
  context_ = &context;
  ask();
}

void UnknownMethods::ask() {
  for (; !ending_ && asked_ < kAsked; ++asked_)
    calls_.take([this] { return std::make_unique<Call>(*this); }).ask();
}

}  // namespace arenad::server
