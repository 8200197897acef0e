// The daemon of a crash test: two shards with a heap each, attachments, leases, the ends of
// sessions, and what it does after its own death.
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <memory>
#include <utility>
#include <vector>

#include "allocator/check/verify.h"
#include "allocator/heap/heap.h"
#include "server/core/api/common.h"
#include "server/core/api/data_plane.h"
#include "server/core/shard/arena_state.h"
#include "server/core/shard/lease_grant.h"
#include "server/core/shard/lease_returns.h"
#include "server/core/shard/shard_account.h"
#include "server/core/shard/shard_tables.h"
#include "server/core/shard/shared_state.h"
#include "server/core/shard/turn.h"
#include "tests/crash/world.h"
#include "tests/support/refs.h"

namespace arenad::crash {
namespace {

using server::ArenaState;
using server::LeaseArgs;
using server::LeaseCaller;
using server::LeasedSlabs;
using server::LeaseEpoch;
using server::SessionKey;

constexpr SessionId kServer{kReaperSession};
constexpr ArenaId kArena{9};
constexpr std::uint64_t kSecret = 1;  // of all sessions: nobody guesses here

// The lease calls of one shard, and its heap.
struct Shard {
  Shard(ShardId id, server::SharedState& shared, std::shared_ptr<ArenaState> state)
      : tables(id),
        account(tables, shared.account),
        grant(tables, account, turn, shared),
        returns(tables, account, turn) {
    tables.add_arena(std::move(state));
  }
  server::ArenaSlot& slot() { return *tables.arena(kArena); }
  Heap& heap() { return slot().heap; }

  server::ShardTables tables;
  server::ShardAccount account;
  server::Turn turn;
  server::LeaseGrant grant;
  server::LeaseReturns returns;
};

class Daemon {
 public:
  Daemon(const Stage& stage, bool again, const std::vector<std::uint16_t>& dead)
      : stage_(stage), restarted_(again), random_(static_cast<std::uint64_t>(::getpid())) {
    for (Footprint& t : footprints_) t = Footprint(kUnits);
    if (again)
      open(dead);
    else
      create();
  }

  void serve() {
    std::uint64_t turns = 0;
    for (;;) {
      pollfd director{stage_.director.daemon, POLLIN, 0};
      if (::poll(&director, 1, 0) > 0) answer(director.fd);
      if (!serve_peers()) ::poll(&director, 1, 1);
      for (auto& shard : shards_) shard->turn.end([](server::ArenaSlot&) {});
      work(++turns);
    }
  }

 private:
  void create() {
    ArenaConfig options;
    options.name = "crash";
    options.id = kArena;
    options.capacity_bytes = kCapacity;
    options.max_heaps = kMaxHeaps;
    options.map_data = false;
    auto made = Arena::create(options, &stage_.files);
    if (!made.ok()) ::_exit(3);
    (*made)->finish_creation();
    make_shards(std::move(*made));
  }

  void open(const std::vector<std::uint16_t>& dead) {
    auto ledger = Ledger::open_file(stage_.files.ledger_path);
    if (!ledger.ok()) ::_exit(5);
    auto made = Arena::open(stage_.files, std::move(*ledger), false);
    if (!made.ok()) ::_exit(6);
    make_shards(std::move(*made));
    // Runs of the heaps that died with the daemon.
    std::vector<SlabIndex> orphans;
    arena().for_each_run([&](SlabIndex first, RunRecord run) {
      if (run.owner().lessee() == kNoSession) orphans.push_back(first);
    });
    ReapResult result;
    for (const SlabIndex first : orphans)
      heap(first.value).adopt(arena(), first, kNoSession, result);
    // A session whose end the dead daemon had begun is ended again: its leases may be adopted by
    // now, its words may not.
    for (const std::uint16_t session : dead) end_session({session});
    for (std::uint32_t i = 0; i < kPeers; ++i)
      if (is_attached(i)) admit({session_of(i)});
  }

