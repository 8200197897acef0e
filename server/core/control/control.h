// Control: the control plane on its own thread.
//
// Purpose: owns the registries (arenas, sessions, tokens, tunables), the handoff socket and the
// watch over sessions, and
//   changes the shards' private tables by messages. Where: control.cc (thread, rounds, drain,
//   stop), control_arenas.cc, control_recovery.cc (what a daemon before has left),
//   control_sessions.cc (sessions, handoff), control_reap.cc (their end), control_memory.cc (full
//   arenas), control_peers.cc (what peers are asked), control_admin.cc (facts, audit, tunables).
// Invariants: everything below the public interface runs on the control thread: no locks. A round
// (a message to every
//   shard, each answered) is the only way to the shards; rounds started earlier reach every shard
//   earlier. Nothing here waits for a shard. While a quiet round is open no reap runs.
// Threads: the public calls by any thread; answers come on the control thread.
// Crash: the daemon's memory; with a state directory the next daemon goes on from there. A client's
// death ends as a reap here,
//   which is idempotent.
#pragma once

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "server/core/api/api.h"
#include "server/core/control/arena_registry.h"
#include "server/core/control/census.h"
#include "server/core/control/event_waker.h"
#include "server/core/control/liveness.h"
#include "server/core/control/maintenance.h"
#include "server/core/control/session_registry.h"
#include "server/core/control/standstill.h"
#include "server/core/control/token_table.h"
#include "server/core/control/tunable_registry.h"
#include "server/core/handoff/handoff.h"
#include "server/core/shard/inbox.h"
#include "server/core/shard/shard.h"
#include "server/core/state/session_store.h"
#include "server/core/state/state_directory.h"

namespace arenad::server {

class Control final : public ControlApi, public ControlLink, private HandoffHost {
 public:
  using Log = std::function<void(const std::string&)>;

  Control(std::vector<std::unique_ptr<Shard>>& shards, SharedState& shared, const Limits& limits,
          const std::string& handoff_path, StateDirectory state, Log log);
  ~Control() override;

  // Before any shard's thread runs: a state directory's arenas and sessions are put into the
  // shards' tables from here.
  Answer<Nothing> start();
  void begin_drain(std::function<void()> drained);
  void stop();
  std::uint64_t uptime_ms() const;

  // --- ControlApi
  // ---------------------------------------------------------------------------------------------------------
  void create_arena(CreateArenaArgs args, Done<ArenaFacts> done) override;
  void get_arena(std::string name, Done<ArenaFacts> done) override;
  void list_arenas(std::uint32_t page_size, std::string page_token,
                   Done<Page<ArenaFacts>> done) override;
  void delete_arena(std::string name, bool force, Done<Nothing> done) override;
  void open_session(std::string name, std::uint64_t limit_bytes, Done<OpenedSession> done) override;
  void attach_arena(SessionKey key, std::string arena, AttachMode mode,
                    Done<AttachedArena> done) override;
  void close_session(SessionKey key, Done<GivenBack> done) override;
  void list_sessions(std::uint32_t page_size, std::string page_token,
                     Done<Page<SessionFacts>> done) override;
  void keepalive_opened(SessionKey key, std::uint64_t stream_id, OnSessionEvent on_event,
                        Done<Nothing> done) override;
  void keepalive_lost(SessionKey key, std::uint64_t stream_id) override;
  void keepalive_trimmed(SessionKey key, std::uint64_t round, ArenaId arena_id) override;
  void get_stats(std::string arena, Done<DaemonStats> done) override;
  void slab_info(std::string arena, Done<std::vector<SlabInfoRow>> done) override;
  void list_holders(std::string arena, std::uint32_t limit, Done<Holders> done) override;
  void audit(std::string arena, Done<AuditResult> done) override;
  void get_tunables(Done<std::vector<TunableFacts>> done) override;
  void set_tunables(std::vector<std::pair<std::string, std::string>> values,
                    Done<std::vector<TunableFacts>> done) override;
  bool draining() const override { return draining_.load(std::memory_order_acquire); }

