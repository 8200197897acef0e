// The service Arenas. The control thread does all of its work.
#include "arenad/v1/arenas.grpc.pb.h"
#include "server/rpc/services/arena_messages.h"
#include "server/rpc/services/services.h"
#include "server/rpc/services/unary_call.h"

namespace arenad::server {

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
        auto args = args_from(call.request());
        if (!args.ok()) return call.finish(args.error());
        control_.create_arena(call.caller(), std::move(*args),
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
              fill(call.response(), *page);
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
