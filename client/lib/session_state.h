// SessionState: what everything made from one session shares. Private: includes gRPC headers.
//
// Purpose: the session's key and liveness, its gate, its peer attachments, and what happens when
// the daemon comes back, does not
//   know the session any more, or asks for memory.
// Invariants: once closed no call is made for the session any more: all it held is given back by
// the daemon, and its key may mean
//   nothing, or be refused.
// Threads: any; close once. fork: pinned in the child. Crash: see session.h.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "client/lib/client_state.h"
#include "client/lib/daemon_gate.h"
#include "client/lib/daemon_leases.h"
#include "client/lib/keep_alive.h"
#include "client/lib/lease_thread.h"

namespace arenad::client {

class Attachment;

class SessionState final : public Pinned, private KeepAlive::Listener {
 public:
  SessionState(std::shared_ptr<ClientState> client, v1::SessionKey key);
  ~SessionState() override;

  const std::shared_ptr<ClientState> client;
  const v1::SessionKey key;
  DaemonGate gate;

  Status start();  // the KeepAlive stream
  bool serving() const {
    return gate.standing() == SessionStanding::kConnected && keep_alive_.serving();
  }
  // FORKED, or UNKNOWN_SESSION when it is lost or closed.
  Status usable() const;

  // The peer attachment to that arena, when there is one.
  std::shared_ptr<Attachment> peer(std::string_view arena) const;
  // Takes it in: it lives until the session is closed, and is looked after until then. `leases`
  // belongs to its pool.
  Status add_peer(std::shared_ptr<Attachment> attachment, DaemonLeases& leases);
  void wake_lease_thread() { lease_thread_.wake(); }

  // Stops everything of it in this process; first half before the daemon is told, second after.
  void close_peers(SessionStanding standing);
  void stop();

 private:
  struct Peer {
    std::shared_ptr<Attachment> attachment;
    DaemonLeases* leases;
  };
  void broken() override;
  Status back() override;
  void lost() override;
  void trim(std::uint32_t arena_id) override;
  void mend();
  Status resume();
  std::vector<Peer> peers() const;

  KeepAlive keep_alive_;
  LeaseThread lease_thread_;
  mutable std::mutex mutex_;
  std::vector<Peer> peers_;
};

}  // namespace arenad::client
