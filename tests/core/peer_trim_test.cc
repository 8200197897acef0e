// Trim rounds with peers: who is asked to trim, and what ends the wait for the answers.
//
// The patience of a round is ten minutes here, longer than any test lives. So an answer proves its
// cause: the round has ended because of what the peer did, and not because time was over. Tests of
// the patience itself make it short.
#include <mutex>

#include "tests/core/peer_client.h"
#include "tests/support/workers.h"

namespace arenad::server {
namespace {

EngineOptions quiet_and_patient() {
  EngineOptions options;
  options.tunables = {{"keepalive_grace_ms", "600000"},
                      {"idle_drain_ms", "60000"},
                      {"trim_patience_ms", "600000"},
                      {"commit_ahead_superslabs", "0"}};
  return options;
}

// A peer's KeepAlive stream: notes what it is asked, and answers on a thread of its own when it is
// told how.
class Stream {
 public:
  using Answerer = std::function<void(const SessionEvent&)>;
  Stream(PeerClient& peer, std::uint64_t id, Answerer answer = {})
      : peer_(peer), id_(id), answer_(std::move(answer)) {
    EXPECT_TRUE(peer.daemon
                    .keep(peer.key, id,
                          [this](const SessionEvent& event) {
                            if (event.kind != SessionEvent::Kind::kTrim) return;
                            const std::lock_guard lock(mutex_);
                            asked_.push_back(event);
                            if (answer_) workers_.start([this, event] { answer_(event); });
                          })
                    .ok());
  }
  ~Stream() {
    // After this the control thread calls nothing of it.
    peer_.daemon.control().keepalive_lost(peer_.key, id_);
    peer_.daemon.sessions();
  }
  std::vector<SessionEvent> asked() {
    const std::lock_guard lock(mutex_);
    return asked_;
  }
  void done(const SessionEvent& event) {
    peer_.daemon.control().keepalive_trimmed(peer_.key, event.round, event.arena_id);
  }

