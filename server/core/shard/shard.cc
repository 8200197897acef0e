// The data path of a shard: admit, allocate, free, describe.
#include "server/core/shard/shard.h"

#include <algorithm>

#include "server/core/api/clock.h"
#include "server/core/api/text.h"

namespace arenad::server {
namespace {

// What one block of a request costs: decided by geometry alone, so the caller is charged the same
// when it frees.
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

}  // namespace

Shard::Shard(ShardId index, std::uint32_t shard_count, SharedState& shared)
    : index_(index), shard_count_(shard_count), shared_(shared) {
  retired_.remote_frees_to.resize(shard_count);
}

Error Shard::admit(SessionKey key, ArenaId arena_id, Need need, Access& out) {
  out.session = tables_.session(key.id);
  if (out.session == nullptr || out.session->secret != key.secret) return Error::kUnknownSession;
  out.slot = tables_.arena(arena_id);
  if (out.slot == nullptr) return Error::kUnknownArena;
  out.attached = out.session->find(arena_id);
  if (out.attached == nullptr) return Error::kNotAttached;
  if (need != Need::kLook && out.attached->mode == AttachMode::kReader) return Error::kReadOnly;
  if (need == Need::kPeer && out.attached->mode != AttachMode::kPeer) return Error::kReadOnly;
  return Error::kNone;
}

Failure Shard::refuse_slow(Error e, SessionKey key, ArenaId arena_id) {
  const ArenaSlot* slot = tables_.arena(arena_id);
  const std::string arena =
      slot == nullptr ? concat("arena id ", arena_id)
                      : concat("arena '", slot->arena.options().name, "' (id ", arena_id, ")");
  switch (e) {
    case Error::kUnknownSession:
      return refuse(e, "session ", key.id, " does not exist, has ended, or its secret is another");
    case Error::kUnknownArena: return refuse(e, arena, " does not exist");
    case Error::kNotAttached: return refuse(e, "session ", key.id, " is not attached to ", arena);
    case Error::kReadOnly: {
      SessionSlot* session = tables_.session(key.id);
      const Attached* attached = session == nullptr ? nullptr : session->find(arena_id);
      const AttachMode mode = attached == nullptr ? AttachMode::kNone : attached->mode;
      if (mode == AttachMode::kReader)
        return refuse(e, "session ", key.id, " is attached to ", arena, " as reader");
      return {e, concat("session ", key.id, " is attached to ", arena, " as ", mode_name(mode),
                        ", only a peer leases: attach it as peer")};
    }
    default: return refuse(e, "session ", key.id, ", ", arena);
  }
}

Error Shard::admit_refs(SessionKey key, ArenaId arena_id, std::size_t refs, Access& out) {
  const Error e = admit(key, arena_id, Need::kChange, out);
  return e == Error::kNone && refs > kMaxBlocksPerCall ? Error::kInvalidCount : e;
}

Failure Shard::refuse_refs(Error e, SessionKey key, ArenaId arena_id, std::size_t refs) {
  if (e == Error::kInvalidCount)
    return refuse(e, refs, " refs in one call, the limit is ", kMaxBlocksPerCall);
  return refuse_slow(e, key, arena_id);
}

// ---- allocate
// ------------------------------------------------------------------------------------------------------------

void Shard::allocate(const AllocateArgs& args, Done<AllocatedBlocks> done) {
  serve(Need::kChange, args, std::move(done));
}

Failure Shard::check_request(const AllocateArgs& args, const ArenaSlot& slot) const {
  const std::uint64_t capacity = slot.arena.capacity_bytes();
  const std::uint64_t count = args.sizes.empty() ? args.count : args.sizes.size();
  if (count == 0 || count > kMaxBlocksPerCall) [[unlikely]] {
    return refuse(Error::kInvalidCount, count, " blocks asked for in one call, the limit is ",
                  kMaxBlocksPerCall);
  }
  if (!args.sizes.empty()) [[unlikely]] {
    if (args.size_bytes != 0)
      return refuse(Error::kInvalidSize, "size_bytes and sizes are both set, give one of them");
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < args.sizes.size(); ++i) {
      if (args.sizes[i] == 0 || args.sizes[i] > capacity) {
        return refuse(Error::kInvalidSize, "sizes[", i, "] is ", args.sizes[i],
                      " bytes, the capacity of arena '", slot.arena.options().name, "' is ",
                      capacity, " bytes");
      }
      sum += args.sizes[i];
    }
    if (sum > capacity) {
      return refuse(Error::kArenaFull, "the ", args.sizes.size(), " blocks of this call take ", sum,
                    " bytes together, the capacity of arena '", slot.arena.options().name, "' is ",
                    capacity, " bytes");
    }
    return {};
  }
  if (args.size_bytes - 1 >= capacity) [[unlikely]] {  // 0 wraps
    return refuse(Error::kInvalidSize, "size is ", args.size_bytes,
                  " bytes, the capacity of arena '", slot.arena.options().name, "' is ", capacity,
                  " bytes");
  }
  if (count > capacity / args.size_bytes)
      [[unlikely]] {  // could never be served: waiting or trimming would not help
    return refuse(Error::kArenaFull, count, " blocks of ", args.size_bytes,
                  " bytes are more than the capacity of arena '", slot.arena.options().name, "', ",
                  capacity, " bytes");
  }
  return {};
}

