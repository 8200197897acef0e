// The service Sessions. The control thread does its work. keepalive_stream.h serves KeepAlive.
#include "arenad/v1/sessions.grpc.pb.h"
#include "server/rpc/services/keepalive_stream.h"
#include "server/rpc/services/services.h"
#include "server/rpc/services/session_messages.h"
#include "server/rpc/services/unary_call.h"
#include "server/rpc/services/wire_ids.h"

namespace arenad::server {
namespace {

class SessionsService final : public RpcService {
 public:
  explicit SessionsService(ControlApi& control) : control_(control) {}
  grpc::Service& service() override { return service_; }

  void serve(ServeContext& context) override {
    open_.on_undelivered([this](auto& call) {  // nobody knows the key, so the session ends at once
      control_.close_session(session_from(call.response().session()), [](Answer<GivenBack>) {});
    });
    open_.serve(context, 4);
    attach_.serve(context, 4);
    detach_.serve(context, 4);
    close_.serve(context, 4);
    list_.serve(context, 1);
    keepalive_.emplace(context, control_, [this](auto* ctx, auto* stream, auto* queue, void* tag) {
      service_.RequestKeepAlive(ctx, stream, queue, queue, tag);
    });
  }

 private:
  ControlApi& control_;
  v1::Sessions::AsyncService service_;

  UnaryMethod<v1::OpenSessionRequest, v1::OpenSessionResponse> open_{
      [this](auto* ctx, auto* request, auto* writer, auto* queue, void* tag) {
        service_.RequestOpenSession(ctx, request, writer, queue, queue, tag);
      },
      [this](auto& call) {
        const std::string& name = call.request().name();
        control_.open_session(
            call.caller(),
            {.name = name.empty() ? "client" : name,
             .limit_bytes = call.request().limit_bytes(),
             .reserve_bytes = call.request().reserve_bytes()},
            on_shard<OpenedSession>(call.shard(), [&call](Answer<OpenedSession> opened) {
              if (!opened.ok()) return call.finish(opened.error());
              fill(call.response(), *opened);
              call.finish();
            }));
      }};

  UnaryMethod<v1::AttachArenaRequest, v1::AttachArenaResponse> attach_{
      [this](auto* ctx, auto* request, auto* writer, auto* queue, void* tag) {
        service_.RequestAttachArena(ctx, request, writer, queue, queue, tag);
      },
      [this](auto& call) {
        const auto& request = call.request();
        // The geometry is valid only inside the control thread's callback, so the callback fills
        // the response. Until the call is posted back, no other thread looks at the response.
        control_.attach_arena(
            session_from(request.session()), request.arena(), mode_from(request),
            [&call](Answer<AttachedArena> attached) {
              if (attached.ok()) fill(call.response(), *attached);
              call.shard().post([&call, failure = attached.ok() ? Failure{} : attached.error()] {
                if (failure.error != Error::kNone) return call.finish(failure);
                call.finish();
              });
            });
      }};

  UnaryMethod<v1::DetachArenaRequest, v1::DetachArenaResponse> detach_{
      [this](auto* ctx, auto* request, auto* writer, auto* queue, void* tag) {
        service_.RequestDetachArena(ctx, request, writer, queue, queue, tag);
      },
      [this](auto& call) {
        const auto& request = call.request();
        const auto arena = arena_from(request.arena_id());
        if (!arena.ok()) return call.finish(arena.error());
        control_.detach_arena(session_from(request.session()), *arena, {request.epoch()},
                              request.give_up_blocks(),
                              on_shard<GivenBack>(call.shard(), [&call](Answer<GivenBack> given) {
                                if (!given.ok()) return call.finish(given.error());
                                call.response().set_blocks_given_back(given->blocks);
                                call.response().set_bytes_given_back(given->bytes);
                                call.finish();
                              }));
      }};

  UnaryMethod<v1::CloseSessionRequest, v1::CloseSessionResponse> close_{
      [this](auto* ctx, auto* request, auto* writer, auto* queue, void* tag) {
        service_.RequestCloseSession(ctx, request, writer, queue, queue, tag);
      },
      [this](auto& call) {
        control_.close_session(session_from(call.request().session()),
                               on_shard<GivenBack>(call.shard(), [&call](Answer<GivenBack> given) {
                                 if (!given.ok()) return call.finish(given.error());
                                 call.response().set_blocks_given_back(given->blocks);
                                 call.response().set_bytes_given_back(given->bytes);
                                 call.finish();
                               }));
      }};

  UnaryMethod<v1::ListSessionsRequest, v1::ListSessionsResponse> list_{
      [this](auto* ctx, auto* request, auto* writer, auto* queue, void* tag) {
        service_.RequestListSessions(ctx, request, writer, queue, queue, tag);
      },
      [this](auto& call) {
        control_.list_sessions(
            call.caller(), call.request().page_size(), call.request().page_token(),
            on_shard<Page<SessionFacts>>(call.shard(), [&call](Answer<Page<SessionFacts>> page) {
              if (!page.ok()) return call.finish(page.error());
              fill(call.response(), *page);
              call.finish();
            }));
      }};

  std::optional<KeepAliveStreams> keepalive_;
};

}  // namespace

std::unique_ptr<RpcService> make_sessions_service(ControlApi& control) {
  return std::make_unique<SessionsService>(control);
}

}  // namespace arenad::server
