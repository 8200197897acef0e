// Session: this process, or a part of it, as the daemon knows it; the holder of blocks.
//
// Purpose: open, stay alive, attach arenas, close.
// Invariants: while a Session lives, a thread of its own keeps its KeepAlive stream open, and
// reconnects when it breaks; one more
//   leases ahead for arenas that it is a peer of. Whatever the session holds is given back when it
//   is closed, destroyed, or its process dies. Handles and blocks made from it may outlive it: they
//   then do nothing, and their mapping stays readable until the last of them is gone.
// Threads: any thread, at once; close and destruction once, when no other call on it is running.
// fork: in the child every call answers FORKED, and destructors do nothing; the parent goes on
// undisturbed. exec, or start the
//   process that is to use arenad before this one connects.
// Crash: SIGKILL of the process at any point ends the session; the daemon gives everything back
// within a second.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "arenad/arena_handle.h"
#include "arenad/client.h"
#include "arenad/types.h"

namespace arenad::client {

class SessionState;
struct HandedOver;

struct SessionOptions {
  std::string name = "client";  // shown to operators; [A-Za-z0-9._-]{1,64}
  // Tie the session to the life of this process now (a handoff with a pidfd) rather than to its
  // KeepAlive stream. Attaching as reader, writer or peer does it anyway.
  bool bind_to_process = false;
  // The most that the session may hold and lease, in bytes; 0 = the daemon's limit, which also is
  // the most. Beyond it allocations answer QUOTA_SESSION.
  std::uint64_t limit_bytes = 0;
};

struct AttachOptions {
  std::uint32_t shard = kAnyShard;  // of the handle; kAnyShard: as ConnectOptions::shard says
};

class Session {
 public:
  Session() = default;  // no session; every call answers FAILED_PRECONDITION
  Session(Session&&) noexcept = default;
  Session& operator=(Session&& other) noexcept;  // closes the one that was here
  ~Session();                                    // close(), whose answer nobody sees

  // Opens a session and its KeepAlive stream; the stream was confirmed when this returns.
  // Errors: INVALID_NAME, QUOTA_DAEMON, DRAINING.
  static Answer<Session> open(const Client& client, const SessionOptions& options = {});

  std::uint32_t id()
      const;  // the holder that block words and Admin::holders show; 0 for no session

  // Attaches to an arena, and for reader, writer and peer takes over and maps its data
  // (MADV_DONTFORK: children do not see it). Attaching to the same arena again replaces the mode,
  // and the earlier handle's rights with it; for another shard or thread use ArenaHandle::on_shard
  // instead. A second peer attachment is the first one again; a peer attachment is not replaced by
  // another mode (FAILED_PRECONDITION): its heaps live there. Errors: UNKNOWN_ARENA,
  // MODE_UNAVAILABLE, NOT_PERMITTED (credentials against the arena's mode), DRAINING; UNAVAILABLE
  // when the handoff socket cannot be reached, RESOURCE_EXHAUSTED when the kernel would not map.
  Answer<ArenaHandle> attach(std::string_view arena, AttachMode mode,
                             const AttachOptions& options = {});

  // Ends the session; answers when all it held is home. After an error the session is ended here
  // all the same, and the daemon ends it on its side when it finds the stream or the process gone.
  Answer<GivenBack> close();

  // False once the daemon said that it is stopping: finish, free and close.
  bool serving() const;
  // Whether the KeepAlive stream is up: standing() == kConnected.
  bool alive() const;
  // kReconnecting while the daemon is away: a session that is bound to its process and whose daemon
  // has a state directory, or did not die, goes on when it is back. Peers allocate from what they
  // have leased meanwhile.
  SessionStanding standing() const;

 private:
  static Answer<ArenaHandle> attach_peer(const std::shared_ptr<SessionState>& state,
                                         const ArenaInfo& info, std::uint32_t shard,
                                         HandedOver& handed);

  std::shared_ptr<SessionState> state_;
};

}  // namespace arenad::client