  void make_shards(std::unique_ptr<Arena> made) {
    state_ = std::make_shared<ArenaState>(std::move(made));
    for (std::uint16_t i = 0; i < 2; ++i)
      shards_[i] = std::make_unique<Shard>(ShardId{i}, shared_, state_);
    for (std::uint32_t i = 0; i < kPeers; ++i) {
      shared_.account.open({session_of(i)}, 0);
      for (auto& shard : shards_) shard->tables.add_session({session_of(i)}, kSecret, 0);
    }
  }
  bool is_attached(std::uint32_t peer) {
    return arena().ledger().attach_mode({session_of(peer)}) != 0;
  }
  void admit(SessionId session) {
    for (auto& shard : shards_) shard->tables.attach(session, kArena, server::AttachMode::kPeer);
  }
  Arena& arena() { return *state_->arena; }
  Shard& shard(std::uint32_t i) { return *shards_[i % 2]; }
  Heap& heap(std::uint32_t i) { return shard(i).heap(); }

  // The steps of SessionCalls::attach and of OpenHeap.
  void attach(Message& m) {
    const std::uint32_t i = peer_of(m.session);
    const SessionId session{m.session};
    std::atomic<std::uint32_t>& last = stage_.board->attachments[i];
    const bool is_past = m.number < last || (m.number == last && !is_attached(i));
    if (ended_[i] || is_past) return;
    if (!is_attached(i)) {
      state_->lease_epochs.begin_attachment(
          session, restarted_ ? server::LeaseEpochs::first_after_restart() : LeaseEpoch{});
    }
    arena().ledger().set_attach_mode(session, 4);
    arena().mark_session(session, SessionEntry::kLive);
    admit(session);
    if (arena().ledger().heap_owner({heap_of(i)}) != session &&
        arena().ledger().claim_heap({heap_of(i)}, session).value != heap_of(i))
      ::_exit(4);
    arena().enlist_heap({heap_of(i)}, session);
    last = m.number;
    m.epoch = state_->lease_epochs.present(session).value;
  }

  // The steps of server/core/control/detaches.h from the third on. Before that nothing outlives the
  // daemon.
  void detach(Message& m) {
    const SessionId session{m.session};
    m.error = static_cast<std::uint32_t>(Error::kNotAttached);
    if (ended_[peer_of(m.session)] || !is_attached(peer_of(m.session))) return;
    m.error = stale_counted(state_->lease_epochs.is_present(session, LeaseEpoch{m.epoch})
                                ? Error::kNone
                                : Error::kStaleEpoch);
    if (m.error != 0) return;
    Footprint footprint(kUnits);
    for (auto& shard : shards_) {
      shard->heap().publish();
      const Footprint left = shard->tables.detach(session, *state_);
      if (!left.words().empty()) footprint.merge(left);
    }
    CRASH_POINT("detach.left");
    take_back(session, footprint);
    ++stage_.board->detaches;
  }

  // The steps of server/core/control/session_ends.h.
  void end_session(SessionId dead) {
    Footprint footprint(kUnits);
    for (auto& shard : shards_)
      for (const server::Attached& attached : shard->tables.remove_session(dead))
        if (!attached.footprint.words().empty()) footprint.merge(attached.footprint);
    ended_[peer_of(dead.value)] = true;
    CRASH_POINT("end.forgotten");
    take_back(dead, footprint);
  }

  // The steps of server/core/control/session_reap.h. `here`: where the shards gave the session
  // blocks, which nobody knows after a restart.
  void take_back(SessionId session, Footprint& here) {
    Footprint& given = footprints_[peer_of(session.value)];
    here.merge(given);
    here.merge(arena().footprint_of(session));
    std::vector<SlabIndex> runs;
    arena().for_each_run([&](SlabIndex first, RunRecord run) {
      if (run.owner() == RunOwner::leased_to(session)) runs.push_back(first);
    });
    ReapResult result;
    for (const SlabIndex first : runs) heap(first.value).adopt(arena(), first, session, result);
    CRASH_POINT("end.adopted");
    arena().reap(session, restarted_ ? nullptr : &here);
    CRASH_POINT("end.reaped");
    for (auto& shard : shards_) shard->heap().drain();
    arena().forget_session(session);
    given = Footprint(kUnits);
  }

