// The service Heaps: heap ids and leases for peers. The shard that receives a call serves it.
#include "arenad/v1/heaps.grpc.pb.h"
#include "server/rpc/services/heap_messages.h"
#include "server/rpc/services/services.h"
#include "server/rpc/services/unary_call.h"

namespace arenad::server {
namespace {

class HeapsService final : public RpcService {
 public:
  grpc::Service& service() override { return service_; }

  void serve(ServeContext& context) override {
    lease_.on_undelivered([](auto& call) {
      // The session never heard of these slabs. A failure means that it has ended or resumed, and
      // then they were taken over anyway.
      const auto arena = arena_from(call.request().arena_id());
      if (!arena.ok()) return;
      (void)call.shard().return_slabs(caller_from(call.request(), *arena),
                                      slabs_from(call.response().slabs()));
    });
    open_.serve(context, 2);
    lease_.serve(context, 16);
    return_.serve(context, 8);
    resume_.serve(context, 1);
  }

 private:
  v1::Heaps::AsyncService service_;

  UnaryMethod<v1::OpenHeapRequest, v1::OpenHeapResponse> open_{
      [this](auto* ctx, auto* request, auto* writer, auto* queue, void* tag) {
        service_.RequestOpenHeap(ctx, request, writer, queue, queue, tag);
      },
      [](auto& call) {
        const auto arena = arena_from(call.request().arena_id());
        if (!arena.ok()) return call.finish(arena.error());
        const auto heap = call.shard().open_heap(caller_from(call.request(), *arena));
        if (!heap.ok()) return call.finish(heap.error());
        call.response().set_heap_id(heap->value);
        call.finish();
      }};

  UnaryMethod<v1::LeaseSlabsRequest, v1::LeaseSlabsResponse> lease_{
      [this](auto* ctx, auto* request, auto* writer, auto* queue, void* tag) {
        service_.RequestLeaseSlabs(ctx, request, writer, queue, queue, tag);
      },
      [](auto& call) {
        const auto args = args_from(call.request());
        if (!args.ok()) return call.finish(args.error());
        call.shard().lease_slabs(*args, [&call](Answer<LeasedSlabs> leased) {
          if (!leased.ok()) return call.finish(leased.error());
          fill(call.response(), *leased);
          call.finish();
        });
      }};

  UnaryMethod<v1::ReturnSlabsRequest, v1::ReturnSlabsResponse> return_{
      [this](auto* ctx, auto* request, auto* writer, auto* queue, void* tag) {
        service_.RequestReturnSlabs(ctx, request, writer, queue, queue, tag);
      },
      [](auto& call) {
        const auto& request = call.request();
        const auto arena = arena_from(request.arena_id());
        if (!arena.ok()) return call.finish(arena.error());
        const auto answer =
            call.shard().return_slabs(caller_from(request, *arena), slabs_from(request.slabs()));
        if (!answer.ok()) return call.finish(answer.error());
        fill(call.response(), *answer);
        call.finish();
      }};

  UnaryMethod<v1::ResumeRequest, v1::ResumeResponse> resume_{
      [this](auto* ctx, auto* request, auto* writer, auto* queue, void* tag) {
        service_.RequestResume(ctx, request, writer, queue, queue, tag);
      },
      [](auto& call) {
        const auto& request = call.request();
        const auto arena = arena_from(request.arena_id());
        if (!arena.ok()) return call.finish(arena.error());
        const auto known = args_from(request);
        if (!known.ok()) return call.finish(known.error());
        const auto answer = call.shard().resume(caller_from(request, *arena), *known);
        if (!answer.ok()) return call.finish(answer.error());
        fill(call.response(), *answer);
        call.finish();
      }};
};

}  // namespace

std::unique_ptr<RpcService> make_heaps_service() { return std::make_unique<HeapsService>(); }

}  // namespace arenad::server
