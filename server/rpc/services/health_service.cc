// Health: the standard health protocol. The shard serves it itself, because gRPC's own service
// brings a thread pool.
#include <grpcpp/support/async_stream.h>

#include <algorithm>
#include <unordered_map>

#include "grpc/health/v1/health.grpc.pb.h"
#include "server/rpc/services/services.h"
#include "server/rpc/services/unary_call.h"

namespace arenad::server {
namespace {

using ::grpc::health::v1::HealthCheckRequest;
using ::grpc::health::v1::HealthCheckResponse;
using AsyncHealth = ::grpc::health::v1::Health::AsyncService;
using Serving = HealthCheckResponse::ServingStatus;

bool known_service(const std::string& name) {
  const auto& names = service_names();
  return name.empty() || std::find(names.begin(), names.end(), name) != names.end();
}

class HealthService;

// One Watch call. It sends the state at once, and again after a change. The state of a daemon
// changes once, when the daemon drains.
class Watch {
 public:
  explicit Watch(HealthService& owner) : owner_(owner) {}
  void ask();
  void look();  // sends the state when it has changed

 private:
  void on_asked(bool ok);
  void on_gone(bool);
  void on_written(bool ok);
  void on_finished(bool ok);
  void end_if_done();

  HealthService& owner_;
  ::grpc::ServerContext context_;
  HealthCheckRequest request_;
  ::grpc::ServerAsyncWriter<HealthCheckResponse> writer_{&context_};
  Serving last_ = HealthCheckResponse::UNKNOWN;
  bool served_ = false, writing_ = false, gone_ = false;
  Step<Watch, &Watch::on_asked> asked_{*this};
  Step<Watch, &Watch::on_gone> gone_step_{*this};
  Step<Watch, &Watch::on_written> written_{*this};
  Step<Watch, &Watch::on_finished> finished_step_{*this};
};

class HealthService final : public RpcService {
 public:
  explicit HealthService(ControlApi& control) : control_(control) {}
  ::grpc::Service& service() override { return service_; }

  void serve(ServeContext& context) override {
    context_ = &context;
    check_.serve(context, 2);
    watch_another();
  }

  void draining() override {
    for (auto& [key, watch] : watches_) watch->look();
  }

  Serving state_of(const std::string& service) const {
    if (!known_service(service)) return HealthCheckResponse::SERVICE_UNKNOWN;
    return control_.draining() ? HealthCheckResponse::NOT_SERVING : HealthCheckResponse::SERVING;
  }

 private:
  friend Watch;
  void watch_another() {
    auto watch = std::make_unique<Watch>(*this);
    Watch* const key = watch.get();
    watches_.emplace(key, std::move(watch));
    key->ask();
  }
  void forget(Watch* watch) { watches_.erase(watch); }

  UnaryMethod<HealthCheckRequest, HealthCheckResponse> check_{
      [this](auto* ctx, auto* request, auto* writer, auto* queue, void* tag) {
        service_.RequestCheck(ctx, request, writer, queue, queue, tag);
      },
      [this](auto& call) {
        const std::string& name = call.request().service();
        const Serving state = state_of(name);
        if (state == HealthCheckResponse::SERVICE_UNKNOWN) {
          return call.finish(::grpc::Status(
              ::grpc::StatusCode::NOT_FOUND,
              "there is no service '" + name + "': server reflection lists all services"));
        }
        call.response().set_status(state);
        call.finish();
      }};

  ControlApi& control_;
  AsyncHealth service_;
  ServeContext* context_ = nullptr;
  std::unordered_map<Watch*, std::unique_ptr<Watch>> watches_;
};

void Watch::ask() {
  HealthService& o = owner_;
  context_.AsyncNotifyWhenDone(gone_step_.tag());
  o.service_.RequestWatch(&context_, &request_, &writer_, &o.context_->queue, &o.context_->queue,
                          asked_.tag());
}

void Watch::on_asked(bool ok) {
  // The server shuts down. gRPC reports no end for a call that never began.
  if (!ok) return owner_.forget(this);
  owner_.watch_another();
  served_ = true;
  look();
}

void Watch::look() {
  if (!served_ || writing_ || gone_) return;
  const Serving state = owner_.state_of(request_.service());
  if (state == last_) return;
  last_ = state;
  HealthCheckResponse response;
  response.set_status(state);
  writing_ = true;
  writer_.Write(response, written_.tag());
}

void Watch::on_written(bool) {
  writing_ = false;
  look();
  end_if_done();
}

void Watch::on_gone(bool) {
  gone_ = true;
  end_if_done();
}

void Watch::end_if_done() {
  if (!gone_ || writing_) return;
  writer_.Finish(::grpc::Status(::grpc::StatusCode::CANCELLED, "the watch was ended"),
                 finished_step_.tag());
}

void Watch::on_finished(bool) { owner_.forget(this); }

}  // namespace

std::unique_ptr<RpcService> make_health_service(ControlApi& control) {
  return std::make_unique<HealthService>(control);
}

}  // namespace arenad::server
