#include "server/core/control/handoff_desk.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "server/core/api/clock.h"
#include "server/core/api/text.h"
#include "server/core/control/liveness.h"
#include "server/core/state/attach_mark.h"

namespace arenad::server {
namespace {

UniqueFd opened_anew(int fd, int flags) {
  return UniqueFd(::open(fmt::format("/proc/self/fd/{}", fd).c_str(), flags | O_CLOEXEC));
}

}  // namespace

HandoffGrant HandoffDesk::redeem(std::string_view token, Answer<CallerProcess> caller) {
  HandoffGrant grant;
  if (core_.thread.stopping()) {
    grant.failure = refuse(Error::kDraining, "nothing is handed out");
    return grant;
  }
  const auto use = core_.tokens.redeem(token, now_ns());
  SessionRecord* const session = use ? core_.sessions.find(use->session) : nullptr;
  if (session == nullptr || session->reaping) {
    grant.failure = refuse(
        Error::kBadToken,
        fmt::format("the token is forged, used, or older than {} s, or its session has ended "
                    "(a new session has {} ms for its KeepAlive stream or handoff)",
                    kTokenLifeMs / 1000,
                    core_.shared.tunables.keepalive_grace_ms.load(std::memory_order_relaxed)));
    return grant;
  }
  if (!caller.ok()) {
    grant.failure = caller.error();
    return grant;
  }
  caller->is_admin = core_.shared.root_is_admin && caller->uid == 0;
  grant.failure = check(*session, *caller);
  if (grant.failure.error == Error::kNone && use->arena != kNoArena)
    grant.failure = open_arena(*use, *caller, grant);
  if (grant.failure.error == Error::kNone) bind(*session, *caller);
  return grant;
}

Failure HandoffDesk::check(const SessionRecord& session, const CallerProcess& caller) const {
  if (!session.bound || session.process.may_be_same_process(caller.identity)) return {};
  return refuse(Error::kNotPermitted,
                fmt::format("session {} is bound to process {}, process {} must open one of its "
                            "own",
                            session.key.id.value, session.pid, caller.pid));
}

Failure HandoffDesk::open_arena(const TokenUse& use, const CallerProcess& caller,
                                HandoffGrant& grant) {
  const ArenaRecord* const record = core_.arenas.find(use.arena);
  if (record == nullptr) return refuse(Error::kUnknownArena, "the arena of this token was deleted");
  const ArenaAccess& access = record->access;
  const bool reader = use.mode == AttachMode::kReader;
  if (!(reader ? caller.may_read(access) : caller.may_write(access))) {
    return refuse(
        Error::kNotPermitted,
        fmt::format("process {} of uid {} and gid {} may not attach to arena '{}' (owner {}, group "
                    "{}, mode 0{:03o}) as {}",
                    caller.pid, caller.uid, caller.gid, record->name(), access.uid, access.gid,
                    access.mode & 0777, mode_name(use.mode)));
  }
  if (Failure failure = open_files(*record, use, grant); failure.error != Error::kNone)
    return failure;
  const Arena& arena = *record->state->arena;
  grant.arena_id = use.arena;
  grant.mode = use.mode;
  grant.data_bytes = arena.capacity_bytes();
  if (grant.control)
    grant.control_bytes = ControlView::file_bytes(grant.data_bytes, arena.options().max_heaps);
  return {};
}

// A reader gets an open file description of its own, which is read-only. The file's mode is 0600,
// so the reader cannot open it again for writing. The others get descriptions of their own, too,
// because the attach mark is a lock on the description, and because the kernel counts descriptions
// (Remains).
Failure HandoffDesk::open_files(const ArenaRecord& record, const TokenUse& use,
                                HandoffGrant& grant) const {
  const Arena& arena = *record.state->arena;
  const bool reader = use.mode == AttachMode::kReader;
  const bool peer = use.mode == AttachMode::kPeer;
  grant.data = opened_anew(arena.data_fd(), reader ? O_RDONLY : O_RDWR);
  if (grant.data && !set_attach_mark(grant.data.get(), use.session)) grant.data = UniqueFd();
  if (grant.data && peer) grant.control = opened_anew(arena.control_fd(), O_RDWR);
  if (grant.data && (!peer || grant.control)) return {};
  return {Error::kMachineFull,
          fmt::format("descriptor of arena '{}': {}: raise the daemon's open file limit, and give "
                      "it /proc",
                      record.name(), std::strerror(errno))};
}

void HandoffDesk::bind(SessionRecord& session, CallerProcess& caller) {
  if (session.watched) {
    // Another process than the first one, perhaps: the session lives as long as one of them.
    if (!caller.identity.known()) liveness_.watch_also(session.key.id, std::move(caller.pidfd));
    return;
  }
  core_.store.bind(session.key.id, mark_of(caller), caller.uid, caller.gid);
  session.bound = session.watched = true;
  session.process = caller.identity;
  session.pid = caller.pid;
  session.uid = caller.uid;
  liveness_.watch(session.key.id, std::move(caller.pidfd));
}

}  // namespace arenad::server
