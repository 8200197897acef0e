#include "server/core/shard/allocate_call.h"

#include <map>

#include "allocator/base/format.h"
#include "server/core/api/text.h"

namespace arenad::server {
namespace {

// What one block of a request costs. Geometry alone decides it, so a free credits what the
// allocation charged.
struct BlockCost {
  std::uint64_t usable_bytes = 0;
  std::uint64_t stride_bytes = 0;
};

Result<BlockCost> cost_of(const Geometry& geometry, std::uint64_t size, std::uint32_t align) {
  const auto cls = geometry.class_of(size, align);
  if (!cls.ok()) return cls.error();
  const RunShape shape = *cls != kSpanClass ? geometry.slab_shape(*cls) : geometry.span_for(size);
  return BlockCost{shape.usable_bytes, shape.stride_bytes};
}

Failure check_sizes(const AllocateArgs& args, const ArenaSlot& slot) {
  const std::uint64_t capacity = slot.arena.capacity_bytes();
  if (args.size_bytes != 0)
    return refuse(Error::kInvalidSize, "size_bytes and sizes are both set, give one of them");
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < args.sizes.size(); ++i) {
    if (args.sizes[i] == 0 || args.sizes[i] > capacity) {
      return refuse(Error::kInvalidSize,
                    fmt::format("sizes[{}] is {} bytes, the capacity of arena '{}' is {} bytes", i,
                                args.sizes[i], slot.name(), capacity));
    }
    sum += args.sizes[i];
  }
  if (sum <= capacity) return {};
  return refuse(Error::kArenaFull, fmt::format("the {} blocks of this call take {} bytes together, "
                                               "the capacity of arena '{}' is {} bytes",
                                               args.sizes.size(), sum, slot.name(), capacity));
}

}  // namespace

Failure AllocateCall::check(const AllocateArgs& args, const ArenaSlot& slot) const {
  const std::uint64_t capacity = slot.arena.capacity_bytes();
  const std::uint64_t count = args.sizes.empty() ? args.count : args.sizes.size();
  if (count == 0 || count > kMaxBlocksPerCall) [[unlikely]] {
    return refuse(
        Error::kInvalidCount,
        fmt::format("{} blocks asked for in one call, the limit is {}", count, kMaxBlocksPerCall));
  }
  if (args.tag > Holder::kMaxTag) [[unlikely]]
    return wrong_tag(args.tag);
  if (!args.sizes.empty()) [[unlikely]]
    return check_sizes(args, slot);
  if (args.size_bytes - 1 >= capacity) [[unlikely]] {  // 0 wraps
    return refuse(Error::kInvalidSize,
                  fmt::format("size is {} bytes, the capacity of arena '{}' is {} bytes",
                              args.size_bytes, slot.name(), capacity));
  }
  // The arena could never serve such a call, so waiting or trimming would not help.
  if (count > capacity / args.size_bytes) [[unlikely]] {
    return refuse(
        Error::kArenaFull,
        fmt::format("{} blocks of {} bytes are more than the capacity of arena '{}', {} bytes",
                    count, args.size_bytes, slot.name(), capacity));
  }
  return {};
}

Error AllocateCall::attempt(const Access& access, const AllocateArgs& args, AllocatedBlocks& out) {
  ArenaSlot& slot = *access.slot;
  // Asked here because the heap's magazines would serve a while longer.
  if (slot.arena.quarantined()) [[unlikely]]
    return Error::kQuarantined;
  if (!args.sizes.empty()) [[unlikely]]
    return attempt_sizes(access, args, out);
  const auto cost = cost_of(slot.arena.geometry(), args.size_bytes, args.align_bytes);
  if (!cost.ok()) return cost.error();
  const SessionId session = args.session.id;
  const std::uint64_t bytes = cost->stride_bytes * args.count;
  if (const Error e = account_.charge(session, bytes); e != Error::kNone) return e;
  out.blocks.resize(args.count);
  const Error e =
      slot.heap.allocate_batch(args.size_bytes, args.align_bytes, {session, args.tag}, out.blocks);
  account_.spent(slot, session, bytes);
  if (e != Error::kNone) [[unlikely]] {
    out.blocks.clear();
    return e;
  }
  out.usable_bytes.assign(1, cost->usable_bytes);
  gave(access, out, bytes);
  return Error::kNone;
}

