#include "arenad/client.h"

#include "client/lib/client_state.h"

namespace arenad::client {

Answer<Client> Client::connect(std::string_view target, const ConnectOptions& options) {
  if (forked()) return forked_status();
  watch_forks();
  Client client;
  client.state_ = std::make_shared<ClientState>(parse_target(target), options);
  if (Status status = client.state_->connect(); !status.ok()) return status;
  return client;
}

const Topology& Client::topology() const {
  static const Topology none;
  return state_ ? state_->topology() : none;
}

std::uint64_t Client::calls_made() const { return state_ ? state_->calls_made() : 0; }

Answer<ArenaInfo> Client::create_arena(std::string_view name, const ArenaOptions& options) const {
  if (!state_) return not_attached();
  v1::CreateArenaRequest request;
  request.set_name(std::string(name));
  request.set_capacity_bytes(options.capacity_bytes);
  request.set_holder_only(options.holder_only);
  request.set_pinned(options.pinned);
  request.set_lock(options.lock);
  request.set_zero(options.zero);
  request.set_scrub(options.scrub);
  request.set_huge_pages(options.huge_pages);
  request.set_numa(options.numa);
  request.set_debug(options.debug);
  if (options.set_access) {
    request.mutable_access()->set_uid(options.access.uid);
    request.mutable_access()->set_gid(options.access.gid);
    request.mutable_access()->set_mode(options.access.mode);
  }
  v1::Arena arena;
  if (Status s = state_->call(state_->arenas(), &v1::Arenas::Stub::CreateArena, request, arena);
      !s.ok())
    return s;
  return from_wire(arena);
}

Answer<ArenaInfo> Client::get_arena(std::string_view name) const {
  if (!state_) return not_attached();
  v1::GetArenaRequest request;
  request.set_name(std::string(name));
  v1::Arena arena;
  if (Status s = state_->call(state_->arenas(), &v1::Arenas::Stub::GetArena, request, arena);
      !s.ok())
    return s;
  return from_wire(arena);
}

Answer<std::vector<ArenaInfo>> Client::list_arenas() const {
  if (!state_) return not_attached();
  std::vector<ArenaInfo> all;
  v1::ListArenasRequest request;
  do {
    v1::ListArenasResponse page;
    if (Status s = state_->call(state_->arenas(), &v1::Arenas::Stub::ListArenas, request, page);
        !s.ok())
      return s;
    for (const v1::Arena& arena : page.arenas()) all.push_back(from_wire(arena));
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return all;
}

Status Client::delete_arena(std::string_view name, bool force) const {
  if (!state_) return not_attached();
  v1::DeleteArenaRequest request;
  request.set_name(std::string(name));
  request.set_force(force);
  v1::DeleteArenaResponse response;
  return state_->call(state_->arenas(), &v1::Arenas::Stub::DeleteArena, request, response);
}

Status Client::health() const {
  if (!state_) return not_attached();
  ::grpc::health::v1::HealthCheckRequest request;
  ::grpc::health::v1::HealthCheckResponse response;
  if (Status s = state_->call(state_->health(), &::grpc::health::v1::Health::Stub::Check, request,
                              response);
      !s.ok())
    return s;
  if (response.status() == ::grpc::health::v1::HealthCheckResponse::SERVING) return {};
  return {Code::kUnavailable, Error::kNone,
          "the daemon answers but is " +
              ::grpc::health::v1::HealthCheckResponse::ServingStatus_Name(response.status()) +
              "; it is starting or draining"};
}

}  // namespace arenad::client
