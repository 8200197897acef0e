// SessionState: what everything that was made from one session shares. Private: includes gRPC
// headers.
//
// Purpose: the session's key, its gate, its attachments, and its answers to what the KeepAlive
//   stream tells: the daemon is away, is back, does not know the session, needs memory, or has
//   deleted an arena.
// Invariants: no call is made for a session that was closed. The daemon has given back what the
//   session held, and the key may mean nothing any more.
//   An attachment whose arena is gone, or that was detached, has ended: the session forgets it. The
//   arena may be deleted in the middle of an attach. Then the attachment ends when it is added.
// Threads: any; close once. fork: pinned in the child. Crash: see session.h.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
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
  // Errors: FORKED; UNKNOWN_SESSION when the session is lost or closed; EVICTED.
  Status usable() const;

  // The peer attachment to that arena, or null.
  std::shared_ptr<Attachment> peer(std::string_view arena) const;
  // Held by a thread from before its AttachArena until the attachment was added.
  class Attaching {
   public:
    explicit Attaching(SessionState& session);
    ~Attaching();
    Attaching(const Attaching&) = delete;
    Attaching& operator=(const Attaching&) = delete;

   private:
    SessionState& session_;
  };
  // Knows an attachment as remote, reader or writer, as long as handles and Blocks hold it.
  void add(const std::shared_ptr<Attachment>& attachment);
  // Keeps a peer attachment until it ends or the session is closed, and gives it to the lease
  // thread. `leases` belongs to the attachment's pool.
  Status add_peer(std::shared_ptr<Attachment> attachment, DaemonLeases& leases);
  // Ends the attachment, see ArenaHandle::detach.
  Answer<GivenBack> detach(const std::shared_ptr<Attachment>& attachment, bool give_up_blocks);
  // A detach from that arena was not answered: makes it again. Before the arena is attached again,
  // so that the new attachment is not the one that the daemon ends.
  Status settle_detach(std::string_view arena);
  // The arena of that id was deleted: its attachments end.
  void deleted(ArenaId arena, const std::string& name) override;
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
  void evicted() override;
  void trim(ArenaId arena) override;  // `deleted` is above
  void mend();
  // Resumes one arena. An arena that the daemon does not know any more is given up.
  Status resume(const Peer& p);
  // What has become of a detach without an answer, when a resume was answered with `resumed`.
  // NOT_ATTACHED: it has worked. OK: it has not, and never will.
  Status decide(const Peer& p, Status resumed);
  void remove_peer(const Attachment& attachment);
  std::vector<Peer> peers() const;
  // All attachments to the arena that have not ended.
  std::vector<std::shared_ptr<Attachment>> attachments(ArenaId arena) const;
  // Ends them, and forgets them.
  void end_attachments(ArenaId arena, const Status& why);
  void end_if_deleted(const Attachment& attachment);
  Status detach_peer(const Peer& p, bool give_up_blocks, GivenBack& given);
  struct Detach {
    ArenaId arena;
    std::uint64_t epoch = 0;
    bool give_up_blocks = false;
  };
  Status call_detach(const std::string& arena, const Detach& detach, GivenBack& given);

  KeepAlive keep_alive_;
  LeaseThread lease_thread_;
  mutable std::mutex mutex_;
  std::vector<Peer> peers_;                                     // under mutex_
  std::vector<std::weak_ptr<Attachment>> others_;               // under mutex_
  std::uint32_t attaching_ = 0;                                 // under mutex_
  std::vector<std::pair<ArenaId, std::string>> deleted_since_;  // under mutex_: while attaching_
  std::mutex detach_mutex_;                                     // held by the thread that detaches
  std::map<std::string, Detach, std::less<>> unanswered_;       // under detach_mutex_
};

}  // namespace arenad::client