// One block of each of several sizes.
Error AllocateCall::attempt_sizes(const Access& access, const AllocateArgs& args,
                                  AllocatedBlocks& out) {
  ArenaSlot& slot = *access.slot;
  const SessionId session = args.session.id;
  std::uint64_t bytes = 0;
  out.usable_bytes.reserve(args.sizes.size());
  for (const std::uint64_t size : args.sizes) {
    const auto cost = cost_of(slot.arena.geometry(), size, args.align_bytes);
    if (!cost.ok()) return cost.error();
    bytes += cost->stride_bytes;
    out.usable_bytes.push_back(cost->usable_bytes);
  }
  if (const Error e = account_.charge(session, bytes); e != Error::kNone) return e;
  const Error e = allocate_each(slot, args, out);
  account_.spent(slot, session, bytes);
  if (e == Error::kNone)
    gave(access, out, bytes);
  else
    out = {};
  return e;
}

// All or nothing, for the heap.
Error AllocateCall::allocate_each(ArenaSlot& slot, const AllocateArgs& args, AllocatedBlocks& out) {
  const SessionId session = args.session.id;
  out.blocks.reserve(args.sizes.size());
  for (const std::uint64_t size : args.sizes) {
    const auto block = slot.heap.allocate_aligned(size, args.align_bytes, {session, args.tag});
    if (block.ok()) {
      out.blocks.push_back(*block);
      continue;
    }
    for (const Allocation& got : out.blocks)
      slot.heap.free_checked({got.ref.value}, session, kNoSession);
    return block.error();
  }
  return Error::kNone;
}

void AllocateCall::gave(const Access& access, const AllocatedBlocks& out, std::uint64_t bytes) {
  access.note(out.blocks);
  account_.gave(access, out.blocks.size(), bytes);
  turn_.worked_in(*access.slot);
}

Failure AllocateCall::refusal(Error e, const AllocateArgs& args, const ArenaSlot& slot) const {
  switch (e) {
    case Error::kInvalidAlignment:
      return refuse(e, fmt::format("alignment {} in arena '{}'", args.align_bytes, slot.name()));
    case Error::kQuotaSession:
    case Error::kQuotaUser: return account_.refusal(e, args.session);
    case Error::kQuarantined:
      return refuse(e, fmt::format("arena '{}' is quarantined, {}", slot.name(),
                                   slot.arena.quarantine_reason()));
    case Error::kInvalidSize:
      return refuse(e, fmt::format("size is {} bytes, the capacity of arena '{}' is {} bytes",
                                   args.size_bytes, slot.name(), slot.arena.capacity_bytes()));
    default: return tables_.refusal(e, args.session, args.arena_id);
  }
}

CommitNeed AllocateCall::need(const Args& args, const ArenaSlot& slot) {
  const Geometry& geometry = slot.arena.geometry();
  CommitNeed need;
  need.session = args.session.id;
  std::map<ClassId, std::uint32_t> blocks;  // blocks of one class share slabs
  const auto add = [&](std::uint64_t size, std::uint32_t count) {
    const auto cls = geometry.class_of(size, args.align_bytes);
    if (!cls.ok()) return;
    need.part_bytes += cost_of(geometry, size, args.align_bytes)->stride_bytes * count;
    if (*cls == kSpanClass)
      need.runs.push_back({geometry.span_for(size), count});
    else
      blocks[*cls] += count;
  };
  if (args.sizes.empty()) add(args.size_bytes, args.count);
  for (const std::uint64_t size : args.sizes) add(size, 1);
  for (const auto& [cls, count] : blocks) {
    const RunShape slab = geometry.slab_shape(cls);
    need.runs.push_back({slab, (count + slab.capacity - 1) / slab.capacity});
  }
  return need;
}

std::string AllocateCall::asked_for(const AllocateArgs& args) {
  if (!args.sizes.empty()) return fmt::format("{} blocks of given sizes", args.sizes.size());
  return fmt::format("{}{}{} bytes", args.count, args.count == 1 ? " block of " : " blocks of ",
                     args.size_bytes);
}

}  // namespace arenad::server
