#include "server/rpc/services/block_messages.h"

#include "server/rpc/services/status.h"

namespace arenad::server {
namespace {

v1::BlockState state_of(BlockFacts::State state) {
  switch (state) {
    case BlockFacts::State::kFree: return v1::BLOCK_STATE_FREE;
    case BlockFacts::State::kHeld: return v1::BLOCK_STATE_HELD;
    case BlockFacts::State::kReturning: return v1::BLOCK_STATE_RETURNING;
    case BlockFacts::State::kShared: return v1::BLOCK_STATE_SHARED;
    case BlockFacts::State::kStale: return v1::BLOCK_STATE_STALE;
    case BlockFacts::State::kInvalid: break;
  }
  return v1::BLOCK_STATE_INVALID;
}

void add_errors(google::protobuf::RepeatedPtrField<v1::RefError>& out,
                const std::vector<RefFailure>& failures) {
  for (const RefFailure& failure : failures) {
    v1::RefError& error = *out.Add();
    error.set_index(failure.index);
    error.set_ref(failure.ref.value);
    error.set_code(error_code(failure.error));
    error.set_reason(static_cast<v1::Reason>(reason_number(failure.error)));
    error.set_message(failure.message);
  }
}

void fill(v1::BlockEvent& out, const BlockEvent& event) {
  out.set_session(event.session.value);
  out.set_tag(event.tag);
  out.set_time_ns(event.time_ns);
}

}  // namespace

AllocateArgs args_from(const v1::AllocateRequest& request, SessionKey session, ArenaId arena) {
  AllocateArgs args;
  args.session = session;
  args.arena_id = arena;
  args.size_bytes = request.size_bytes();
  args.count = request.count() == 0 ? 1 : request.count();
  args.sizes.assign(request.sizes().begin(), request.sizes().end());
  args.align_bytes = request.align_bytes();
  args.tag = request.tag();
  args.wait_ms = request.wait_ms();
  return args;
}

void fill(v1::AllocateResponse& response, const AllocatedBlocks& blocks) {
  const int count = static_cast<int>(blocks.blocks.size());
  auto& refs = *response.mutable_refs();
  auto& offsets = *response.mutable_offsets();
  refs.Reserve(count);
  offsets.Reserve(count);
  for (const Allocation& block : blocks.blocks) {
    refs.AddAlreadyReserved(block.ref.value);
    offsets.AddAlreadyReserved(block.offset);
  }
  response.mutable_usable_bytes()->Add(blocks.usable_bytes.begin(), blocks.usable_bytes.end());
}

void fill(v1::FreeResponse& response, const PerRefAnswer& answer) {
  response.set_freed(answer.done);
  add_errors(*response.mutable_errors(), answer.errors);
}

void fill(v1::AcquireResponse& response, const PerRefAnswer& answer) {
  response.set_acquired(answer.done);
  add_errors(*response.mutable_errors(), answer.errors);
}

void fill(v1::ShareResponse& response, const PerRefAnswer& answer) {
  response.set_shared(answer.done);
  add_errors(*response.mutable_errors(), answer.errors);
}

void fill(v1::ReleaseResponse& response, const PerRefAnswer& answer) {
  response.set_released(answer.done);
  add_errors(*response.mutable_errors(), answer.errors);
}

void fill(v1::DescribeResponse& response, const std::vector<BlockFacts>& infos,
          UntrustedRefs refs) {
  response.mutable_blocks()->Reserve(static_cast<int>(infos.size()));
  for (std::size_t i = 0; i < infos.size(); ++i) {
    const BlockFacts& info = infos[i];
    v1::BlockInfo& block = *response.add_blocks();
    block.set_ref(refs[i].value);
    block.set_state(state_of(info.state));
    if (info.state == BlockFacts::State::kInvalid) continue;
    block.set_offset_bytes(info.offset_bytes);
    block.set_usable_bytes(info.usable_bytes);
    block.set_stride_bytes(info.stride_bytes);
    block.set_holder(info.holder.session().value);
    block.set_tag(info.holder.tag());
    block.set_heap(info.heap.value);
    block.set_generation(info.generation);
    block.set_size_class(info.cls.value);
    if (!info.track) continue;
    fill(*block.mutable_track()->mutable_allocated(), info.track->allocated);
    fill(*block.mutable_track()->mutable_freed(), info.track->freed);
  }
}

void fill(v1::ExchangeError& error, const Failure& failure) {
  error.set_code(error_code(failure.error));
  error.set_reason(static_cast<v1::Reason>(reason_number(failure.error)));
  error.set_message(failure.message);
}

}  // namespace arenad::server