  // --- ControlLink
  // --------------------------------------------------------------------------------------------------------
  void need_memory(ArenaId arena_id, ShardId shard, std::uint64_t ticket) override;
  void need_recount(SessionId session, ArenaId arena_id, ShardId shard,
                    std::uint64_t ticket) override;
  void memory_returned(ArenaId arena_id) override;
  void kick_maintenance() override { maintenance_.kick(); }

 private:
  enum class EndCause : std::uint8_t { kClosed, kProcessDied, kKeepaliveLost, kGraceOver };

  // A session on its way out.
  struct Ending;

  // A trim round of one arena.
  struct TrimRound {
    explicit TrimRound(boost::asio::io_context& io, std::size_t shards)
        : wanted(shards), pause(io), patience(io) {}
    bool running = false;
    bool again = false;                 // somebody asked since this one started
    std::vector<std::uint64_t> wanted;  // by shard: highest ticket of the next round
    std::uint64_t finished_ns = 0;
    boost::asio::steady_timer pause;
    // Peers that have been asked to trim and have not answered, in which round, and what follows.
    std::set<SessionId> asked;
    std::uint64_t number = 0;
    std::uint64_t asked_ns = 0;
    boost::asio::steady_timer patience;
    std::function<void()> then;
  };

  // control.cc
  template <class T, class F>
  void call(Done<T> done, F f);
  template <class R>
  void round(std::function<R(Shard&)> visit, std::function<void(std::vector<R>)> then);
  void visit_all(std::function<void(Shard&)> visit, std::function<void()> then);
  // Something on its way that stop() waits for, as it does for rounds: each round_begins is
  // followed by one round_over.
  void round_begins() { ++open_rounds_; }
  void round_over();
  void watch_inbox();
  void run_inbox();
  void run_late();
  void tell_drained_if_done();

  // control_recovery.cc
  struct Recovery;
  Answer<Nothing> recover();
  Answer<Nothing> open_arenas();
  Answer<Nothing> open_sessions(Recovery& recovery);
  void restore_session(const KeptSession& kept, Recovery& recovery);
  void adopt_runs(Recovery& recovery);
  void reap_dead(Recovery& recovery);

  // control_arenas.cc
  ArenaFacts arena_facts(const ArenaRecord& record, HeldShare held,
                         const CensusResult& census) const;
  // Counts those of the arenas in which calls alone do not say who holds what
  // (ArenaState::counts_from_words); at once when there is none. 0: all arenas.
  void with_census(const std::vector<ArenaId>& arena_ids, std::function<void(CensusResult)> then);
  void count_words(std::vector<std::shared_ptr<ArenaState>> arenas,
                   std::function<void(CensusResult)> then);
  void arenas_changed();
  // Id of the named arena, 0 for an empty name. Errors: kUnknownArena.
  Answer<ArenaId> scope_of(const std::string& arena);

  // control_sessions.cc
  HandoffGrant redeem(std::string_view token, Answer<CallerProcess> peer) override;
  // Of a session's attachments: those that map memory, and those of them whose mark stands
  // (attach_mark.h).
  struct MarkCount {
    std::uint32_t mapped = 0, standing = 0;
  };
  MarkCount count_marks(SessionId session, const std::map<ArenaId, AttachMode>& attached);
  Failure open_files(const ArenaRecord& record, AttachMode mode, SessionId session,
                     const CallerProcess& peer, HandoffGrant& grant) const;
  SessionFacts session_facts(const SessionRecord& record) const;
  Page<SessionFacts> session_page(const std::vector<SessionId>& ids, const std::string& next_token,
                                  const std::vector<std::vector<SharesByArena>>& by_shard,
                                  const CensusResult& census);

  // control_reap.cc
  void end_session(SessionId id, EndCause cause, Done<GivenBack> done);
  void adopt_leases(std::shared_ptr<Ending> ending);
  void reap(std::shared_ptr<Ending> ending);
  void release_session(std::shared_ptr<Ending> ending);

  // control_memory.cc
  void want_round(ArenaId arena_id, ShardId shard, std::uint64_t ticket);
  void start_trim_round(ArenaId arena_id);
  void trim_shards(ArenaId arena_id, std::function<void(std::vector<SharesBySession>)> then);
  void settle_trim_round(ArenaId arena_id, const std::vector<std::uint64_t>& tickets,
                         const std::vector<SharesBySession>& shares);
  void trim_round_over(ArenaId arena_id);
  UsageSummary summarize(ArenaId arena_id, const std::vector<SharesBySession>& shares,
                         const CensusResult& census);

