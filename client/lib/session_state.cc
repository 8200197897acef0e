#include "client/lib/session_state.h"

#include <algorithm>
#include <ranges>
#include <utility>

#include "client/lib/attachment.h"

namespace arenad::client {

namespace {

// Whether a resume's failure ends the attachment: the daemon answered, and the answer is about the
// arena or about what the session believes of it.
bool gives_up(const Status& status) {
  switch (status.reason) {
    case Error::kNone:
    case Error::kDraining:
    case Error::kStaleEpoch:
    case Error::kUnknownSession:
    case Error::kEvicted: return false;
    default: return true;
  }
}

Status deleted_status(const std::string& arena) {
  return {Code::kNotFound, Error::kUnknownArena,
          "arena '" + arena +
              "' was deleted while this session was attached: create it again, and "
              "attach to the new one"};
}

Status detached_status(const std::string& arena) {
  return {Code::kFailedPrecondition, Error::kNotAttached,
          "this session has detached from arena '" + arena + "': attach to it again"};
}

// The daemon's answer names the arena by its id, or not at all.
Status named(Status status, const std::string& arena) {
  if (status.message.find("'" + arena + "'") == std::string::npos)
    status.message = "arena '" + arena + "': " + status.message;
  return status;
}

}  // namespace

SessionState::SessionState(std::shared_ptr<ClientState> of, v1::SessionKey opened)
    : client(std::move(of)), key(std::move(opened)), lease_thread_([this] { mend(); }) {}

SessionState::~SessionState() = default;

Status SessionState::start() { return keep_alive_.start(*client, key, *this); }

Status SessionState::usable() const {
  if (forked()) return forked_status();
  switch (gate.standing()) {
    case SessionStanding::kLost: return lost_status();
    case SessionStanding::kEvicted: return evicted_status();
    case SessionStanding::kClosed: return closed_status();
    default: return {};
  }
}

std::vector<SessionState::Peer> SessionState::peers() const {
  const std::lock_guard lock(mutex_);
  return peers_;
}

std::shared_ptr<Attachment> SessionState::peer(std::string_view arena) const {
  for (const Peer& p : peers())
    if (p.attachment->arena.name == arena) return p.attachment;
  return nullptr;
}

SessionState::Attaching::Attaching(SessionState& session) : session_(session) {
  const std::lock_guard lock(session_.mutex_);
  ++session_.attaching_;
}

SessionState::Attaching::~Attaching() {
  const std::lock_guard lock(session_.mutex_);
  if (--session_.attaching_ == 0) session_.deleted_since_.clear();
}

void SessionState::add(const std::shared_ptr<Attachment>& attachment) {
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(others_, [](const auto& kept) { return kept.expired(); });
    others_.push_back(attachment);
  }
  end_if_deleted(*attachment);
}

Status SessionState::add_peer(std::shared_ptr<Attachment> attachment, DaemonLeases& leases) {
  if (Status s = lease_thread_.add(attachment->pool); !s.ok()) return s;
  {
    const std::lock_guard lock(mutex_);
    peers_.push_back({attachment, &leases});
  }
  end_if_deleted(*attachment);
  return {};
}

void SessionState::end_if_deleted(const Attachment& attachment) {
  bool is_deleted = false;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, name] : deleted_since_)
      is_deleted = is_deleted || (id == attachment.arena.id && name == attachment.arena.name);
  }
  if (is_deleted) end_attachments(attachment.arena.id, deleted_status(attachment.arena.name));
}

void SessionState::deleted(ArenaId arena, const std::string& name) {
  {
    const std::lock_guard lock(mutex_);
    if (attaching_ != 0) deleted_since_.emplace_back(arena, name);
  }
  // An id may be another arena's later. Its name tells.
  for (const auto& attachment : attachments(arena))
    if (attachment->arena.name == name) return end_attachments(arena, deleted_status(name));
}

std::vector<std::shared_ptr<Attachment>> SessionState::attachments(ArenaId arena) const {
  std::vector<std::shared_ptr<Attachment>> found;
  const std::lock_guard lock(mutex_);
  for (const Peer& p : peers_)
    if (p.attachment->arena.id == arena) found.push_back(p.attachment);
  for (const auto& kept : others_)
    if (auto other = kept.lock(); other && other->arena.id == arena)
      found.push_back(std::move(other));
  return found;
}

void SessionState::end_attachments(ArenaId arena, const Status& why) {
  for (const Peer& p : peers()) {
    if (p.attachment->arena.id != arena) continue;
    remove_peer(*p.attachment);
    p.leases->give_up(why);
    p.attachment->end(why);
  }
  std::vector<std::shared_ptr<Attachment>> ended;  // destroyed after the lock is gone
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(others_, [&](const auto& kept) {
      auto other = kept.lock();
      if (!other || other->arena.id != arena) return !other;
      ended.push_back(std::move(other));
      return true;
    });
  }
  for (const auto& other : ended) other->end(why);
}

Answer<GivenBack> SessionState::detach(const std::shared_ptr<Attachment>& attachment,
                                       bool give_up_blocks) {
  const std::lock_guard one_at_a_time(detach_mutex_);
  if (Status s = attachment->usable(); !s.ok()) return s;
  const ArenaInfo& arena = attachment->arena;
  GivenBack given;
  Status status;
  if (attachment->pool) {
    const auto all = peers();
    const auto p = std::ranges::find(all, attachment, &Peer::attachment);
    if (p == all.end()) return named(detached_status(arena.name), arena.name);
    status = detach_peer(*p, give_up_blocks, given);
  } else {
    status = call_detach(arena.name, {arena.id, attachment->epoch, give_up_blocks}, given);
  }
  if (status.reason == Error::kUnknownArena) status = deleted_status(arena.name);
  if (status.reason == Error::kNotAttached) status = {};  // a call before this one has worked
  if (status.ok() || status.reason == Error::kUnknownArena) {
    const auto ended = attachments(arena.id);
    end_attachments(arena.id, status.ok() ? detached_status(arena.name) : status);
    // An attach waits for this detach (settle_detach), so no call of theirs reaches its attachment.
    for (const auto& other : ended) other->await_calls();
  }
  if (!status.ok()) return status;
  return given;
}

