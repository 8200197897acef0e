// LocalArena: peer heaps without a daemon. An arena of this process grants the leases by a plain
// call.
//
// Purpose: tests of the pool, the stock and the lock. LocalArena owns the arena. Each pool has a
//   view of its own, as a peer process has.
// Threads: grants are as thread-safe as the arena. Crash: private to the test.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <vector>

#include "allocator/arena/arena.h"
#include "allocator/arena/peer_arena.h"
#include "allocator/check/verify.h"
#include "client/lib/peer_pool.h"

namespace arenad::client {

class LocalLeases final : public LeaseCalls {
 public:
  struct Counts {
    std::atomic<bool> reachable{true};
    std::atomic<std::uint32_t> heaps{1000};  // that the daemon gives at most
    std::atomic<std::uint32_t> opens{0}, leases{0}, leased{0}, returns{0}, returned{0}, spans{0};
  };

  LocalLeases(arenad::Arena& owner, SessionId session, Counts& counts)
      : owner_(owner), session_(session), counts_(counts) {}

  Answer<HeapId> open_heap() override {
    if (counts_.opens.fetch_add(1) >= counts_.heaps) {
      --counts_.opens;
      return Status{Code::kResourceExhausted, Error::kQuotaUser, "no heap is left"};
    }
    const HeapId id = owner_.ledger().claim_heap({32}, session_);
    owner_.enlist_heap(id, session_);
    return id;
  }
  Status lease(HeapId heap, const RunShape& request, std::uint32_t count, std::uint32_t, Patience,
               std::vector<SlabIndex>& runs) override {
    ++counts_.leases;
    if (request.kind == SlabKind::kSpan) ++counts_.spans;
    for (std::uint32_t i = 0; i < count; ++i) {
      const auto run = owner_.grant(heap, RunOwner::leased_to(session_), request, {0});
      if (!run) break;
      runs.push_back(*run);
      ++counts_.leased;
    }
    if (!runs.empty()) return {};
    return {Code::kResourceExhausted, Error::kArenaFull, "the arena of this test is full"};
  }
  bool reachable() const override { return counts_.reachable; }
  void give_back(std::span<const SlabIndex> runs) override {
    ++counts_.returns;
    for (const SlabIndex run : runs) {
      EXPECT_TRUE(owner_.run_is_free(run)) << "slab " << run.value << " came back with blocks out";
      owner_.reclaim(run);
      ++counts_.returned;
    }
  }

 private:
  arenad::Arena& owner_;
  const SessionId session_;
  Counts& counts_;
};

class LocalArena : public testing::Test {
 protected:
  void make(std::uint64_t capacity_bytes) {
    arenad::ArenaConfig options;
    options.capacity_bytes = capacity_bytes;
    options.max_heaps = 64;
    auto created = arenad::Arena::create(options);
    ASSERT_TRUE(created.ok()) << created.error().message;
    owner = std::move(*created);
  }
  std::shared_ptr<PeerPool> pool(std::uint16_t session) {
    owner->mark_session({session}, SessionEntry::kLive);
    owner->ledger().set_attach_mode({session}, 4);
    auto view =
        arenad::PeerArena::attach(::dup(owner->data_fd()), ::dup(owner->control_fd()), {session});
    EXPECT_TRUE(view.ok()) << view.error().message;
    return std::make_shared<PeerPool>(
        std::move(*view), SessionId{session},
        std::make_unique<LocalLeases>(*owner, SessionId{session}, counts), [this] { ++wakes; });
  }
  AllocatedBlock take(PeerPool& p, std::uint64_t size, std::uint32_t align = 0) {
    AllocatedBlock block;
    const Status status = p.allocate(size, {.align_bytes = align}, false, block);
    EXPECT_TRUE(status.ok()) << status.text();
    return block;
  }
  Error give(PeerPool& p, Ref ref) {
    Error error = Error::kInternal;
    EXPECT_TRUE(p.inside([&](PeerHeap& heap) { error = p.free(heap, ref); }).ok());
    return error;
  }
  // The fast paths of ArenaHandle, and the slow paths when the fast ones are closed.
  Ref take_fast(PeerPool& p, std::uint64_t size) {
    if (const EnteredHeap heap = peer_cache.enter(p.id())) {
      const auto got = heap.allocate(size, 0);
      peer_cache.leave();
      if (got.ok()) return got->ref;
    }
    return take(p, size).ref;
  }
  Error give_fast(PeerPool& p, Ref ref) {
    if (const EnteredHeap heap = peer_cache.enter(p.id())) {
      const Error error = heap.free(ref);
      peer_cache.leave();
      return error;
    }
    return give(p, ref);
  }
  // What the block words of all leased runs say.
  VerifyReport leases() const {
    VerifyReport report;
    verify_leases(
        *owner, [this](SessionId s) { return owner->ledger().attach_mode(s) != 0; }, report);
    verify_arena(*owner, report);
    return report;
  }
  void TearDown() override {
    const VerifyReport report = leases();
    EXPECT_TRUE(report.exact()) << (report.findings.empty() ? "" : report.findings[0]);
  }

  std::unique_ptr<arenad::Arena> owner;
  LocalLeases::Counts counts;
  std::atomic<int> wakes{0};
};

}  // namespace arenad::client
