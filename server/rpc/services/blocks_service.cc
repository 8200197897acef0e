// The unary calls of the service Blocks. exchange_handler.h serves Exchange.
#include "arenad/v1/blocks.grpc.pb.h"
#include "server/rpc/services/block_messages.h"
#include "server/rpc/services/exchange_handler.h"
#include "server/rpc/services/services.h"
#include "server/rpc/services/unary_call.h"

namespace arenad::server {
namespace {

using v1::Blocks;
// Exchange reads and writes bytes, because it parses and serialises messages itself.
using AsyncBlocks = Blocks::WithRawMethod_Exchange<Blocks::WithAsyncMethod_Allocate<
    Blocks::WithAsyncMethod_Free<Blocks::WithAsyncMethod_Acquire<Blocks::WithAsyncMethod_Share<
        Blocks::WithAsyncMethod_Release<Blocks::WithAsyncMethod_Describe<Blocks::Service>>>>>>>;

// Many clients may make hot calls in one turn. Rare calls come one at a time.
constexpr std::size_t kHotCalls = 64;
constexpr std::size_t kRareCalls = 2;

class BlocksService final : public RpcService {
 public:
  grpc::Service& service() override { return service_; }

  void serve(ServeContext& context) override {
    allocate_.on_undelivered([](auto& call) {
      // Nobody will ever hear of these blocks. A failure means that their holder is gone too.
      const auto& request = call.request();
      const auto arena = arena_from(request.arena_id());
      if (!arena.ok()) return;
      (void)call.shard().free(session_from(request.session()), *arena,
                              refs_of(call.response().refs()), FreeScope::kOwn);
    });
    allocate_.serve(context, kHotCalls);
    free_.serve(context, kHotCalls);
    acquire_.serve(context, kRareCalls);
    share_.serve(context, kRareCalls);
    release_.serve(context, kRareCalls);
    describe_.serve(context, kRareCalls);
    exchange_.emplace(context, [this](auto* ctx, auto* stream, auto* queue, void* tag) {
      service_.RequestExchange(ctx, stream, queue, queue, tag);
    });
  }

 private:
  template <class Answered, class Call>
  static void answer(Call& call, const Answered& answered) {
    if (!answered.ok()) return call.finish(answered.error());
    fill(call.response(), *answered);
    call.finish();
  }

  AsyncBlocks service_;

  UnaryMethod<v1::AllocateRequest, v1::AllocateResponse> allocate_{
      [this](auto* ctx, auto* request, auto* writer, auto* queue, void* tag) {
        service_.RequestAllocate(ctx, request, writer, queue, queue, tag);
      },
      [](auto& call) {
        const auto arena = arena_from(call.request().arena_id());
        if (!arena.ok()) return call.finish(arena.error());
        call.shard().allocate(
            args_from(call.request(), session_from(call.request().session()), *arena),
            [&call](Answer<AllocatedBlocks> answered) { answer(call, answered); });
      }};

  UnaryMethod<v1::FreeRequest, v1::FreeResponse> free_{
      [this](auto* ctx, auto* request, auto* writer, auto* queue, void* tag) {
        service_.RequestFree(ctx, request, writer, queue, queue, tag);
      },
      [](auto& call) {
        const auto& request = call.request();
        const auto arena = arena_from(request.arena_id());
        if (!arena.ok()) return call.finish(arena.error());
        answer(call, call.shard().free(session_from(request.session()), *arena,
                                       refs_of(request.refs()), scope_of(request)));
      }};

  UnaryMethod<v1::AcquireRequest, v1::AcquireResponse> acquire_{
      [this](auto* ctx, auto* request, auto* writer, auto* queue, void* tag) {
        service_.RequestAcquire(ctx, request, writer, queue, queue, tag);
      },
      [](auto& call) {
        const auto& request = call.request();
        const auto arena = arena_from(request.arena_id());
        if (!arena.ok()) return call.finish(arena.error());
        answer(call, call.shard().acquire(session_from(request.session()), *arena,
                                          refs_of(request.refs()), request.tag()));
      }};

  UnaryMethod<v1::ShareRequest, v1::ShareResponse> share_{
      [this](auto* ctx, auto* request, auto* writer, auto* queue, void* tag) {
        service_.RequestShare(ctx, request, writer, queue, queue, tag);
      },
      [](auto& call) {
        const auto& request = call.request();
        const auto arena = arena_from(request.arena_id());
        if (!arena.ok()) return call.finish(arena.error());
        answer(call, call.shard().share(session_from(request.session()), *arena,
                                        refs_of(request.refs())));
      }};

  UnaryMethod<v1::ReleaseRequest, v1::ReleaseResponse> release_{
      [this](auto* ctx, auto* request, auto* writer, auto* queue, void* tag) {
        service_.RequestRelease(ctx, request, writer, queue, queue, tag);
      },
      [](auto& call) {
        const auto& request = call.request();
        const auto arena = arena_from(request.arena_id());
        if (!arena.ok()) return call.finish(arena.error());
        answer(call, call.shard().release(session_from(request.session()), *arena,
                                          refs_of(request.refs())));
      }};

  UnaryMethod<v1::DescribeRequest, v1::DescribeResponse> describe_{
      [this](auto* ctx, auto* request, auto* writer, auto* queue, void* tag) {
        service_.RequestDescribe(ctx, request, writer, queue, queue, tag);
      },
      [](auto& call) {
        const auto& request = call.request();
        const auto arena = arena_from(request.arena_id());
        if (!arena.ok()) return call.finish(arena.error());
        const auto refs = refs_of(request.refs());
        const auto infos = call.shard().describe(session_from(request.session()), *arena, refs);
        if (!infos.ok()) return call.finish(infos.error());
        fill(call.response(), *infos, refs);
        call.finish();
      }};

  std::optional<ExchangeHandlers> exchange_;
};

}  // namespace

std::unique_ptr<RpcService> make_blocks_service() { return std::make_unique<BlocksService>(); }

}  // namespace arenad::server
