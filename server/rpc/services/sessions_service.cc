// The service Sessions. The control thread does its work. keepalive_stream.h serves KeepAlive.
#include "arenad/v1/sessions.grpc.pb.h"
#include "server/rpc/services/arena_messages.h"
#include "server/rpc/services/keepalive_stream.h"
#include "server/rpc/services/services.h"
#include "server/rpc/services/unary_call.h"
#include "server/rpc/services/wire_ids.h"

namespace arenad::server {
namespace {

static_assert(static_cast<int>(AttachMode::kRemote) == v1::ATTACH_MODE_REMOTE);
static_assert(static_cast<int>(AttachMode::kReader) == v1::ATTACH_MODE_READER);
static_assert(static_cast<int>(AttachMode::kWriter) == v1::ATTACH_MODE_WRITER);
static_assert(static_cast<int>(AttachMode::kPeer) == v1::ATTACH_MODE_PEER);

void fill(v1::Geometry& out, const Geometry& geometry, int ref_slot_bits) {
  out.set_ref_slot_bits(static_cast<std::uint32_t>(ref_slot_bits));
  out.set_slab_unit_bytes(kSlabUnitBytes);
  out.set_superslab_bytes(kSuperslabBytes);
  out.set_header_bytes(geometry.layout().header_bytes);
  out.set_trailer_bytes(geometry.layout().trailer_bytes);
  for (const ClassId cls : geometry.classes()) {
    out.add_class_usable_bytes(geometry.size_class(cls).usable_bytes);
    out.add_class_stride_bytes(geometry.size_class(cls).stride_bytes);
  }
}

void fill(v1::AttachArenaResponse& out, const AttachedArena& attached) {
  server::fill(*out.mutable_arena(), attached.arena);
  out.set_handoff_token(attached.handoff_token);
  out.set_epoch(attached.epoch.value);
  if (attached.geometry != nullptr)
    fill(*out.mutable_geometry(), *attached.geometry, attached.ref_slot_bits);
}

void fill(v1::SessionInfo& out, const SessionFacts& facts) {
  out.set_id(facts.id.value);
  out.set_name(facts.name);
  out.set_pid(facts.pid);
  out.set_uid(facts.uid);
  out.set_bound(facts.bound);
  out.set_keepalive(facts.keepalive);
  out.set_state(facts.reaping ? "reaping" : "live");
  out.set_age_ms(facts.age_ms);
  out.set_limit_bytes(facts.limit_bytes);
  for (const AttachmentFacts& facts_of : facts.attachments) {
    v1::Attachment& attachment = *out.add_attachments();
    attachment.set_arena(facts_of.arena);
    attachment.set_mode(static_cast<v1::AttachMode>(facts_of.mode));
    attachment.set_held_blocks(facts_of.held_blocks);
    attachment.set_held_bytes(facts_of.held_bytes);
    attachment.set_leased_bytes(facts_of.leased_bytes);
  }
}

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
            call.caller(), name.empty() ? "client" : name, call.request().limit_bytes(),
            on_shard<OpenedSession>(call.shard(), [&call](Answer<OpenedSession> opened) {
              if (!opened.ok()) return call.finish(opened.error());
              auto& response = call.response();
              response.mutable_session()->set_id(opened->key.id.value);
              response.mutable_session()->set_secret(opened->key.secret);
              response.set_handoff_token(opened->handoff_token);
              response.set_handoff_path(opened->handoff_path);
              response.set_keepalive_grace_ms(opened->keepalive_grace_ms);
              call.finish();
            }));
      }};

  UnaryMethod<v1::AttachArenaRequest, v1::AttachArenaResponse> attach_{
      [this](auto* ctx, auto* request, auto* writer, auto* queue, void* tag) {
        service_.RequestAttachArena(ctx, request, writer, queue, queue, tag);
      },
      [this](auto& call) {
        const auto& request = call.request();
        // A number that is no known mode becomes kNone. The control thread refuses it.
        const AttachMode mode = v1::AttachMode_IsValid(request.mode())
                                    ? static_cast<AttachMode>(request.mode())
                                    : AttachMode::kNone;
        // The geometry is valid only inside the control thread's callback, so the callback fills
        // the response. Until the call is posted back, no other thread looks at the response.
        control_.attach_arena(
            session_from(request.session()), request.arena(), mode,
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
              for (const SessionFacts& session : page->items)
                fill(*call.response().add_sessions(), session);
              call.response().set_next_page_token(page->next_page_token);
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
