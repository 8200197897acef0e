// An arena as its daemon has it, and peers with views of their own on the same files.
//
// Purpose: Peer is what a client process has: PeerArena::attach on duplicates of the descriptors,
//   slabs leased to its session, and heaps. Leases come straight from the daemon's arena object:
//   what gRPC carries in between is tested elsewhere.
// Threads: a peer's heaps belong to one thread at a time.
// Crash: a test drops a Peer, or kills the process that has one.
#pragma once

#include <unistd.h>

#include "allocator/arena/arena.h"
#include "allocator/arena/peer_arena.h"
#include "arena_fixture.h"

namespace arenad {

inline constexpr std::uint16_t kFirstPeerHeap = 32;

// Leases one run at a time for a session, as the daemon does when asked.
class Leases final : public SlabSource {
 public:
  Leases(Arena& daemon, SessionId session) : daemon_(daemon), session_(session) {}
  Result<SlabIndex> take(HeapId heap, const RunShape& request, SuperslabIndex hint) override {
    return daemon_.grant(heap, RunOwner::leased_to(session_), request, hint);
  }
  void give_back(HeapId, SlabIndex first, std::uint32_t) override {
    EXPECT_TRUE(daemon_.run_is_free(first))
        << "slab " << first.value << " came back with blocks out";
    daemon_.reclaim(first);
  }

 private:
  Arena& daemon_;
  const SessionId session_;
};

struct Peer {
  Peer(Arena& daemon, SessionId s, std::size_t heap_count = 1) : session(s), leases(daemon, s) {
    daemon.mark_session(s, SessionEntry::kLive);
    daemon.ledger().set_attach_mode(s, 4);
    auto attached = PeerArena::attach(::dup(daemon.data_fd()), ::dup(daemon.control_fd()), s);
    EXPECT_TRUE(attached.ok()) << attached.error().message;
    arena = std::move(*attached);
    for (std::size_t i = 0; i < heap_count; ++i) {
      const HeapId id = daemon.ledger().claim_heap({kFirstPeerHeap}, s);
      daemon.enlist_heap(id, s);
      heaps.push_back(std::make_unique<Heap>(*arena, id, s, leases));
    }
  }
  Heap& heap(std::size_t i = 0) { return *heaps[i]; }
  Holder holder(std::uint32_t tag = 0) const { return {session, tag}; }
  std::vector<Allocation> take(std::size_t count, std::uint64_t size, std::size_t i = 0) {
    std::vector<Allocation> blocks;
    for (std::size_t n = 0; n < count; ++n) {
      const auto b = heap(i).allocate(size, holder());
      EXPECT_TRUE(b.ok()) << error_name(b.error());
      if (b) blocks.push_back(*b);
    }
    return blocks;
  }

  SessionId session;
  Leases leases;
  std::unique_ptr<PeerArena> arena;
  std::vector<std::unique_ptr<Heap>> heaps;
};

class ArenaWithPeers : public ArenaWithHeaps {
 protected:
  std::unique_ptr<Peer> peer(std::uint16_t session, std::size_t heaps = 1) {
    return std::make_unique<Peer>(arena(), SessionId{session}, heaps);
  }
  // The end of a session as the daemon does it: adoption by heap i, the reaper, the drain of all,
  // the session forgotten.
  ReapResult end(SessionId dead, std::size_t adopter = 0) {
    ReapResult result;
    std::vector<SlabIndex> runs;
    arena().for_each_run([&](SlabIndex first, RunRecord run) {
      if (run.owner() == RunOwner::leased_to(dead)) runs.push_back(first);
    });
    for (const SlabIndex run : runs) heap(adopter).adopt(arena(), run, dead, result);
    const Footprint footprint = arena().footprint_of(dead);
    result += arena().reap(dead, &footprint);
    for (auto& h : heaps_) h->drain();
    arena().forget_session(dead);
    return result;
  }
  VerifyReport full_report() const {
    VerifyReport r;
    for (const auto& h : heaps_) verify_heap(*h, &arena_->ledger(), r);
    verify_leases(
        *arena_, [this](SessionId s) { return arena_->ledger().attach_mode(s) != 0; }, r);
    verify_arena(*arena_, r);
    return r;
  }
  void expect_all_exact() const {
    const VerifyReport r = full_report();
    EXPECT_TRUE(r.exact()) << findings_of(r);
  }
  void TearDown() override {
    if (arena_ != nullptr && !broken_on_purpose_) expect_all_exact();
  }
};

}  // namespace arenad