  // control_peers.cc
  std::vector<SessionId> peers_to_ask(ArenaId arena_id);
  void ask_peers(ArenaId arena_id, const std::vector<SessionId>& peers, std::function<void()> then);
  void peer_answered(ArenaId arena_id, SessionId session);
  void forget_asked(SessionId session);  // nobody there answers any more
  // Counts anew what a session with a limit is charged for.
  void recount(SessionId session, std::function<void()> then);

  // control_admin.cc
  void add_arena_stats(DaemonStats& stats, ArenaId scope, HeldShare held,
                       const CensusResult& census);
  void add_slab_row(std::vector<SlabInfoRow>& rows, ArenaId arena_id, bool peers, ShardId shard,
                    const ClassUsage& usage);
  Holders holders_of(const CensusResult& census, std::uint32_t limit);
  void start_standstill(ArenaId scope, Done<AuditResult> done);
  void when_not_quiet(std::function<void()> f);

  boost::asio::io_context io_;
  EventWaker waker_;
  Inbox inbox_;
  boost::asio::posix::stream_descriptor wake_event_;
  std::vector<std::unique_ptr<Shard>>& shards_;
  SharedState& shared_;
  const Log log_;
  StateDirectory state_;
  SessionStore ledger_;
  ArenaRegistry arenas_;
  SessionRegistry sessions_;
  TokenTable tokens_;
  TunableRegistry tunables_;
  Maintenance maintenance_;
  Census census_;
  Liveness liveness_;
  Handoff handoff_;
  const std::uint64_t started_ns_;

  std::map<ArenaId, TrimRound> trim_rounds_;
  std::vector<std::function<void()>> after_quiet_;  // reaps that came during a quiet round
  std::uint32_t quiet_ = 0;                         // open quiet rounds
  std::uint32_t open_rounds_ = 0;
  std::uint64_t sessions_reaped_ = 0;
  std::uint64_t last_trim_round_ = 0;
  std::function<void()> drained_;
  boost::asio::steady_timer drain_timer_;
  boost::asio::steady_timer stop_timer_;
  bool stopping_ = false;              // every call is refused from here on
  std::atomic<bool> draining_{false};  // set by begin_drain; any thread reads
  // Set when the thread has ended; a caller that sees it runs the inbox itself (run_late).
  // Sequentially consistent with the push before: either the caller sees it, or stop() sees the
  // task.
  std::atomic<bool> stopped_{false};
  std::mutex late_;  // who runs the inbox after the thread
  std::thread thread_;
};

// Runs `f(done)` on the control thread.
template <class T, class F>
void Control::call(Done<T> done, F f) {
  inbox_.push([this, done = std::move(done), f = std::move(f)]() mutable {
    if (stopping_) return done(Failure{Error::kDraining, error_advice(Error::kDraining)});
    f(std::move(done));
  });
  if (stopped_.load(std::memory_order_seq_cst)) [[unlikely]]
    run_late();
}

// Runs `visit` on every shard's thread, then `then` with the answers, by shard, on the control
// thread.
template <class R>
void Control::round(std::function<R(Shard&)> visit, std::function<void(std::vector<R>)> then) {
  struct State {
    std::vector<R> answers;
    std::atomic<std::size_t> missing;  // acq_rel: the last one sees all answers
    std::function<R(Shard&)> visit;
    std::function<void(std::vector<R>)> then;
  };
  auto state = std::make_shared<State>();
  state->answers.resize(shards_.size());
  state->missing.store(shards_.size(), std::memory_order_relaxed);
  state->visit = std::move(visit);
  state->then = std::move(then);
  round_begins();
  for (const auto& shard : shards_) {
    shard->post([this, state, s = shard.get()] {
      state->answers[s->index().value] = state->visit(*s);
      if (state->missing.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
      inbox_.push([this, state] {
        state->then(std::move(state->answers));
        round_over();
      });
    });
  }
}

}  // namespace arenad::server
