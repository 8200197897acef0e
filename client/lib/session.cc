#include "arenad/session.h"

#include <utility>

#include "client/lib/attachment.h"
#include "client/lib/handoff.h"
#include "client/lib/process_barrier.h"

namespace arenad::client {
namespace {

Status no_barrier_status() {
  return {Code::kFailedPrecondition, Error::kModeUnavailable,
          "a peer needs the system call membarrier, and the kernel refuses it in this process. "
          "Allow it in the seccomp profile, or attach as writer or remote"};
}

}  // namespace

Session& Session::operator=(Session&& other) noexcept {
  if (this == &other) return *this;
  if (state_) (void)close();
  state_ = std::move(other.state_);
  return *this;
}

Session::~Session() {
  if (state_) (void)close();
}

Answer<Session> Session::open(const Client& client, const SessionOptions& options) {
  if (!client.state_) return not_attached();
  ClientState& shared = *client.state_;
  v1::OpenSessionRequest request;
  request.set_name(options.name);
  request.set_limit_bytes(options.limit_bytes);
  request.set_reserve_bytes(options.reserve_bytes);
  v1::OpenSessionResponse opened;
  if (Status s = shared.call(shared.sessions(), &v1::Sessions::Stub::OpenSession, request, opened);
      !s.ok())
    return s;

  Session session;  // its destructor closes it when a step fails
  session.state_ = std::make_shared<SessionState>(client.state_, opened.session());
  if (Status s = session.state_->start(); !s.ok()) return s;
  if (options.bind_to_process) {
    const auto bound =
        hand_over(shared.topology().handoff_path, opened.handoff_token(), shared.call_timeout_ms());
    if (!bound) return bound.error();
  }
  return session;
}

SessionId Session::id() const { return state_ ? state_->id() : SessionId{}; }

Answer<ArenaHandle> Session::attach(std::string_view arena, AttachMode mode,
                                    const AttachOptions& options) {
  if (!state_) return not_attached();
  if (Status s = state_->usable(); !s.ok()) return s;
  ClientState& client = *state_->client;
  const auto shard = client.choose_shard(options.shard);
  if (!shard) return shard.error();
  if (auto peer = state_->peer(arena)) {
    // The arena may have been deleted, and another one made with its name.
    v1::GetArenaRequest named;
    named.set_name(std::string(arena));
    v1::Arena now;
    Status s = client.call(client.arenas(), &v1::Arenas::Stub::GetArena, named, now);
    if (s.ok() && now.id() == peer->arena.id.value) {
      if (mode == AttachMode::kPeer) return ArenaHandle(std::move(peer), *shard);
      return Status{
          Code::kFailedPrecondition, Error::kNone,
          "this session is a peer of the arena, and has heaps in it; detach first, or open another "
          "session for another mode"};
    }
    if (s.ok() || s.reason == Error::kUnknownArena)
      state_->deleted(peer->arena.id, peer->arena.name);
    if (!s.ok()) return s;
  }
  if (Status s = state_->settle_detach(arena); !s.ok()) return s;

  if (mode == AttachMode::kPeer && !can_barrier_everywhere()) return no_barrier_status();
  const SessionState::Attaching attaching(*state_);
  v1::AttachArenaRequest request;
  *request.mutable_session() = state_->key;
  request.set_arena(std::string(arena));
  request.set_mode(static_cast<v1::AttachMode>(mode));
  v1::AttachArenaResponse response;
  if (Status s =
          client.call(client.sessions(), &v1::Sessions::Stub::AttachArena, request, response);
      !s.ok())
    return s;
  const ArenaInfo info = from_wire(response.arena());
  const auto add = [&](Mapping mapping) {
    auto attachment =
        std::make_shared<Attachment>(state_, info, mode, response.epoch(), std::move(mapping));
    state_->add(attachment);
    return ArenaHandle(std::move(attachment), *shard);
  };
  if (mode == AttachMode::kRemote) return add(Mapping());

  auto handed =
      hand_over(client.topology().handoff_path, response.handoff_token(), client.call_timeout_ms());
  if (!handed) return handed.error();
  if (!handed->data || (mode == AttachMode::kPeer) != static_cast<bool>(handed->control))
    return Status{Code::kInternal, Error::kInternal,
                  "the handoff carried the wrong descriptors; report this as a bug of arenad"};
  if (mode == AttachMode::kPeer)
    return attach_peer(state_, info, response.epoch(), *shard, *handed);
  auto mapped = Mapping::map(handed->data.get(), handed->data_bytes, mode == AttachMode::kWriter);
  if (!mapped) return mapped.error();
  return add(std::move(*mapped));
}

Answer<ArenaHandle> Session::attach_peer(const std::shared_ptr<SessionState>& state,
                                         const ArenaInfo& info, std::uint64_t epoch, ShardId shard,
                                         HandedOver& handed) {
  const SessionId id = state->id();
  auto view = arenad::PeerArena::attach(handed.data.release(), handed.control.release(), id);
  if (!view) {
    const arenad::Failure& failure = view.error();
    return Status{static_cast<Code>(error_code(failure.error)), failure.error, failure.message};
  }
  auto leases = std::make_unique<DaemonLeases>(state->client, state->key, state->gate, info.id,
                                               shard, (*view)->unit_count(), epoch);
  DaemonLeases& kept = *leases;
  auto wake = [weak = std::weak_ptr<Pinned>(state->weak_from_this())] {
    if (const auto session = weak.lock()) static_cast<SessionState&>(*session).wake_lease_thread();
  };
  auto pool = std::make_shared<PeerPool>(std::move(*view), id, std::move(leases), std::move(wake));
  auto attachment = std::make_shared<Attachment>(state, info, std::move(pool));
  if (Status s = state->add_peer(attachment, kept); !s.ok()) return s;
  return ArenaHandle(std::move(attachment), shard);
}

Answer<GivenBack> Session::close() {
  if (!state_) return not_attached();
  if (forked()) return forked_status();
  const std::shared_ptr<SessionState> state = std::move(state_);
  state->close_peers(SessionStanding::kClosed);
  v1::CloseSessionRequest request;
  *request.mutable_session() = state->key;
  v1::CloseSessionResponse response;
  const Status status = state->client->call(state->client->sessions(),
                                            &v1::Sessions::Stub::CloseSession, request, response);
  state->stop();
  if (status.code == Code::kUnavailable || status.code == Code::kDeadlineExceeded)
    state->client->close_later(state->key);
  if (!status.ok()) return status;
  return GivenBack{response.blocks_given_back(), response.bytes_given_back()};
}

bool Session::serving() const { return state_ && state_->serving(); }

bool Session::alive() const { return standing() == SessionStanding::kConnected; }

SessionStanding Session::standing() const {
  return state_ && !forked() ? state_->gate.standing() : SessionStanding::kClosed;
}

}  // namespace arenad::client