Error Shard::attempt(const Access& access, const AllocateArgs& args, AllocatedBlocks& out) {
  ArenaSlot& slot = *access.slot;
  if (slot.arena.quarantined()) [[unlikely]]
    return Error::kQuarantined;  // the heap's magazines would go on for a while
  if (!args.sizes.empty()) [[unlikely]]
    return attempt_sizes(access, args, out);
  const auto cost = cost_of(slot.arena.geometry(), args.size_bytes, args.align_bytes);
  if (!cost.ok()) return cost.error();
  const std::uint64_t bytes = cost->stride_bytes * args.count;
  if (!shared_.session_bytes.reserve(args.session.id, bytes)) return Error::kQuotaSession;
  out.blocks.resize(args.count);
  const Error e = slot.heap.allocate_batch(args.size_bytes, args.align_bytes,
                                           {args.session.id, args.tag}, out.blocks);
  if (e != Error::kNone) [[unlikely]] {
    shared_.session_bytes.give_back(args.session.id, bytes);
    out.blocks.clear();
    return e;
  }
  out.usable_bytes.assign(1, cost->usable_bytes);
  remember(access, out.blocks);
  const auto n = static_cast<std::int64_t>(args.count), b = static_cast<std::int64_t>(bytes);
  access.attached->held.add(n, b);
  slot.held.add(n, b);
  touch(slot);
  return Error::kNone;
}

// One block each of several sizes, all or nothing.
Error Shard::attempt_sizes(const Access& access, const AllocateArgs& args, AllocatedBlocks& out) {
  ArenaSlot& slot = *access.slot;
  std::uint64_t bytes = 0;
  out.usable_bytes.reserve(args.sizes.size());
  for (const std::uint64_t size : args.sizes) {
    const auto cost = cost_of(slot.arena.geometry(), size, args.align_bytes);
    if (!cost.ok()) return cost.error();
    bytes += cost->stride_bytes;
    out.usable_bytes.push_back(cost->usable_bytes);
  }
  if (!shared_.session_bytes.reserve(args.session.id, bytes)) return Error::kQuotaSession;
  out.blocks.reserve(args.sizes.size());
  for (const std::uint64_t size : args.sizes) {
    const auto block =
        slot.heap.allocate_aligned(size, args.align_bytes, {args.session.id, args.tag});
    if (block.ok()) {
      out.blocks.push_back(*block);
      continue;
    }
    for (const Allocation& got : out.blocks)
      slot.heap.free_checked({got.ref.value}, args.session.id, kNoSession);
    shared_.session_bytes.give_back(args.session.id, bytes);
    out = {};
    return block.error();
  }
  remember(access, out.blocks);
  const auto n = static_cast<std::int64_t>(args.sizes.size()), b = static_cast<std::int64_t>(bytes);
  access.attached->held.add(n, b);
  slot.held.add(n, b);
  touch(slot);
  return Error::kNone;
}

Failure Shard::refusal(Error e, const AllocateArgs& args, const ArenaSlot& slot) {
  const std::string& arena = slot.arena.options().name;
  switch (e) {
    case Error::kInvalidAlignment:
      return refuse(e, "alignment ", args.align_bytes, " in arena '", arena, "'");
    case Error::kQuotaSession: return refuse_quota(args.session);
    case Error::kQuarantined:
      return refuse(e, "arena '", arena, "' is quarantined, ", slot.arena.quarantine_reason());
    case Error::kInvalidSize:
      return refuse(e, "size is ", args.size_bytes, " bytes, the capacity of arena '", arena,
                    "' is ", slot.arena.capacity_bytes(), " bytes");
    default: return refuse_slow(e, args.session, args.arena_id);
  }
}

