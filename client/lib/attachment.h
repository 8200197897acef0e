// Attachment: what the handles and Blocks of one attached arena share. Private: includes gRPC
// headers.
//
// Purpose: the arena's facts and mapping, the pool of a peer's heaps; the block calls that handles,
// blocks, streams and pumps
//   build on.
// Invariants: it lives as long as handles or Blocks of it do. Blocks of writers are counted one by
// one (a call costs thousands of
//   times more); those of a peer by its heaps, without an atomic, while the session holds the
//   attachment, and one by one once the session is closed: close_pool adds the two up.
// Threads: any thread. fork: pinned in the child. Crash: see arena_handle.h.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "arenad/types.h"
#include "client/lib/client_state.h"
#include "client/lib/mapping.h"
#include "client/lib/peer_pool.h"
#include "client/lib/session_state.h"

namespace arenad::client {

class Attachment final : public Pinned {
 public:
  Attachment(std::shared_ptr<SessionState> session, ArenaInfo arena, AttachMode mode,
             Mapping mapping)
      : session(std::move(session)),
        arena(std::move(arena)),
        mode(mode),
        mapping(std::move(mapping)) {}
  // A peer's: the pool maps the arena.
  Attachment(std::shared_ptr<SessionState> session, ArenaInfo arena, std::shared_ptr<PeerPool> pool)
      : session(std::move(session)),
        arena(std::move(arena)),
        mode(AttachMode::kPeer),
        pool(std::move(pool)) {}

  Status usable() const { return session->usable(); }
  std::span<std::byte> data() const;  // mapped data; empty for remote
  bool writable() const { return pool != nullptr || mapping.writable(); }

  // Fills in session and arena.
  template <class Request>
  Request request() const {
    Request request;
    *request.mutable_session() = session->key;
    request.set_arena_id(arena.id);
    return request;
  }

  // Through the daemon.
  Answer<std::vector<AllocatedBlock>> allocate(std::uint32_t shard,
                                               const v1::AllocateRequest& request) const;
  Answer<BatchAnswer> free(std::uint32_t shard, std::span<const Ref> refs) const;
  // One ref in whatever way the mode has.
  Status free_one(std::uint32_t shard, Ref ref) const;
  // Whether the block lies in the mapping; for remote always.
  Status check(const AllocatedBlock& block) const;
  Status check(std::span<const AllocatedBlock> blocks) const;

  // --- Blocks
  // ---------------------------------------------------------------------------------------------------------------
  void block_made();  // counts one
  // A Block ends: counts it out; `free`: frees it, too, unless the session is over. May destroy
  // this.
  Status block_ended(std::uint32_t shard, Ref ref, bool free);
  void close_pool(const Status& why);  // keeps the threads out of a peer's heaps, settles the count

  const std::shared_ptr<SessionState> session;
  const ArenaInfo arena;
  const AttachMode mode;
  const Mapping mapping;
  const std::shared_ptr<PeerPool> pool;  // of a peer

 private:
  void count(std::int64_t blocks);

  std::mutex mutex_;
  std::int64_t blocks_ = 0;       // counted one by one
  std::shared_ptr<Pinned> self_;  // while blocks_ > 0
};

}  // namespace arenad::client
