// ControlApi: the control plane, arenas, sessions and administration.
//
// Purpose: what the gRPC layer may ask the control thread for.
// Invariants: no gRPC and no protobuf type passes here. No call blocks.
// Threads: any thread may call; answers come on the control thread through a callback.
// Crash: see server/core/control/control.h.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "allocator/arena/arena.h"
#include "allocator/format/debug_flags.h"
#include "server/core/api/common.h"
#include "server/core/api/facts.h"
#include "server/core/api/principal.h"

namespace arenad::server {

struct CreateArenaArgs {
  std::string name;
  std::uint64_t capacity_bytes = 0;
  bool holder_only = false;
  bool pinned = false;
  bool lock = false;
  bool zero = false;
  bool scrub = false;
  bool huge_pages = false;
  std::string numa;  // NumaPolicy::parse
  DebugFlags debug;
  bool has_access = false;
  ArenaAccess access;
};

template <class T>
struct Page {
  std::vector<T> items;
  std::string next_page_token;
};

struct OpenSessionArgs {
  std::string name;
  // Most that the session may hold or lease. 0, or more than the daemon's limit: that.
  std::uint64_t limit_bytes = 0;
  std::uint64_t reserve_bytes = 0;  // memory of the host that is set aside for it
};

struct OpenedSession {
  SessionKey key;
  std::string handoff_token;  // 16 bytes
  std::string handoff_path;
  std::uint32_t keepalive_grace_ms = 0;
};

struct AttachedArena {
  ArenaFacts arena;
  std::string handoff_token;           // 16 bytes, empty for remote
  LeaseEpoch epoch;                    // of the attachment
  const Geometry* geometry = nullptr;  // valid inside the callback
  int ref_slot_bits = 0;               // RefLayout::slot_bits
};

// What the daemon wants a session to know or to do, on its KeepAlive stream.
struct SessionEvent {
  enum class Kind : std::uint8_t { kDraining, kEnded, kTrim, kArenaDeleted, kEvicted };
  Kind kind = Kind::kDraining;
  std::uint64_t round = 0;             // of kTrim: comes back in keepalive_trimmed
  ArenaId arena_id{};                  // of kTrim and kArenaDeleted
  std::string arena{};                 // name; of kArenaDeleted
  Error why = Error::kUnknownSession;  // of kEnded
};
using OnSessionEvent = std::function<void(const SessionEvent&)>;

struct GivenBack {
  std::uint64_t blocks = 0;
  std::uint64_t bytes = 0;
};

// The control plane. Calls from any thread; `done` runs exactly once, on the control (edge) thread:
// post() it back to where it belongs. Names and refs are validated inside.
// Rights: a call without a session says who makes it. A call of a session has the rights of the
// principal that opened the session. Errors of both: kNotPermitted.
class ControlApi {
 public:
  virtual ~ControlApi() = default;
  virtual void create_arena(Caller caller, CreateArenaArgs args, Done<ArenaFacts> done) = 0;
  virtual void get_arena(Caller caller, std::string name, Done<ArenaFacts> done) = 0;
  virtual void list_arenas(Caller caller, std::uint32_t page_size, std::string page_token,
                           Done<Page<ArenaFacts>> done) = 0;
  virtual void delete_arena(Caller caller, std::string name, bool force, Done<Nothing> done) = 0;

  virtual void open_session(Caller caller, OpenSessionArgs args, Done<OpenedSession> done) = 0;
  virtual void attach_arena(SessionKey key, std::string arena, AttachMode mode,
                            Done<AttachedArena> done) = 0;
  // `epoch`: of the session in this arena. `give_up_blocks`: also when the session holds blocks.
  virtual void detach_arena(SessionKey key, ArenaId arena_id, LeaseEpoch epoch, bool give_up_blocks,
                            Done<GivenBack> done) = 0;
  virtual void close_session(SessionKey key, Done<GivenBack> done) = 0;
  virtual void list_sessions(Caller caller, std::uint32_t page_size, std::string page_token,
                             Done<Page<SessionFacts>> done) = 0;
  // A KeepAlive stream came (done: whether the session lives) and went. `on_event` is called on the
  // control thread; the stream's owner must unregister with keepalive_lost.
  virtual void keepalive_opened(Caller caller, SessionKey key, std::uint64_t stream_id,
                                OnSessionEvent on_event, Done<Nothing> done) = 0;
  virtual void keepalive_lost(SessionKey key, std::uint64_t stream_id) = 0;
  // A peer has returned what it can: its answer to SessionEvent::kTrim.
  virtual void keepalive_trimmed(SessionKey key, std::uint64_t round, ArenaId arena_id) = 0;

  virtual void get_stats(Caller caller, std::string arena, Done<DaemonStats> done) = 0;
  virtual void slab_info(Caller caller, std::string arena, Done<std::vector<SlabInfoRow>> done) = 0;
  virtual void list_holders(Caller caller, std::string arena, std::uint32_t limit,
                            Done<Holders> done) = 0;
  virtual void audit(Caller caller, std::string arena, Done<AuditResult> done) = 0;
  virtual void get_tunables(Done<std::vector<TunableFacts>> done) = 0;
  virtual void set_tunables(Caller caller, std::vector<std::pair<std::string, std::string>> values,
                            Done<std::vector<TunableFacts>> done) = 0;
  // Ends a session of anybody, although its process lives. For administrators.
  virtual void evict_session(Caller caller, SessionId session, Done<GivenBack> done) = 0;
  // Shards, peers and the arenas themselves give memory back to the system. An empty name means all
  // arenas. For administrators.
  virtual void trim(Caller caller, std::string arena, Done<TrimFacts> done) = 0;
  // Changes the limit of a living session. 0, or more than the daemon's limit: the daemon's limit.
  // For administrators.
  virtual void limit_session(Caller caller, SessionId session, std::uint64_t limit_bytes,
                             Done<SessionLimitFacts> done) = 0;
  virtual bool draining() const = 0;  // any thread
};

}  // namespace arenad::server