// While the pool is paused the daemon decides. The pool goes on, or ends, by what it has answered.
// Without an answer nobody may touch a slab before a resume has told whether they are leased still.
Status SessionState::detach_peer(const Peer& p, bool give_up_blocks, GivenBack& given) {
  PeerPool& pool = *p.attachment->pool;
  pool.pause();
  Status status = p.leases->detach(give_up_blocks, given);
  // A daemon that has restarted wants a resume first.
  if (status.reason == Error::kStaleEpoch) {
    status = resume(p);
    pool.pause();  // the resume has opened a pool that was suspended
    if (status.ok()) status = p.leases->detach(give_up_blocks, given);
  }
  const bool unanswered = status.reason == Error::kNone && !status.ok();
  if (unanswered) {
    Status attached = resume(p);
    if (gives_up(attached)) return attached;
    if (!attached.ok()) {
      p.attachment->suspend_pool(away_status());
      return status;
    }
  }
  if (!status.ok()) pool.resume();  // nothing when the arena or the session ended meanwhile
  return status;
}

Status SessionState::call_detach(const std::string& arena, const Detach& detach, GivenBack& given) {
  v1::DetachArenaRequest request;
  *request.mutable_session() = key;
  request.set_arena_id(detach.arena.value);
  request.set_epoch(detach.epoch);
  request.set_give_up_blocks(detach.give_up_blocks);
  v1::DetachArenaResponse response;
  Status status =
      client->call(client->sessions(), &v1::Sessions::Stub::DetachArena, request, response);
  given = {response.blocks_given_back(), response.bytes_given_back()};
  if (status.reason == Error::kNone && !status.ok())
    unanswered_[arena] = detach;
  else
    unanswered_.erase(arena);
  return status;
}

Status SessionState::settle_detach(std::string_view arena) {
  const std::lock_guard one_at_a_time(detach_mutex_);
  const auto found = unanswered_.find(arena);
  if (found == unanswered_.end()) return {};
  const Detach detach = found->second;
  GivenBack given;
  const std::string name(arena);
  Status status = call_detach(name, detach, given);
  if (status.reason == Error::kNone && !status.ok()) return status;
  if (status.ok() || status.reason == Error::kNotAttached)
    end_attachments(detach.arena, detached_status(name));
  return {};
}

void SessionState::close_peers(SessionStanding standing) {
  gate.set(standing);
  const Status why = usable();
  for (const Peer& p : peers()) p.attachment->close_pool(why);
}

void SessionState::stop() {
  lease_thread_.stop();
  keep_alive_.stop();
  std::vector<Peer> gone;  // destroyed after the lock is gone: they hold the session, too
  const std::lock_guard lock(mutex_);
  gone.swap(peers_);
}

void SessionState::broken() { gate.set(SessionStanding::kReconnecting); }

// What keeps one arena from resuming does not keep the session from it: the lease thread tries the
// arena again.
Status SessionState::back() {
  for (const Peer& p : peers())
    if (Status s = resume(p); s.reason == Error::kUnknownSession || s.reason == Error::kEvicted)
      return s;
  gate.set(SessionStanding::kConnected);
  return {};
}

Status SessionState::resume(const Peer& p) {
  if (Status s = usable(); !s.ok()) return s;
  Status status = p.leases->resume();
  if (p.leases->undecided()) status = decide(p, status);
  if (gives_up(status))
    end_attachments(p.attachment->arena.id, named(status, p.attachment->arena.name));
  if (status.ok()) {
    p.leases->decided();
    p.attachment->pool->reopen();  // after a detach without an answer
  }
  return status;
}

Status SessionState::decide(const Peer& p, Status resumed) {
  if (resumed.reason == Error::kNotAttached) {
    // Perhaps only as long as the daemon works on the detach. Another one waits for its end. It is
    // of an epoch that never began, so it does nothing else.
    GivenBack given;
    Status after = p.leases->detach(false, given);
    if (after.ok() || after.reason == Error::kNotAttached) return resumed;
    if (after.reason == Error::kNone) return after;
    resumed = p.leases->resume();
  }
  // A daemon that died in the middle has taken slabs over. So it had decided: nothing was held, or
  // what was held was given up.
  return p.leases->lost_leases() ? p.leases->leave() : resumed;
}

void SessionState::remove_peer(const Attachment& attachment) {
  lease_thread_.remove(*attachment.pool);
  const std::lock_guard lock(mutex_);
  std::erase_if(peers_, [&](const Peer& p) { return p.attachment.get() == &attachment; });
}

void SessionState::lost() { close_peers(SessionStanding::kLost); }

void SessionState::evicted() { close_peers(SessionStanding::kEvicted); }

void SessionState::trim(ArenaId arena) {
  for (const Peer& p : peers())
    if (p.attachment->arena.id == arena) p.attachment->pool->trim();
}

// A call ended without an answer while the stream stayed up: the daemon may have leased slabs that
// the session does not know.
void SessionState::mend() {
  if (gate.standing() != SessionStanding::kConnected) return;
  for (const Peer& p : peers())
    if (p.leases->wants_resume()) (void)resume(p);
}

}  // namespace arenad::client
