// SessionState and Attachment: what the handles of a session share. Private.
//
// Purpose: the session's key and liveness; one arena's facts and mapping; the block calls that handles, blocks, streams and
//   pumps build on.
// Invariants: once closed is set no call is made for the session any more: all it held is given back by the daemon, and its key
//   may mean nothing, or be refused. The mapping lives as long as the last handle or Block.
// Threads: any thread. Crash: see arena_handle.h.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <vector>

#include "client/lib/client_state.h"
#include "client/lib/keep_alive.h"
#include "client/lib/mapping.h"
#include "client/lib/types.h"

namespace arenad::client {

class SessionState {
 public:
  SessionState(std::shared_ptr<ClientState> client, v1::SessionKey key) : client(std::move(client)), key(std::move(key)) {}

  const std::shared_ptr<ClientState> client;
  const v1::SessionKey key;
  KeepAlive keep_alive;
  std::atomic<bool> closed{false};   // set by Session::close (release), read before every call (acquire)
};

class Attachment {
 public:
  Attachment(std::shared_ptr<SessionState> session, ArenaInfo arena, AttachMode mode, Mapping mapping)
      : session(std::move(session)), arena(std::move(arena)), mode(mode), mapping(std::move(mapping)) {}

  bool closed() const { return session->closed.load(std::memory_order_acquire); }
  Status usable() const;   // UNKNOWN_SESSION once closed

  // Fills in session and arena.
  template <class Request>
  Request request() const {
    Request request;
    *request.mutable_session() = session->key;
    request.set_arena_id(arena.id);
    return request;
  }

  Answer<std::vector<AllocatedBlock>> allocate(std::uint32_t shard, const v1::AllocateRequest& request) const;
  Answer<BatchAnswer> free(std::uint32_t shard, std::span<const Ref> refs) const;
  // Whether the block lies in the mapping; for remote always.
  Status check(const AllocatedBlock& block) const;
  Status check(std::span<const AllocatedBlock> blocks) const;

  const std::shared_ptr<SessionState> session;
  const ArenaInfo arena;
  const AttachMode mode;
  const Mapping mapping;
};

}  // namespace arenad::client