 private:
  PeerClient& peer_;
  const std::uint64_t id_;
  std::mutex mutex_;
  std::vector<SessionEvent> asked_;
  const Answerer answer_;
  test::Workers workers_;
};

class PeerTrim : public ::testing::Test {
 protected:
  void SetUp() override {
    arena = daemon.create("a", 8 * kMiB)->id;
    key = daemon.open_attached("a", "remote");
  }
  void set_patience_ms(const std::string& ms) {
    ASSERT_TRUE(wait_for<std::vector<TunableFacts>>([&](auto done) {
                  daemon.control().set_tunables(daemon_itself(), {{"trim_patience_ms", ms}}, done);
                }).ok());
  }
  AllocateArgs args(std::uint64_t size_bytes, std::uint32_t wait_ms = 0) const {
    AllocateArgs args;
    args.session = key;
    args.arena_id = arena;
    args.size_bytes = size_bytes;
    args.wait_ms = wait_ms;
    return args;
  }
  // What was sent to the control thread before this is done, and what that has sent to the shards.
  void let_the_engine_work() {
    for (int i = 0; i < 20; ++i) ASSERT_TRUE(daemon.stats().ok());
  }
  Daemon daemon{2, quiet_and_patient()};
  ArenaId arena;
  SessionKey key;
};

TEST_F(PeerTrim, AllocationIsServedFromWhatAPeerReturns) {
  PeerClient peer(daemon, "a");
  peer.lease(64, 128);  // all of it
  const auto refs = peer.allocate(64, 5);
  Stream* stream = nullptr;
  Stream open(peer, 1, [&](const SessionEvent& event) {
    EXPECT_EQ(event.arena_id, arena);
    EXPECT_EQ(peer.trim(1)->returned, 127u);
    stream->done(event);
  });
  stream = &open;
  const auto got = daemon.allocate(0, key, arena, 1 * kMiB);
  ASSERT_TRUE(got.ok()) << got.error().message;
  EXPECT_EQ(open.asked().size(), 1u);
  // What the shards can do by themselves is nothing to ask peers for.
  ASSERT_TRUE(daemon.free(1, key, arena, refs_of(*got)).ok());
  EXPECT_TRUE(daemon.allocate(0, key, arena, 4 * kMiB).ok());
  EXPECT_EQ(open.asked().size(), 1u);
  expect_exact(daemon, 6);
}

TEST_F(PeerTrim, LeaseIsServedFromWhatAnotherPeerReturns) {
  PeerClient rich(daemon, "a", "rich"), poor(daemon, "a", "poor");
  rich.lease(64, 128);
  Stream* stream = nullptr;
  Stream open(rich, 1, [&](const SessionEvent& event) {
    EXPECT_EQ(rich.trim()->returned, 128u);
    stream->done(event);
  });
  stream = &open;
  EXPECT_EQ(daemon.lease(1, poor.lease_args(256, 10))->slabs.size(), 10u);
}

TEST_F(PeerTrim, StoppedPeerHoldsUpOneRoundAndNoOther) {
  set_patience_ms("20");
  PeerClient peer(daemon, "a");
  peer.lease(64, 128);
  Stream stream(peer, 1);  // never answers
  EXPECT_EQ(daemon.allocate(0, key, arena, 64).error().error, Error::kArenaFull);
  ASSERT_EQ(stream.asked().size(), 1u);
  // With this patience nobody would live to see the end of a round that waits for the peer.
  set_patience_ms("600000");
  EXPECT_EQ(daemon.allocate(0, key, arena, 64).error().error, Error::kArenaFull);
  EXPECT_EQ(stream.asked().size(), 1u);
  // The peer goes on: from then on it is asked again, and what it returns serves.
  EXPECT_EQ(peer.trim()->returned, 128u);
  stream.done(stream.asked()[0]);
  EXPECT_TRUE(daemon.allocate(0, key, arena, 64).ok());
  peer.lease(4096, 127);
  auto waiting = daemon.allocate_later(0, args(1 * kMiB));
  ASSERT_TRUE(eventually([&] { return stream.asked().size() == 2; }));
  EXPECT_GE(peer.trim()->returned, 127u);
  stream.done(stream.asked()[1]);
  EXPECT_TRUE(answer_of(std::move(waiting)).ok());
}

TEST_F(PeerTrim, AnswerOfAnotherRoundOrOfNobodyCountsForNothing) {
  PeerClient peer(daemon, "a");
  peer.lease(64, 128);
  Stream stream(peer, 1);
  auto waiting = daemon.allocate_later(0, args(64));
  ASSERT_TRUE(eventually([&] { return stream.asked().size() == 1; }));
  const SessionEvent event = stream.asked()[0];
  stream.done({event.kind, event.round - 1, event.arena_id});
  stream.done(
      {event.kind, event.round, ArenaId{static_cast<std::uint16_t>(event.arena_id.value + 1)}});
  SessionKey forged = peer.key;
  forged.secret ^= 1;
  daemon.control().keepalive_trimmed(forged, event.round, event.arena_id);
  daemon.control().keepalive_trimmed(peer.key, event.round, {65535});
  let_the_engine_work();
  EXPECT_EQ(waiting.wait_for(std::chrono::seconds(0)), std::future_status::timeout)
      << "the round has ended";
  // Only the peer's own answer ends the round. It gives nothing back, so the arena is full.
  stream.done(event);
  EXPECT_EQ(answer_of(std::move(waiting)).error().error, Error::kArenaFull);
}

// The round waits until the leases of the dead peer are adopted, so the allocation gets them.
TEST_F(PeerTrim, PeerThatDiesInsteadOfAnsweringLeavesItsMemory) {
  PeerClient peer(daemon, "a");
  peer.lease(64, 128);
  peer.allocate(64, 5000);
  Stream stream(peer, 1, [&](const SessionEvent&) { peer.process.kill_without_wait(); });
  const auto got = daemon.allocate(0, key, arena, 1 * kMiB);
  EXPECT_TRUE(got.ok()) << got.error().message;
}

TEST_F(PeerTrim, PeerWhoseStreamIsLostIsNotWaitedFor) {
  PeerClient peer(daemon, "a");
  peer.lease(64, 128);
  Stream stream(peer, 1,
                [&](const SessionEvent&) { daemon.control().keepalive_lost(peer.key, 1); });
  EXPECT_EQ(daemon.allocate(0, key, arena, 64).error().error, Error::kArenaFull);
  EXPECT_EQ(stream.asked().size(), 1u);
  EXPECT_EQ(daemon.allocate(0, key, arena, 64).error().error, Error::kArenaFull);
  EXPECT_EQ(stream.asked().size(), 1u) << "nobody is asked without a stream";
}

TEST_F(PeerTrim, WaiterIsServedByWhatAPeerFreesInItsOwnTime) {
  set_patience_ms("20");
  PeerClient peer(daemon, "a");
  peer.lease(64, 128);
  Stream stream(peer, 1);  // never answers
  auto waiting = daemon.allocate_later(1, args(64, 600'000));
  ASSERT_TRUE(eventually([&] { return stream.asked().size() == 1; }));
  EXPECT_EQ(peer.trim()->returned, 128u);
  EXPECT_TRUE(answer_of(std::move(waiting)).ok());
}

TEST_F(PeerTrim, ArenaDeletedWhileItsPeerIsAsked) {
  PeerClient peer(daemon, "a");
  peer.lease(64, 128);
  Stream stream(peer, 1);
  auto waiting = daemon.allocate_later(1, args(64));
  ASSERT_TRUE(eventually([&] { return stream.asked().size() == 1; }));
  ASSERT_TRUE(daemon.remove("a", true).ok());
  EXPECT_EQ(answer_of(std::move(waiting)).error().error, Error::kUnknownArena);
  ASSERT_TRUE(daemon.create("a", 8 * kMiB).ok());
  expect_exact(daemon, 0);
}

}  // namespace
}  // namespace arenad::server
