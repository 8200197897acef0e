// Session: this process, or a part of it, as the daemon knows it. A session holds blocks.
//
// Purpose: open a session, keep it alive, attach arenas, close it.
// Invariants: a Session has a thread that keeps its KeepAlive stream open, and opens it again when
//   it breaks. A session with a peer attachment has a second one, the lease thread. All that the
//   session holds is given back when it is closed or destroyed, or when its process ends. Handles
//   and Blocks may outlive the session: then they do nothing, and their mapping stays readable
//   until the last of them is gone.
// Threads: any thread, at the same time. Close or destroy a session once, while no other call on it
//   is running.
// fork: in a child every call answers FORKED, and destructors do nothing. The parent goes on
//   undisturbed. A process that wants children which use arenad forks them before it connects.
// Crash: a SIGKILL at any point ends the session. The daemon gives everything back within a second.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "arenad/allocator/base/export.h"
#include "arenad/arena_handle.h"
#include "arenad/client.h"
#include "arenad/types.h"

namespace arenad::client {

class SessionState;
struct HandedOver;

struct SessionOptions {
  std::string name = "client";  // shown to operators; [A-Za-z0-9._-]{1,64}
  // Ties the session to the life of this process (with a pidfd), not to its KeepAlive stream.
  // Attaching as reader, writer or peer does so anyway.
  bool bind_to_process = false;
  // The most bytes that the session may hold and lease. Beyond it allocations answer QUOTA_SESSION.
  // 0: the daemon's limit, which no session can exceed.
  std::uint64_t limit_bytes = 0;
  // Memory of the host that the daemon sets aside for this session. As long as the session has no
  // more than that, it is not refused with MACHINE_FULL because others have the memory. All limits
  // hold within a reserve, and so does an arena's capacity. sessions.proto has the particulars.
  // 0: none.
  std::uint64_t reserve_bytes = 0;
};

struct AttachOptions {
  ShardId shard = kAnyShard;  // of the handle; kAnyShard: as ConnectOptions::shard says
};

class ARENAD_API Session {
 public:
  Session() = default;  // no session: every call answers FAILED_PRECONDITION
  Session(Session&&) noexcept = default;
  Session& operator=(Session&& other) noexcept;  // closes the session that was here
  ~Session();                                    // as close(), without the answer

  // Opens a session, and waits until the daemon has confirmed its KeepAlive stream.
  // Errors: INVALID_NAME, QUOTA_DAEMON, QUOTA_USER, DRAINING, MACHINE_FULL (also: the reserve
  // cannot be set aside), INVALID_OPTION (a reserve above the session's limit).
  static Answer<Session> open(const Client& client, const SessionOptions& options = {});

  // The holder in block words and in Admin::holders; 0 for no session.
  SessionId id() const;

  // Attaches to an arena. As reader, writer and peer it also maps the arena's data, which children
  // do not inherit (MADV_DONTFORK).
  // A second attachment to the same arena replaces the first one's mode, and with it the rights of
  // the first handle. For another shard use ArenaHandle::on_shard instead. A peer attachment has
  // heaps, so it is never replaced: a second one as peer gives the first one again, and another
  // mode answers FAILED_PRECONDITION. ArenaHandle::detach ends an attachment. So does the arena's
  // deletion: the next attachment is to the new arena of that name.
  // Errors: UNKNOWN_ARENA, MODE_UNAVAILABLE (also: a peer needs membarrier(2), which the kernel
  // refuses in this process), NOT_PERMITTED (the arena's owner, group and mode do not allow it),
  // DRAINING, UNAVAILABLE (the handoff socket cannot be reached), RESOURCE_EXHAUSTED (the kernel
  // did not map the data).
  Answer<ArenaHandle> attach(std::string_view arena, AttachMode mode,
                             const AttachOptions& options = {});

  // Ends the session. Answers when all that it held was given back. After an error the session has
  // ended here all the same. When the daemon was away, the library tells it as soon as it is back;
  // otherwise the daemon ends the session when it finds the stream or the process gone.
  Answer<GivenBack> close();

  // False once the daemon has said that it is stopping: finish your work, free, and close.
  bool serving() const;
  // Whether the KeepAlive stream is up: standing() == kConnected.
  bool alive() const;
  // kReconnecting while the daemon is away. Peers then allocate from what they have leased. The
  // session goes on when the daemon did not die, or when the daemon has a state directory and the
  // session is bound to its process. Else it is kLost. In a forked child it is kClosed.
  SessionStanding standing() const;

 private:
  static Answer<ArenaHandle> attach_peer(const std::shared_ptr<SessionState>& state,
                                         const ArenaInfo& info, std::uint64_t epoch, ShardId shard,
                                         HandedOver& handed);

  std::shared_ptr<SessionState> state_;
};

}  // namespace arenad::client