  // Blocks of the daemon's own, so that peers free, take over and share what is a server heap's.
  void work(std::uint64_t turn) {
    for (int i = 0; i < 20; ++i) {
      auto& mail = stage_.board->mail[(turn * 20 + static_cast<std::uint64_t>(i)) % kMailboxes];
      if (stage_.board->stop.load() != 0 || mail.load() != 0) continue;
      const std::uint32_t peer = static_cast<std::uint32_t>(i) % kPeers;
      if (!is_attached(peer)) continue;  // nobody acts for it
      const auto block = heap(static_cast<std::uint32_t>(turn))
                             .allocate(i % 7 == 0 ? 200'000 : 256, {{session_of(peer)}, 1});
      std::uint64_t none = 0;
      if (!block.ok()) continue;
      footprints_[peer].add(slot_of(block->ref).slab());
      if (!mail.compare_exchange_strong(none, block->ref.value))
        heap(0).free_checked({block->ref.value}, kServer, kNoSession);
    }
    // Frees of what a peer allocated.
    auto& mail = stage_.board->mail[turn * 31 % kMailboxes];
    if (const std::uint64_t ref = mail.exchange(0); ref != 0)
      heap(static_cast<std::uint32_t>(turn)).free_checked({ref}, kServer, kNoSession);
    for (auto& s : shards_) {
      s->heap().publish();
      s->heap().drain();
    }
    if (turn % 8 == 0) {
      for (auto& s : shards_) s->heap().trim();
      [[maybe_unused]] const auto ahead = arena().commit_ahead(2);
      arena().decommit_idle(0);
    }
  }

  // Serves the sockets of all peers in random order, one message of each, and lets half of the
  // messages lie. False when there was nothing to serve.
  bool serve_peers() {
    pollfd all[kPeers * kMethods];
    for (std::uint32_t i = 0; i < std::size(all); ++i)
      all[i] = {stage_.peers[i / kMethods][i % kMethods].daemon, POLLIN, 0};
    if (::poll(all, std::size(all), 0) <= 0) return false;
    for (std::uint32_t i = static_cast<std::uint32_t>(std::size(all)); i > 1; --i)
      std::swap(all[i - 1], all[next() % i]);
    std::uint32_t oldest_left[kPeers];  // sequence of a message that lies
    std::fill(std::begin(oldest_left), std::end(oldest_left), UINT32_MAX);
    for (const pollfd& p : all) {
      Message m;
      if ((p.revents & POLLIN) == 0 ||
          ::recv(p.fd, &m, sizeof m, MSG_DONTWAIT | MSG_PEEK) != sizeof m)
        continue;
      std::uint32_t& left = oldest_left[peer_of(m.session)];
      if (next() % 2 == 0) {
        left = std::min(left, m.sequence);
        continue;
      }
      if (left < m.sequence) ++stage_.board->overtaken;
      answer(p.fd);
    }
    return true;
  }

  SessionKey key_of(const Message& m) const { return {{m.session}, kSecret}; }
  std::uint32_t stale_counted(Error error) {
    if (error == Error::kStaleEpoch) ++stage_.board->stale;
    return static_cast<std::uint32_t>(error);
  }

  void lease(Message& m) {
    Shard& here = shard(m.session);
    const LeaseArgs args{.session = key_of(m),
                         .arena_id = kArena,
                         .epoch = {m.epoch},
                         .heap_id = {m.heap},
                         .size_class = m.run.kind == SlabKind::kSpan ? kSpanClass : m.run.cls,
                         .span_units = m.run.kind == SlabKind::kSpan ? m.run.units : 0};
    server::Access access;
    Error error = here.tables.admit(args.session, kArena, server::Need::kPeer, access);
    LeasedSlabs slabs;
    if (error == Error::kNone) error = here.grant.check(args, *access.slot).error;
    if (error == Error::kNone) error = here.grant.attempt(access, args, slabs);
    m.error = stale_counted(error);
    if (error == Error::kNone) m.slab = slabs.slabs.front().value;
  }

  void resume(Message& m) {
    server::ResumeArgs known{.first_unit = m.slab, .end_unit = m.end};
    for (std::uint32_t unit = m.slab; unit < m.end; ++unit)
      if (m.runs.test(unit)) known.slabs.push_back({unit});
    if (m.slab == 0 && m.heap != 0) known.heaps.push_back({m.heap});
    const auto answered =
        shard(m.session).returns.resume({key_of(m), kArena, LeaseEpoch{m.epoch}}, known);
    m.error = answered.ok() ? 0 : stale_counted(answered.error().error);
    if (answered.ok() && m.end == kUnits) ++stage_.board->resumes;
  }

  void answer(int socket) {
    Message m;
    if (::recv(socket, &m, sizeof m, MSG_DONTWAIT) != sizeof m) return;
    switch (m.kind) {
      case Message::kLease: lease(m); break;
      case Message::kReturn: {
        const SlabIndex run{m.slab};
        const auto returned = shard(m.session).returns.return_slabs(
            {key_of(m), kArena, LeaseEpoch{m.epoch}}, {&run, 1});
        m.error = returned.ok() ? 0 : stale_counted(returned.error().error);
        break;
      }
      case Message::kResume: resume(m); break;
      case Message::kAttach: attach(m); break;
      case Message::kDetach: detach(m); break;
      case Message::kClose:
      case Message::kEndSession: end_session({m.session}); break;
      case Message::kTrim:
        for (auto& s : shards_) s->heap().publish();
        for (auto& s : shards_) s->heap().trim();
        break;
      case Message::kVerify: verify(); break;
      case Message::kQuit: ::_exit(0);
      default: break;
    }
    m.kind = Message::kAnswer;
    [[maybe_unused]] const auto sent = ::send(socket, &m, sizeof m, MSG_NOSIGNAL | MSG_DONTWAIT);
  }

  void verify() {
    VerifyReport r;
    for (auto& s : shards_) verify_heap(s->heap(), &arena().ledger(), r);
    verify_leases(
        arena(), [this](SessionId s) { return arena().ledger().attach_mode(s) != 0; }, r);
    verify_arena(arena(), r);
    Board& b = *stage_.board;
    b.mismatches = r.mismatches;
    b.returning = r.returning;
    b.left_blocks = r.held + r.shared + r.returning;
    b.left_units = arena().units().taken_units();
    b.leased_slabs = static_cast<std::uint32_t>(r.leased_slabs);
    std::string text;
    for (const std::string& f : r.findings) text += f + "\n";
    std::strncpy(b.findings, text.c_str(), sizeof b.findings - 1);
  }

  std::uint32_t next() {
    random_ = random_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<std::uint32_t>(random_ >> 33);
  }

  const Stage& stage_;
  const bool restarted_;
  std::uint64_t random_;
  bool ended_[kPeers] = {};
  Footprint footprints_[kPeers];  // where work() gave a peer's session blocks
  server::SharedState shared_{0};
  std::shared_ptr<ArenaState> state_;
  std::unique_ptr<Shard> shards_[2];
};

}  // namespace

void run_daemon(const Stage& stage, bool again, const std::vector<std::uint16_t>& dead,
                const Arming& arming, int ready) {
  const std::uint32_t role = again ? kRecovery : kDaemon;
  count_in(&stage.board->hits, role);
  if (arming.role == role) arm(arming.point.c_str(), arming.nth);
  Daemon daemon(stage, again, dead);
  [[maybe_unused]] const auto sent = ::write(ready, "r", 1);
  ::close(ready);
  daemon.serve();
  ::_exit(0);
}

}  // namespace arenad::crash
