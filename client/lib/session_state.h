// SessionState: what everything that was made from one session shares. Private: includes gRPC
// headers.
//
// Purpose: the session's key, its gate, its peer attachments, and its answers to what the KeepAlive
//   stream tells: the daemon is away, is back, does not know the session, or needs memory.
// Invariants: no call is made for a session that was closed. The daemon has given back what the
//   session held, and the key may mean nothing any more.
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
  SessionState(std::shared_ptr<ClientState> of, v1::SessionKey opened);
  ~SessionState() override;

  const std::shared_ptr<ClientState> client;
  const v1::SessionKey key;
  DaemonGate gate;

  SessionId id() const { return {static_cast<std::uint16_t>(key.id())}; }

  Status start();  // the KeepAlive stream
  bool serving() const {
    return gate.standing() == SessionStanding::kConnected && keep_alive_.serving();
  }
  // Errors: FORKED, or UNKNOWN_SESSION when the session is lost or closed.
  Status usable() const;

  // The peer attachment to that arena, or null.
  std::shared_ptr<Attachment> peer(std::string_view arena) const;
  // Keeps a peer attachment until the session is closed, and gives it to the lease thread.
  // `leases` belongs to the attachment's pool.
  Status add_peer(std::shared_ptr<Attachment> attachment, DaemonLeases& leases);
  void wake_lease_thread() { lease_thread_.wake(); }

  // The two halves of a close in this process. close_peers comes before the call to the daemon: it
  // keeps all threads out of the heaps. stop comes after the call: it ends the session's threads.
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
  void trim(ArenaId arena) override;
  void mend();
  // Resumes one arena. An arena that the daemon does not know any more is given up.
  Status resume(const Peer& p);
  void remove_peer(const Attachment& attachment);
  std::vector<Peer> peers() const;

  KeepAlive keep_alive_;
  LeaseThread lease_thread_;
  mutable std::mutex mutex_;
  std::vector<Peer> peers_;
};

}  // namespace arenad::client
