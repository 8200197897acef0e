// The service Heaps: heap ids and leases for peers. The shard that receives a call serves it.
#include "arenad/v1/heaps.grpc.pb.h"
#include "server/rpc/services/block_messages.h"
#include "server/rpc/services/services.h"
#include "server/rpc/services/unary_call.h"

namespace arenad::server {
namespace {

std::span<const std::uint32_t> numbers(
    const google::protobuf::RepeatedField<std::uint32_t>& field) {
  return {field.data(), static_cast<std::size_t>(field.size())};
}

class HeapsService final : public RpcService {
 public:
  grpc::Service& service() override { return service_; }

  void serve(ServeContext& context) override {
    lease_.on_undelivered([](auto& call) {
      // The session never heard of these slabs. A failure means that it has ended, and they are
      // taken over anyway.
      (void)call.shard().return_slabs(session_from(call.request().session()),
                                      call.request().arena_id(), numbers(call.response().slabs()));
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
        const auto heap = call.shard().open_heap(session_from(call.request().session()),
                                                 call.request().arena_id());
        if (!heap.ok()) return call.finish(heap.error());
        call.response().set_heap_id(*heap);
        call.finish();
      }};

  UnaryMethod<v1::LeaseSlabsRequest, v1::LeaseSlabsResponse> lease_{
      [this](auto* ctx, auto* request, auto* writer, auto* queue, void* tag) {
        service_.RequestLeaseSlabs(ctx, request, writer, queue, queue, tag);
      },
      [](auto& call) {
        const auto& request = call.request();
        LeaseArgs args;
        args.session = session_from(request.session());
        args.arena_id = request.arena_id();
        args.heap_id = request.heap_id();
        args.size_class = request.size_class();
        args.count = request.count() == 0 ? 1 : request.count();
        args.span_units = request.span_units();
        args.wait_ms = request.wait_ms();
        call.shard().lease_slabs(args, [&call](Answer<LeasedSlabs> leased) {
          if (!leased.ok()) return call.finish(leased.error());
          call.response().mutable_slabs()->Add(leased->slabs.begin(), leased->slabs.end());
          call.finish();
        });
      }};

  UnaryMethod<v1::ReturnSlabsRequest, v1::ReturnSlabsResponse> return_{
      [this](auto* ctx, auto* request, auto* writer, auto* queue, void* tag) {
        service_.RequestReturnSlabs(ctx, request, writer, queue, queue, tag);
      },
      [](auto& call) {
        const auto& request = call.request();
        const auto answer = call.shard().return_slabs(session_from(request.session()),
                                                      request.arena_id(), numbers(request.slabs()));
        if (!answer.ok()) return call.finish(answer.error());
        call.response().set_returned(answer->returned);
        call.response().mutable_refused()->Add(answer->refused.begin(), answer->refused.end());
        call.finish();
      }};

  UnaryMethod<v1::ResumeRequest, v1::ResumeResponse> resume_{
      [this](auto* ctx, auto* request, auto* writer, auto* queue, void* tag) {
        service_.RequestResume(ctx, request, writer, queue, queue, tag);
      },
      [](auto& call) {
        const auto& request = call.request();
        const auto answer = call.shard().resume(session_from(request.session()), request.arena_id(),
                                                numbers(request.slabs()), numbers(request.heaps()));
        if (!answer.ok()) return call.finish(answer.error());
        call.response().set_taken_back(answer->taken_back);
        call.response().mutable_unknown()->Add(answer->unknown.begin(), answer->unknown.end());
        call.finish();
      }};
};

}  // namespace

std::unique_ptr<RpcService> make_heaps_service() { return std::make_unique<HeapsService>(); }

}  // namespace arenad::server
