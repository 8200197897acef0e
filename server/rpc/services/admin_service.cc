// The service Admin. The control thread makes every answer but the topology.
#include "allocator/base/tunables.h"
#include "arenad/v1/admin.grpc.pb.h"
#include "server/core/api/clock.h"
#include "server/rpc/services/admin_messages.h"
#include "server/rpc/services/services.h"
#include "server/rpc/services/unary_call.h"
#include "server/rpc/services/wire_ids.h"

namespace arenad::server {
namespace {

class AdminService final : public RpcService {
 public:
  AdminService(ControlApi& control, const TopologyFacts& topology)
      : control_(control), topology_(topology) {}
  grpc::Service& service() override { return service_; }

  void serve(ServeContext& context) override {
    topology_call_.serve(context, 2);
    stats_.serve(context, 2);
    slab_info_.serve(context, 1);
    holders_.serve(context, 1);
    audit_.serve(context, 1);
    get_tunables_.serve(context, 1);
    set_tunables_.serve(context, 1);
    evict_.serve(context, 1);
    trim_.serve(context, 1);
    limit_.serve(context, 1);
  }

 private:
  // Ends the call on this shard with the answer that the control thread gives.
  template <class T, class Call>
  static Done<T> answer_on_shard(Call& call) {
    return on_shard<T>(call.shard(), [&call](Answer<T> answered) {
      if (!answered.ok()) return call.finish(answered.error());
      fill(call.response(), *answered);
      call.finish();
    });
  }

  ControlApi& control_;
  const TopologyFacts& topology_;
  v1::Admin::AsyncService service_;

  UnaryMethod<v1::GetTopologyRequest, v1::Topology> topology_call_{
      [this](auto* ctx, auto* request, auto* writer, auto* queue, void* tag) {
        service_.RequestGetTopology(ctx, request, writer, queue, queue, tag);
      },
      [this](auto& call) {
        auto& out = call.response();
        out.set_version(topology_.version);
        out.set_build_type(topology_.build_type);
        out.set_common_address(topology_.common_address);
        out.set_handoff_path(topology_.handoff_path);
        for (std::uint32_t i = 0; i < topology_.shards.size(); ++i) {
          v1::ShardInfo& shard = *out.add_shards();
          shard.set_index(i);
          shard.set_address(topology_.shards[i].address);
          shard.set_cpu(topology_.shards[i].cpu);
          shard.set_numa_node(topology_.shards[i].numa_node);
        }
        out.set_p0_batch_refill_built(p0_batch_refill_built());
        out.set_uptime_ms((now_ns() - topology_.started_ns) / kNsPerMs);
        call.finish();
      }};

  UnaryMethod<v1::GetStatsRequest, v1::Stats> stats_{
      [this](auto* ctx, auto* request, auto* writer, auto* queue, void* tag) {
        service_.RequestGetStats(ctx, request, writer, queue, queue, tag);
      },
      [this](auto& call) {
        control_.get_stats(call.caller(), call.request().arena(),
                           answer_on_shard<DaemonStats>(call));
      }};

  UnaryMethod<v1::GetSlabInfoRequest, v1::GetSlabInfoResponse> slab_info_{
      [this](auto* ctx, auto* request, auto* writer, auto* queue, void* tag) {
        service_.RequestGetSlabInfo(ctx, request, writer, queue, queue, tag);
      },
      [this](auto& call) {
        control_.slab_info(call.caller(), call.request().arena(),
                           answer_on_shard<std::vector<SlabInfoRow>>(call));
      }};

  UnaryMethod<v1::ListHoldersRequest, v1::ListHoldersResponse> holders_{
      [this](auto* ctx, auto* request, auto* writer, auto* queue, void* tag) {
        service_.RequestListHolders(ctx, request, writer, queue, queue, tag);
      },
      [this](auto& call) {
        control_.list_holders(call.caller(), call.request().arena(), call.request().limit(),
                              answer_on_shard<Holders>(call));
      }};

  UnaryMethod<v1::AuditRequest, v1::AuditReport> audit_{
      [this](auto* ctx, auto* request, auto* writer, auto* queue, void* tag) {
        service_.RequestAudit(ctx, request, writer, queue, queue, tag);
      },
      [this](auto& call) {
        control_.audit(call.caller(), call.request().arena(), answer_on_shard<AuditResult>(call));
      }};

  UnaryMethod<v1::GetTunablesRequest, v1::Tunables> get_tunables_{
      [this](auto* ctx, auto* request, auto* writer, auto* queue, void* tag) {
        service_.RequestGetTunables(ctx, request, writer, queue, queue, tag);
      },
      [this](auto& call) {
        control_.get_tunables(answer_on_shard<std::vector<TunableFacts>>(call));
      }};

  UnaryMethod<v1::SetTunablesRequest, v1::Tunables> set_tunables_{
      [this](auto* ctx, auto* request, auto* writer, auto* queue, void* tag) {
        service_.RequestSetTunables(ctx, request, writer, queue, queue, tag);
      },
      [this](auto& call) {
        const auto& values = call.request().values();
        control_.set_tunables(call.caller(), {values.begin(), values.end()},
                              answer_on_shard<std::vector<TunableFacts>>(call));
      }};

  UnaryMethod<v1::EvictSessionRequest, v1::EvictSessionResponse> evict_{
      [this](auto* ctx, auto* request, auto* writer, auto* queue, void* tag) {
        service_.RequestEvictSession(ctx, request, writer, queue, queue, tag);
      },
      [this](auto& call) {
        control_.evict_session(call.caller(), session_id_from(call.request().session_id()),
                               on_shard<GivenBack>(call.shard(), [&call](Answer<GivenBack> given) {
                                 if (!given.ok()) return call.finish(given.error());
                                 call.response().set_blocks_given_back(given->blocks);
                                 call.response().set_bytes_given_back(given->bytes);
                                 call.finish();
                               }));
      }};

  UnaryMethod<v1::TrimArenasRequest, v1::TrimArenasResponse> trim_{
      [this](auto* ctx, auto* request, auto* writer, auto* queue, void* tag) {
        service_.RequestTrim(ctx, request, writer, queue, queue, tag);
      },
      [this](auto& call) {
        control_.trim(call.caller(), call.request().arena(), answer_on_shard<TrimFacts>(call));
      }};

  UnaryMethod<v1::SetSessionLimitRequest, v1::SetSessionLimitResponse> limit_{
      [this](auto* ctx, auto* request, auto* writer, auto* queue, void* tag) {
        service_.RequestSetSessionLimit(ctx, request, writer, queue, queue, tag);
      },
      [this](auto& call) {
        control_.limit_session(call.caller(), session_id_from(call.request().session_id()),
                               call.request().limit_bytes(),
                               answer_on_shard<SessionLimitFacts>(call));
      }};
};

}  // namespace

std::unique_ptr<RpcService> make_admin_service(ControlApi& control, const TopologyFacts& topology) {
  return std::make_unique<AdminService>(control, topology);
}

}  // namespace arenad::server
