#include "client/lib/session_state.h"

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
    case Error::kUnknownSession: return false;
    default: return true;
  }
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

Status SessionState::add_peer(std::shared_ptr<Attachment> attachment, DaemonLeases& leases) {
  if (Status s = lease_thread_.add(attachment->pool); !s.ok()) return s;
  const std::lock_guard lock(mutex_);
  peers_.push_back({std::move(attachment), &leases});
  return {};
}

void SessionState::close_peers(SessionStanding standing) {
  gate.set(standing);
  const Status why = standing == SessionStanding::kLost ? lost_status() : closed_status();
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
    if (Status s = resume(p); s.reason == Error::kUnknownSession) return s;
  gate.set(SessionStanding::kConnected);
  return {};
}

Status SessionState::resume(const Peer& p) {
  if (Status s = usable(); !s.ok()) return s;
  Status status = p.leases->resume();
  if (gives_up(status)) {
    remove_peer(*p.attachment);
    p.leases->give_up(status);
    p.attachment->close_pool(status);
  }
  return status;
}

void SessionState::remove_peer(const Attachment& attachment) {
  lease_thread_.remove(*attachment.pool);
  const std::lock_guard lock(mutex_);
  std::erase_if(peers_, [&](const Peer& p) { return p.attachment.get() == &attachment; });
}

void SessionState::lost() { close_peers(SessionStanding::kLost); }

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
