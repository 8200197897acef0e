// The service Arenas. The control thread does all of its work.
#include "arenad/v1/arenas.grpc.pb.h"
#include "server/rpc/services/arena_messages.h"
#include "server/rpc/services/services.h"
#include "server/rpc/services/unary_call.h"

namespace arenad::server {

void fill(v1::Arena& out, const ArenaFacts& facts) {
  out.set_id(facts.id.value);
  out.set_name(facts.name);
  out.set_capacity_bytes(facts.capacity_bytes);
  out.set_holder_only(facts.holder_only);
  out.set_pinned(facts.pinned);
  out.set_locked(facts.locked);
  out.set_zero(facts.zero);
  out.set_scrub(facts.scrub);
  out.set_debug(debug_text(facts.debug));
  out.set_debug_findings(facts.debug_findings);
  v1::ArenaAccess& access = *out.mutable_access();
  access.set_uid(facts.access.uid);
  access.set_gid(facts.access.gid);
  access.set_mode(facts.access.mode);
  out.set_committed_bytes(facts.committed_bytes);
  out.set_held_bytes(facts.held_bytes);
  out.set_held_blocks(facts.held_blocks);
  out.set_sessions(facts.sessions);
  out.set_quarantined(facts.quarantined);
  out.set_quarantine_reason(facts.quarantine_reason);
}

namespace {

class ArenasService final : public RpcService {
 public:
  explicit ArenasService(ControlApi& control) : control_(control) {}
  grpc::Service& service() override { return service_; }

  void serve(ServeContext& context) override {
    create_.serve(context, 2);
    get_.serve(context, 2);
    list_.serve(context, 2);
    delete_.serve(context, 2);
  }

 private:
  ControlApi& control_;
  v1::Arenas::AsyncService service_;

  UnaryMethod<v1::CreateArenaRequest, v1::Arena> create_{
      [this](auto* ctx, auto* request, auto* writer, auto* queue, void* tag) {
        service_.RequestCreateArena(ctx, request, writer, queue, queue, tag);
      },
      [this](auto& call) {
        const auto& request = call.request();
        CreateArenaArgs args;
        args.name = request.name();
        args.capacity_bytes = request.capacity_bytes();
        args.holder_only = request.holder_only();
        args.pinned = request.pinned();
        args.lock = request.lock();
        args.zero = request.zero();
        args.scrub = request.scrub();
        const auto debug = parse_debug(request.debug());
        if (!debug) return call.finish(unknown_debug(request.debug()));
        args.debug = *debug;
        args.has_access = request.has_access();
        if (request.has_access()) {
          const v1::ArenaAccess& access = request.access();
          args.access = {access.uid(), access.gid(), access.mode()};
        }
        control_.create_arena(call.caller(), std::move(args),
                              on_shard<ArenaFacts>(call.shard(), [&call](Answer<ArenaFacts> arena) {
                                if (!arena.ok()) return call.finish(arena.error());
                                fill(call.response(), *arena);
                                call.finish();
                              }));
      }};

  UnaryMethod<v1::GetArenaRequest, v1::Arena> get_{
      [this](auto* ctx, auto* request, auto* writer, auto* queue, void* tag) {
        service_.RequestGetArena(ctx, request, writer, queue, queue, tag);
      },
      [this](auto& call) {
        control_.get_arena(call.caller(), call.request().name(),
                           on_shard<ArenaFacts>(call.shard(), [&call](Answer<ArenaFacts> arena) {
                             if (!arena.ok()) return call.finish(arena.error());
                             fill(call.response(), *arena);
                             call.finish();
                           }));
      }};

  UnaryMethod<v1::ListArenasRequest, v1::ListArenasResponse> list_{
      [this](auto* ctx, auto* request, auto* writer, auto* queue, void* tag) {
        service_.RequestListArenas(ctx, request, writer, queue, queue, tag);
      },
      [this](auto& call) {
        control_.list_arenas(
            call.caller(), call.request().page_size(), call.request().page_token(),
            on_shard<Page<ArenaFacts>>(call.shard(), [&call](Answer<Page<ArenaFacts>> page) {
              if (!page.ok()) return call.finish(page.error());
              for (const ArenaFacts& arena : page->items)
                fill(*call.response().add_arenas(), arena);
              call.response().set_next_page_token(page->next_page_token);
              call.finish();
            }));
      }};

  UnaryMethod<v1::DeleteArenaRequest, v1::DeleteArenaResponse> delete_{
      [this](auto* ctx, auto* request, auto* writer, auto* queue, void* tag) {
        service_.RequestDeleteArena(ctx, request, writer, queue, queue, tag);
      },
      [this](auto& call) {
        control_.delete_arena(call.caller(), call.request().name(), call.request().force(),
                              on_shard<Nothing>(call.shard(), [&call](Answer<Nothing> deleted) {
                                if (!deleted.ok()) return call.finish(deleted.error());
                                call.finish();
                              }));
      }};
};

}  // namespace

std::unique_ptr<RpcService> make_arenas_service(ControlApi& control) {
  return std::make_unique<ArenasService>(control);
}

}  // namespace arenad::server
