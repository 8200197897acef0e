#include "client/lib/client_state.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>
#include <unistd.h>

#include <algorithm>
#include <random>

namespace arenad::client {
namespace {

// slab_info of many arenas is larger than gRPC's default of 4 MiB.
constexpr int kMaxAnswerBytes = 64 * 1024 * 1024;
constexpr std::uint32_t kLongestCallMs = 1'000'000'000;  // gRPC's options are ints

std::shared_ptr<::grpc::Channel> make_channel(const std::string& address,
                                              const ConnectOptions& options) {
  ::grpc::ChannelArguments arguments;
  // Without this option gRPC shares one connection among all channels of the process to one
  // address, whichever Client they belong to.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // The daemon is on this host, so look again soon. gRPC's defaults of a second and more suit a
  // network. gRPC's "minimum" is how long one attempt may take. Calls that wait for an attempt fail
  // with it, so it goes on longer than a call.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 20);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS,
                   static_cast<int>(std::min(options.call_timeout_ms, kLongestCallMs) + 2000));
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 250);
  arguments.SetMaxReceiveMessageSize(kMaxAnswerBytes);
  return ::grpc::CreateCustomChannel(address, ::grpc::InsecureChannelCredentials(), arguments);
}

Topology from_wire(const v1::Topology& wire, const Target& target) {
  Topology topology{.version = wire.version(),
                    .common_address = target.grpc_target,
                    .handoff_path = rebase(target, wire.common_address(), wire.handoff_path()),
                    .shards = {},
                    .build_type = wire.build_type(),
                    .p0_batch_refill_built = wire.p0_batch_refill_built(),
                    .uptime_ms = wire.uptime_ms()};
  for (const v1::ShardInfo& shard : wire.shards())
    topology.shards.push_back({ShardId{static_cast<std::uint16_t>(shard.index())},
                               rebase(target, wire.common_address(), shard.address()), shard.cpu(),
                               shard.numa_node()});
  return topology;
}

}  // namespace

gpr_timespec deadline_after(std::uint64_t ms) {
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                      gpr_time_from_millis(static_cast<std::int64_t>(ms), GPR_TIMESPAN));
}

ClientState::ClientState(Target target, const ConnectOptions& options)
    : target_(std::move(target)), options_(options), next_shard_(std::random_device{}()) {}

Status ClientState::connect() {
  const std::shared_ptr<::grpc::Channel> control = make_channel(target_.grpc_target, options_);
  const std::shared_ptr<::grpc::Channel> admin = admin_channel(control);
  const auto& arenas = options_.administrate ? admin : control;
  arenas_ = v1::Arenas::NewStub(arenas);
  sessions_ = v1::Sessions::NewStub(arenas);
  admin_ = v1::Admin::NewStub(admin);
  health_ = ::grpc::health::v1::Health::NewStub(control);

  ::grpc::ClientContext context;
  context.set_wait_for_ready(options_.wait_ready_ms > 0);
  context.set_deadline(deadline_after(options_.wait_ready_ms > 0 ? options_.wait_ready_ms
                                                                 : options_.call_timeout_ms));
  v1::Topology wire;
  count_call();
  Status status = from_grpc(v1::Admin::NewStub(control)->GetTopology(&context, {}, &wire));
  if (!status.ok()) {
    if (status.code != Code::kUnavailable && status.code != Code::kDeadlineExceeded) return status;
    return {
        Code::kUnavailable, status.reason,
        "no daemon answers at " + target_.grpc_target + " (" + status.message +
            "); is arenad running, and is this its socket directory (--socket, ARENAD_SOCKET)?"};
  }
  topology_ = from_wire(wire, target_);
  if (target_.directory.empty()) {
    const auto channel = make_channel(target_.grpc_target, options_);
    shards_.push_back(
        {target_.grpc_target, channel, v1::Blocks::NewStub(channel), v1::Heaps::NewStub(channel)});
  } else {
    for (const Shard& shard : topology_.shards) {
      const auto channel = make_channel(shard.address, options_);  // connects when first used
      shards_.push_back(
          {shard.address, channel, v1::Blocks::NewStub(channel), v1::Heaps::NewStub(channel)});
    }
  }
  if (shards_.empty())
    return {Code::kInternal, Error::kInternal,
            "the daemon names no shards; report this as a bug of arenad"};
  return options_.shard == kAnyShard ? Status{} : choose_shard(options_.shard).error();
}

std::shared_ptr<::grpc::Channel> ClientState::admin_channel(
    const std::shared_ptr<::grpc::Channel>& control) const {
  const std::string path = target_.directory + "/admin.sock";
  if (target_.directory.empty() || ::access(path.c_str(), R_OK | W_OK) != 0) return control;
  return make_channel("unix:" + path, options_);
}

Answer<ShardId> ClientState::choose_shard(ShardId wanted) {
  if (wanted == kAnyShard) wanted = options_.shard;
  if (target_.directory.empty()) {
    if (wanted == kAnyShard) return kAnyShard;
    return Status{Code::kFailedPrecondition, Error::kNone,
                  "shards cannot be chosen over TCP: all calls go to one address. Use the daemon's "
                  "socket directory"};
  }
  const auto count = static_cast<std::uint32_t>(shards_.size());
  // relaxed: the number only spreads attachments.
  if (wanted == kAnyShard)
    return ShardId{
        static_cast<std::uint16_t>(next_shard_.fetch_add(1, std::memory_order_relaxed) % count)};
  if (wanted.value < count) return wanted;
  return Status{Code::kInvalidArgument, Error::kNone,
                "there is no shard " + std::to_string(wanted.value) + "; this daemon has 0.." +
                    std::to_string(count - 1)};
}

std::shared_ptr<::grpc::Channel> ClientState::new_channel(ShardId shard) const {
  return make_channel(shards_[slot(shard)].address, options_);
}

}  // namespace arenad::client
