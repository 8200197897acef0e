#include "client/lib/daemon_blocks.h"

#include <algorithm>

#include "client/lib/attachment.h"

namespace arenad::client {
namespace {

template <class Request, class Response>
using Method = ::grpc::Status (v1::Blocks::Stub::*)(::grpc::ClientContext*, const Request&,
                                                    Response*);

// Sends `refs` in requests of at most kMaxBlocksPerCall. `complete` fills in the rest of a request;
// `take` gets each response and the index of its first ref.
template <class Request, class Response, class Complete, class Take>
Status for_each_request(const Attachment& attachment, ShardId shard,
                        Method<Request, Response> method, std::span<const Ref> refs,
                        Complete complete, Take take) {
  const Attachment::Call call(attachment);
  if (!call.admitted().ok()) return call.admitted();
  ClientState& client = *attachment.session->client;
  for (std::size_t first = 0; first < refs.size(); first += kMaxBlocksPerCall) {
    auto request = attachment.request<Request>();
    set_refs(refs.subspan(first, std::min<std::size_t>(kMaxBlocksPerCall, refs.size() - first)),
             request);
    complete(request);
    Response response;
    if (Status s = client.call(client.blocks(shard), method, request, response); !s.ok()) return s;
    take(response, static_cast<std::uint32_t>(first));
  }
  return {};
}

// The same for calls that answer with a count and the bad refs. `done` reads the count.
template <class Request, class Response, class Complete, class Done>
Answer<BatchAnswer> batch(const Attachment& attachment, ShardId shard,
                          Method<Request, Response> method, std::span<const Ref> refs,
                          Complete complete, Done done) {
  BatchAnswer answer;
  Status status = for_each_request(attachment, shard, method, refs, complete,
                                   [&](const Response& response, std::uint32_t first) {
                                     append(response, done(response), first, answer);
                                   });
  if (!status.ok()) return status;
  return answer;
}

constexpr auto complete_already = [](const auto&) {};

}  // namespace

Answer<std::vector<AllocatedBlock>> DaemonBlocks::allocate(
    ShardId shard, const v1::AllocateRequest& request) const {
  const Attachment::Call call(attachment_);
  if (!call.admitted().ok()) return call.admitted();
  ClientState& client = *attachment_.session->client;
  v1::AllocateResponse response;
  if (Status s = client.call(client.blocks(shard), &v1::Blocks::Stub::Allocate, request, response,
                             request.wait_ms());
      !s.ok())
    return s;
  std::vector<AllocatedBlock> blocks;
  if (Status s = append(response, blocks); !s.ok()) return s;
  if (Status s = attachment_.check(blocks); !s.ok()) return s;
  return blocks;
}

Answer<std::vector<AllocatedBlock>> DaemonBlocks::allocate_many(ShardId shard,
                                                                std::uint64_t size_bytes,
                                                                std::uint32_t count,
                                                                const AllocateOptions& options) {
  auto request = attachment_.request<v1::AllocateRequest>();
  request.set_size_bytes(size_bytes);
  request.set_count(count);
  to_wire(options, request);
  return allocate(shard, request);
}

Answer<std::vector<AllocatedBlock>> DaemonBlocks::allocate_sizes(
    ShardId shard, std::span<const std::uint64_t> sizes_bytes, const AllocateOptions& options) {
  auto request = attachment_.request<v1::AllocateRequest>();
  request.mutable_sizes()->Add(sizes_bytes.begin(), sizes_bytes.end());
  to_wire(options, request);
  return allocate(shard, request);
}

Status DaemonBlocks::free_one(ShardId shard, Ref ref) {
  const auto answer = free(shard, std::span(&ref, 1));
  if (!answer) return answer.error();
  return answer->all() ? Status{} : answer->errors.front().status;
}

Answer<BatchAnswer> DaemonBlocks::free(ShardId shard, std::span<const Ref> refs) {
  return batch(attachment_, shard, &v1::Blocks::Stub::Free, refs, complete_already,
               [](const v1::FreeResponse& response) { return response.freed(); });
}

Answer<BatchAnswer> DaemonBlocks::free_if_held(ShardId shard, std::span<const Ref> refs) {
  return batch(
      attachment_, shard, &v1::Blocks::Stub::Free, refs,
      [](v1::FreeRequest& request) { request.set_only_held(true); },
      [](const v1::FreeResponse& response) { return response.freed(); });
}

Answer<BatchAnswer> DaemonBlocks::acquire(ShardId shard, std::span<const Ref> refs,
                                          std::uint32_t tag) {
  return batch(
      attachment_, shard, &v1::Blocks::Stub::Acquire, refs,
      [tag](v1::AcquireRequest& request) { request.set_tag(tag); },
      [](const v1::AcquireResponse& response) { return response.acquired(); });
}

Answer<BatchAnswer> DaemonBlocks::share(ShardId shard, std::span<const Ref> refs) {
  return batch(attachment_, shard, &v1::Blocks::Stub::Share, refs, complete_already,
               [](const v1::ShareResponse& response) { return response.shared(); });
}

Answer<BatchAnswer> DaemonBlocks::release(ShardId shard, std::span<const Ref> refs) {
  return batch(attachment_, shard, &v1::Blocks::Stub::Release, refs, complete_already,
               [](const v1::ReleaseResponse& response) { return response.released(); });
}

Answer<std::vector<BlockInfo>> DaemonBlocks::describe(ShardId shard, std::span<const Ref> refs) {
  std::vector<BlockInfo> infos;
  Status status =
      for_each_request(attachment_, shard, &v1::Blocks::Stub::Describe, refs, complete_already,
                       [&](const v1::DescribeResponse& response, std::uint32_t) {
                         for (const v1::BlockInfo& info : response.blocks())
                           infos.push_back(from_wire(info));
                       });
  if (!status.ok()) return status;
  return infos;
}

}  // namespace arenad::client