std::string Shard::asked_for(const AllocateArgs& args) {
  if (!args.sizes.empty()) return concat(args.sizes.size(), " blocks of given sizes");
  return concat(args.count, args.count == 1 ? " block of " : " blocks of ", args.size_bytes,
                " bytes");
}

Failure Shard::refuse_quota(SessionKey key) const {
  const std::int64_t held = std::max<std::int64_t>(shared_.session_bytes.held(key.id), 0);
  return refuse(Error::kQuotaSession, "session ", key.id, " holds ",
                bytes_text(static_cast<std::uint64_t>(held)), " of its limit of ",
                bytes_text(shared_.session_bytes.limit(key.id)), ", this call would go over it");
}

// ---- free, describe
// ---------------------------------------------------------------------------------------------

void Shard::account_free(ArenaSlot& slot, SessionId holder, std::int64_t blocks,
                         std::int64_t bytes) {
  // A holder that is not in the tables is being reaped: its share went with it, and the reaper
  // counts what it held.
  if (SessionSlot* session = tables_.session(holder)) {
    if (Attached* a = session->find(slot.id)) a->held.add(-blocks, -bytes);
    shared_.session_bytes.give_back(holder, static_cast<std::uint64_t>(bytes));
  }
  slot.held.add(-blocks, -bytes);
}

RefFailure Shard::ref_failure(std::size_t index, UntrustedRef ref, Error e, const ArenaSlot& slot,
                              const char* what) const {
  return {static_cast<std::uint32_t>(index), ref, e,
          refuse(e, "ref ", ref_text(ref.value), " in arena '", slot.arena.options().name,
                 "' is not ", what)
              .message};
}

Answer<PerRefAnswer> Shard::free(SessionKey key, ArenaId arena_id, UntrustedRefs refs) {
  Access access;
  if (const Error e = admit_refs(key, arena_id, refs.size(), access); e != Error::kNone)
    return refuse_refs(e, key, arena_id, refs.size());
  ArenaSlot& slot = *access.slot;
  const SessionId freer = key.id;
  const SessionId required = slot.arena.options().holder_only ? freer : kNoSession;
  PerRefAnswer answer;
  // Blocks of one holder mostly come together: count them up and settle when the holder changes.
  SessionId holder;
  std::int64_t blocks = 0, bytes = 0;
  const bool counts_from_words = slot.state->counts_from_words.load(std::memory_order_relaxed);
  for (std::size_t i = 0; i < refs.size(); ++i) {
    const FreeOutcome outcome = slot.heap.free_checked(refs[i], freer, required);
    if (outcome.error != Error::kNone) [[unlikely]] {
      answer.errors.push_back(ref_failure(i, refs[i], outcome.error, slot, "freed"));
      continue;
    }
    ++answer.done;
    if (counts_from_words &&
        in_own_lease(slot, Ref{refs[i].value}.slot().slab(), outcome.holder.session()))
      continue;
    if (outcome.holder.session() != holder) {
      if (blocks != 0) account_free(slot, holder, blocks, bytes);
      holder = outcome.holder.session();
      blocks = bytes = 0;
    }
    ++blocks;
    bytes += static_cast<std::int64_t>(outcome.stride_bytes);
  }
  if (blocks != 0) account_free(slot, holder, blocks, bytes);
  slot.freed = true;
  touch(slot);
  return answer;
}

Answer<std::vector<BlockFacts>> Shard::describe(SessionKey key, ArenaId arena_id,
                                                UntrustedRefs refs) {
  Access access;
  if (const Error e = admit(key, arena_id, Need::kLook, access); e != Error::kNone)
    return refuse_slow(e, key, arena_id);
  if (refs.size() > kMaxBlocksPerCall) {
    return refuse(Error::kInvalidCount, refs.size(), " refs in one call, the limit is ",
                  kMaxBlocksPerCall);
  }
  std::vector<BlockFacts> infos;
  infos.reserve(refs.size());
  for (std::size_t i = 0; i < refs.size(); ++i)
    infos.push_back(access.slot->arena.describe(refs[i]));
  return infos;
}

}  // namespace arenad::server
