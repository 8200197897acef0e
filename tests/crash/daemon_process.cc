// The daemon of a crash test: two heaps of its own, leases, the ends of sessions, and what it does
// after its own death.
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <memory>

#include "allocator/check/verify.h"
#include "allocator/heap/heap.h"
#include "tests/crash/world.h"
#include "tests/support/refs.h"

namespace arenad::crash {
namespace {

constexpr SessionId kServer{kReaperSession};

class Daemon {
 public:
  Daemon(const Stage& stage, bool again, const std::vector<std::uint16_t>& dead)
      : stage_(stage), restarted_(again) {
    if (again)
      open(dead);
    else
      create();
    for (Footprint& t : footprints_) t = Footprint(arena_->unit_count());
  }

  void serve() {
    std::uint64_t turns = 0;
    for (;;) {
      pollfd all[kPeers + 1];
      for (std::uint32_t i = 0; i < kPeers; ++i) all[i] = {stage_.peers[i].daemon, POLLIN, 0};
      all[kPeers] = {stage_.director.daemon, POLLIN, 0};
      ::poll(all, kPeers + 1, 1);
      for (const pollfd& p : all)
        if ((p.revents & POLLIN) != 0) answer(p.fd);
      work(++turns);
    }
  }

 private:
  void create() {
    ArenaConfig options;
    options.name = "crash";
    options.capacity_bytes = kCapacity;
    options.max_heaps = 64;
    options.map_data = false;
    auto made = Arena::create(options, &stage_.files);
    if (!made.ok()) ::_exit(3);
    arena_ = std::move(*made);
    arena_->finish_creation();
    make_heaps();
    for (std::uint32_t i = 0; i < kPeers; ++i) {
      arena_->mark_session({session_of(i)}, SessionEntry::kLive);
      arena_->ledger().set_attach_mode({session_of(i)}, 4);
      if (arena_->ledger().claim_heap({heap_of(i)}, {session_of(i)}).value != heap_of(i))
        ::_exit(4);
      arena_->enlist_heap({heap_of(i)}, {session_of(i)});
    }
  }

  void open(const std::vector<std::uint16_t>& dead) {
    auto ledger = Ledger::open_file(stage_.files.ledger_path);
    if (!ledger.ok()) ::_exit(5);
    auto made = Arena::open(stage_.files, std::move(*ledger), false);
    if (!made.ok()) ::_exit(6);
    arena_ = std::move(*made);
    make_heaps();
    // Runs of the heaps that died with the daemon.
    std::vector<SlabIndex> orphans;
    arena_->for_each_run([&](SlabIndex first, RunRecord run) {
      if (run.owner().lessee() == kNoSession) orphans.push_back(first);
    });
    ReapResult result;
    for (const SlabIndex first : orphans)
      heap(first.value).adopt(*arena_, first, kNoSession, result);
    // A session whose end the dead daemon had begun is ended again: its leases may be adopted by
    // now, its words may not.
    for (const std::uint16_t session : dead) end_session({session}, nullptr);
  }

  void make_heaps() {
    for (std::uint16_t i = 0; i < 2; ++i)
      heaps_[i] = std::make_unique<Heap>(*arena_, HeapId{i}, kServer);
  }
  Heap& heap(std::uint32_t i) { return *heaps_[i % 2]; }

  void end_session(SessionId dead, const Footprint* footprint) {
    std::vector<SlabIndex> runs;
    arena_->for_each_run([&](SlabIndex first, RunRecord run) {
      if (run.owner() == RunOwner::leased_to(dead)) runs.push_back(first);
    });
    ReapResult result;
    for (const SlabIndex first : runs) heap(first.value).adopt(*arena_, first, dead, result);
    arena_->reap(dead, footprint);
    for (auto& h : heaps_) h->drain();
    arena_->forget_session(dead);
  }

  // Blocks of the daemon's own, so that peers free, take over and share what is a server heap's.
  void work(std::uint64_t turn) {
    for (int i = 0; i < 20; ++i) {
      auto& mail = stage_.board->mail[(turn * 20 + static_cast<std::uint64_t>(i)) % kMailboxes];
      if (stage_.board->stop.load() != 0 || mail.load() != 0) continue;
      const std::uint32_t peer = static_cast<std::uint32_t>(i) % kPeers;
      if (arena_->ledger().attach_mode({session_of(peer)}) == 0)
        continue;  // nobody acts for the dead
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
    for (auto& h : heaps_) {
      h->publish();
      h->drain();
    }
    if (turn % 8 == 0) {
      for (auto& h : heaps_) h->trim();
      [[maybe_unused]] const auto ahead = arena_->commit_ahead(2);
      arena_->decommit_idle(0);
    }
  }

  void answer(int socket) {
    Message m;
    if (::recv(socket, &m, sizeof m, MSG_DONTWAIT) != sizeof m) return;
    switch (m.kind) {
      case Message::kLease: {
        if (arena_->ledger().attach_mode({m.session}) == 0) return;  // asked before its death
        const auto run = arena_->grant({m.heap}, RunOwner::leased_to({m.session}), m.run, {0});
        m.error = run.ok() ? 0 : static_cast<std::uint32_t>(run.error());
        if (run.ok()) m.slab = run->value;
        break;
      }
      case Message::kReturn: {
        ReapResult result;
        if (!arena_->ledger().pass_run({m.slab}, RunOwner::leased_to({m.session}),
                                       RunOwner::heap({0})))
          break;
        if (arena_->run_is_free({m.slab}))
          arena_->reclaim({m.slab});
        else
          heap(0).adopt(*arena_, {m.slab}, kNoSession, result);
        break;
      }
      case Message::kEndSession: {
        // The footprint that the session marked itself, and what was allocated for it here; after a
        // restart nobody knows that.
        Footprint footprint = arena_->footprint_of({m.session});
        footprint.merge(footprints_[m.session - session_of(0)]);
        end_session({m.session}, restarted_ ? nullptr : &footprint);
        break;
      }
      case Message::kTrim:
        for (auto& h : heaps_) h->publish();
        for (auto& h : heaps_) h->trim();
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
    for (auto& h : heaps_) verify_heap(*h, &arena_->ledger(), r);
    verify_leases(
        *arena_, [this](SessionId s) { return arena_->ledger().attach_mode(s) != 0; }, r);
    verify_arena(*arena_, r);
    Board& b = *stage_.board;
    b.mismatches = r.mismatches;
    b.returning = r.returning;
    b.left_blocks = r.held + r.shared + r.returning;
    b.left_units = arena_->units().taken_units();
    b.leased_slabs = static_cast<std::uint32_t>(r.leased_slabs);
    std::string text;
    for (const std::string& f : r.findings) text += f + "\n";
    std::strncpy(b.findings, text.c_str(), sizeof b.findings - 1);
  }

  const Stage& stage_;
  const bool restarted_;
  Footprint footprints_[kPeers];
  std::unique_ptr<Arena> arena_;
  std::unique_ptr<Heap> heaps_[2];
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
