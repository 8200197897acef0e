// Attachment: what the handles and Blocks of one attached arena share. Private: includes gRPC
// headers.
//
// Purpose: the arena's facts, its mapping, the way to its block calls, and the count of its Blocks.
// Invariants: an attachment lives as long as a handle or a Block of it does. A Block holds no
//   reference, so the attachment counts Blocks, and keeps itself while there are any:
//   * A writer's Blocks are counted one by one. Its calls cost thousands of times more.
//   * A peer's heaps count Blocks without an atomic while the session holds the attachment.
//     close_pool adds up what the heaps have counted. From then on Blocks are counted one by one.
//   So after a detach, or when the arena was deleted, the mapping and its descriptors go with the
//   last handle and the last Block.
// Threads: any thread. fork: pinned in the child. Crash: see arena_handle.h.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>

#include "arenad/types.h"
#include "client/lib/block_calls.h"
#include "client/lib/client_state.h"
#include "client/lib/mapping.h"
#include "client/lib/peer_blocks.h"
#include "client/lib/peer_pool.h"
#include "client/lib/session_state.h"

namespace arenad::client {

class Attachment final : public Pinned {
 public:
  // As remote (nothing is mapped), reader or writer.
  // `epoch` is the attachment's, see AttachArenaResponse.
  Attachment(std::shared_ptr<SessionState> session, ArenaInfo arena, AttachMode mode,
             std::uint64_t epoch, Mapping mapping);
  // As peer. The pool maps the arena.
  Attachment(std::shared_ptr<SessionState> session, ArenaInfo arena,
             std::shared_ptr<PeerPool> pool);

  // FORKED; UNKNOWN_SESSION when the session is over; or why the attachment has ended.
  Status usable() const;
  // The mapped data; empty for remote.
  std::span<std::byte> data() const;
  bool writable() const { return pool != nullptr || mapping.writable(); }

  // A request with session and arena filled in.
  template <class Request>
  Request request() const {
    Request request;
    *request.mutable_session() = session->key;
    request.set_arena_id(arena.id.value);
    return request;
  }

  BlockCalls& blocks() const { return *blocks_; }
  // The same of a peer; null in the other modes.
  PeerBlocks* peer_blocks() const { return peer_blocks_; }
  // Whether blocks that the daemon answered lie in the arena. INTERNAL when they do not.
  Status check(const AllocatedBlock& block) const;
  Status check(std::span<const AllocatedBlock> blocks) const;

  // A call to the daemon that is under way, from its construction on. A detach waits for the ends
  // of such calls. Otherwise a call from before it could work in the session's next attachment, and
  // nobody would free what the call has got there.
  class Call {
   public:
    explicit Call(const Attachment& of);
    ~Call();
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
    // usable() of the attachment. Nothing may be called when it is not OK.
    const Status& admitted() const { return admitted_; }

   private:
    const Attachment& of_;
    const Status admitted_;
  };
  // The attachment has ended: waits until no call is under way.
  void await_calls() const;

  // --- Blocks
  void block_made();
  // A Block ends. `free`: its block is freed, unless the session is over. May destroy this object.
  Status block_ended(ShardId shard, Ref ref, bool free);
  // Keeps all threads out of a peer's heaps for good, and takes over their count of Blocks.
  void close_pool(const Status& why);
  // The same until PeerPool::reopen.
  void suspend_pool(const Status& why);
  // The attachment has ended, and the session goes on: every call answers `why`.
  void end(const Status& why);

  const std::shared_ptr<SessionState> session;
  const ArenaInfo arena;
  const AttachMode mode;
  const std::uint64_t epoch;  // 0 of a peer: its leases know the present one
  const Mapping mapping;
  const std::shared_ptr<PeerPool> pool;  // of a peer

 private:
  void count(std::int64_t blocks);

  std::unique_ptr<BlockCalls> blocks_;
  PeerBlocks* peer_blocks_ = nullptr;  // blocks_, of a peer
  mutable std::mutex mutex_;
  mutable std::condition_variable calls_ended_;  // calls_ is 0
  mutable std::uint32_t calls_ = 0;              // under mutex_: calls that are under way
  std::atomic<bool> ended_{false};  // released after ended_why_ was written, acquired by usable()
  Status ended_why_;                // written once
  std::int64_t counted_ = 0;        // under mutex_: Blocks that were counted one by one
  std::shared_ptr<Pinned> self_;    // under mutex_: while counted_ > 0
};

}  // namespace arenad::client
