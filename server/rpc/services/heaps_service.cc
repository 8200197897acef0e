// The service Heaps: heap ids and leases for peers. The shard that receives a call serves it.
#include "arenad/v1/heaps.grpc.pb.h"
#include "server/rpc/services/services.h"
#include "server/rpc/services/unary_call.h"
#include "server/rpc/services/wire_ids.h"

namespace arenad::server {
namespace {

template <class Request>
LeaseCaller caller_from(const Request& request, ArenaId arena) {
  return {session_from(request.session()), arena, {request.epoch()}};
}

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
        const auto& request = call.request();
        const auto arena = arena_from(request.arena_id());
        if (!arena.ok()) return call.finish(arena.error());
        const auto heap = heap_from(request.heap_id());
        if (!heap.ok()) return call.finish(heap.error());
        const auto size_class = class_from(request.size_class());
        if (!size_class.ok()) return call.finish(size_class.error());
        LeaseArgs args;
        args.session = session_from(request.session());
        args.arena_id = *arena;
        args.epoch = {request.epoch()};
        args.heap_id = *heap;
        args.size_class = *size_class;
        args.count = request.count() == 0 ? 1 : request.count();
        args.span_units = request.span_units();
        args.wait_ms = request.wait_ms();
        call.shard().lease_slabs(args, [&call](Answer<LeasedSlabs> leased) {
          if (!leased.ok()) return call.finish(leased.error());
          add_slabs(*call.response().mutable_slabs(), leased->slabs);
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
        call.response().set_returned(answer->returned);
        add_slabs(*call.response().mutable_refused(), answer->refused);
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
        const auto heaps = heaps_from(request.heaps());
        if (!heaps.ok()) return call.finish(heaps.error());
        ResumeArgs known;
        known.first_unit = request.first_unit();
        if (request.end_unit() != 0) known.end_unit = request.end_unit();
        known.slabs = slabs_from(request.slabs());
        known.heaps = *heaps;
        const auto answer = call.shard().resume(caller_from(request, *arena), known);
        if (!answer.ok()) return call.finish(answer.error());
        call.response().set_taken_back(answer->taken_back);
        add_slabs(*call.response().mutable_unknown(), answer->unknown);
        call.finish();
      }};
};

}  // namespace

std::unique_ptr<RpcService> make_heaps_service() { return std::make_unique<HeapsService>(); }

}  // namespace arenad::server
