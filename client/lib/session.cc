#include "client/lib/session.h"

#include "client/lib/attachment.h"
#include "client/lib/handoff.h"

namespace arenad::client {

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
  v1::OpenSessionResponse opened;
  if (Status s = shared.call(shared.sessions(), &v1::Sessions::Stub::OpenSession, request, opened); !s.ok()) return s;

  Session session;   // from here on closed by its destructor when a step fails
  session.state_ = std::make_shared<SessionState>(client.state_, opened.session());
  if (Status s = session.state_->keep_alive.start(shared.sessions(), opened.session(), shared.call_timeout_ms()); !s.ok()) return s;
  if (options.bind_to_process) {
    const auto bound = hand_over(shared.topology().handoff_path, opened.handoff_token(), shared.call_timeout_ms());
    if (!bound) return bound.error();
  }
  return session;
}

std::uint32_t Session::id() const { return state_ ? state_->key.id() : 0; }

Answer<ArenaHandle> Session::attach(std::string_view arena, AttachMode mode, const AttachOptions& options) {
  if (!state_) return not_attached();
  ClientState& client = *state_->client;
  const auto shard = client.choose_shard(options.shard);
  if (!shard) return shard.error();

  v1::AttachArenaRequest request;
  *request.mutable_session() = state_->key;
  request.set_arena(std::string(arena));
  request.set_mode(static_cast<v1::AttachMode>(mode));
  v1::AttachArenaResponse response;
  if (Status s = client.call(client.sessions(), &v1::Sessions::Stub::AttachArena, request, response); !s.ok()) return s;

  Mapping mapping;
  if (mode != AttachMode::kRemote) {
    const auto handed = hand_over(client.topology().handoff_path, response.handoff_token(), client.call_timeout_ms());
    if (!handed) return handed.error();
    if (!handed->data)
      return Status{Code::kInternal, Error::kInternal, "the handoff carried no descriptor; report this as a bug of arenad"};
    auto mapped = Mapping::map(handed->data.get(), handed->data_bytes, mode == AttachMode::kWriter);
    if (!mapped) return mapped.error();
    mapping = std::move(*mapped);
  }
  ArenaHandle handle;
  handle.attachment_ = std::make_shared<Attachment>(state_, from_wire(response.arena()), mode, std::move(mapping));
  handle.shard_ = *shard;
  return handle;
}

Answer<GivenBack> Session::close() {
  if (!state_) return not_attached();
  const std::shared_ptr<SessionState> state = std::move(state_);
  state->closed.store(true, std::memory_order_release);   // pairs with Attachment::closed
  v1::CloseSessionRequest request;
  *request.mutable_session() = state->key;
  v1::CloseSessionResponse response;
  const Status status = state->client->call(state->client->sessions(), &v1::Sessions::Stub::CloseSession, request, response);
  state->keep_alive.stop();
  if (!status.ok()) return status;
  return GivenBack{response.blocks_given_back(), response.bytes_given_back()};
}

bool Session::serving() const { return state_ && state_->keep_alive.serving(); }

bool Session::alive() const { return state_ && state_->keep_alive.alive(); }

}  // namespace arenad::client
