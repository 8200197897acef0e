// Random bits of one arena's control memory are flipped under load.
//
// The daemon lives on. The other arena serves exactly. The damaged arena serves exactly too, or it
// is quarantined with a reason and refuses to allocate. quarantine_service_test.cc says what each
// call answers then.
// ARENAD_CORRUPTION_FLIPS says how many bits (4,000 by default; the long run takes 100,000).
#include <signal.h>

#include <atomic>
#include <random>

#include "tests/allocator/seed.h"
#include "tests/core/peer_client.h"
#include "tests/core/served.h"
#include "tests/support/refs.h"
#include "tests/support/workers.h"

namespace arenad::server {
namespace {

constexpr std::uint64_t kFlipsALife = 400;  // of an arena; then another is made
constexpr std::uint64_t kFlipsATime = 40;

std::uint64_t wanted_flips() {
  const char* given = std::getenv("ARENAD_CORRUPTION_FLIPS");
  return given != nullptr ? std::strtoull(given, nullptr, 0) : 4000;
}

// Calls of one session on one arena, of every kind, from a thread of its own. Refs that mean
// nothing are among them.
class CallLoad {
 public:
  CallLoad(Daemon& daemon, SessionKey key, ArenaId arena, std::uint64_t seed)
      : daemon_(daemon), key_(key), arena_(arena), random_(seed) {
    workers_.start([this] { run(); });
  }
  std::uint64_t calls() const { return calls_.load(); }

 private:
  void run() {
    while (workers_.go_on()) {
      const std::uint64_t r = random_();
      const auto shard = static_cast<std::uint32_t>(r & 1);
      calls_.fetch_add(1);
      if (held_.size() < 500 && r % 8 < 4) {
        static constexpr std::uint64_t kSizes[] = {16, 64, 64, 700, 3000, 20000, 150000, 3 << 20};
        const auto got =
            daemon_.allocate(shard, key_, arena_, kSizes[(r >> 8) % 8], 1 + (r >> 12) % 8);
        if (got.ok())
          for (const std::uint64_t ref : refs_of(*got)) held_.push_back(ref);
        continue;
      }
      std::vector<std::uint64_t> some;
      for (std::uint64_t n = (r >> 8) % 12; n > 0 && !held_.empty(); --n) {
        std::swap(held_[random_() % held_.size()], held_.back());
        some.push_back(held_.back());
        held_.pop_back();
      }
      if (r % 8 == 4) {
        (void)daemon_.acquire(shard, key_, arena_, some, 5);
        (void)daemon_.describe(shard, key_, arena_, some);
        held_.insert(held_.end(), some.begin(), some.end());
        continue;
      }
      if (r % 8 == 5) {
        (void)daemon_.share(shard, key_, arena_, some);
        (void)daemon_.release(1 - shard, key_, arena_, some);
        continue;
      }
      some.push_back(random_());  // means nothing
      if (!some.empty())
        some.push_back(
            ref_of(0, {static_cast<std::uint16_t>(random_() & kMaxArenaId)}, slot_of(Ref{some[0]}))
                .value);
      (void)daemon_.free(shard, key_, arena_, some);
    }
  }

  Daemon& daemon_;
  const SessionKey key_;
  const ArenaId arena_;
  std::mt19937_64 random_;
  std::vector<std::uint64_t> held_;
  std::atomic<std::uint64_t> calls_{0};
  test::Workers workers_;  // last: it ends before what it works on
};

// A peer that works by itself. In a damaged arena it may not even get started, which is nobody's
// fault but the flipper's.
std::unique_ptr<PeerClient> start_churn(Daemon& daemon, const std::string& arena,
                                        std::uint64_t seed, bool takes) {
  auto peer = std::make_unique<PeerClient>(daemon, arena, "churn");
  for (const std::uint64_t size : {64, 1024})
    if (const auto got = daemon.lease(seed & 1, peer->lease_args(size, 3)); got.ok())
      peer->give(size, got->slabs);
  peer->process.send("peer churn " + std::to_string(seed) + (takes ? " 1" : " 0"));
  return peer;
}

class Corruption : public ::testing::Test {
 protected:
  void SetUp() override { ::signal(SIGPIPE, SIG_IGN); }  // peers may die of what they find

  void expect_other_exact() {
    const auto audit = daemon.audit("b");
    ASSERT_TRUE(audit.ok()) << audit.error().message;
    ASSERT_TRUE(audit->exact) << audit->arenas[0].report.findings[0];
  }
  // What the daemon reads of the damaged arena, all of it.
  void look_everywhere() {
    EXPECT_TRUE(daemon.stats().ok());
    EXPECT_TRUE(wait_for<Holders>([&](auto done) {
                  daemon.control().list_holders(daemon_itself(), "", 1000, done);
                }).ok());
    EXPECT_TRUE(wait_for<std::vector<SlabInfoRow>>([&](auto done) {
                  daemon.control().slab_info(daemon_itself(), "", done);
                }).ok());
    (void)daemon.sessions();
    EXPECT_TRUE(daemon.audit("a").ok());
  }
  void one_life(std::uint64_t flips);
  void expect_exact_or_quarantined();

  std::mt19937_64 random{test_seed()};
  Daemon daemon;
  std::uint64_t quarantined = 0, served = 0;
};

void Corruption::one_life(std::uint64_t flips) {
  const auto made = daemon.create("a", 16 * kMiB);
  ASSERT_TRUE(made.ok()) << made.error().message;
  PeerClient hostile(daemon, "a", "hostile");
  const SessionKey caller = daemon.open_attached("a");
  {
    const CallLoad calls(daemon, caller, made->id, random());
    std::unique_ptr<PeerClient> peers[] = {start_churn(daemon, "a", random(), true),
                                           start_churn(daemon, "a", random(), false)};
    while (flips > 0) {
      const std::uint64_t now = std::min(flips, kFlipsATime);
      flips -= now;
      hostile.process.send("peer flip " + std::to_string(random()) + " " + std::to_string(now));
      switch (random() % 6) {
        case 0: look_everywhere(); break;
        case 1:
          peers[random() % 2]->process.kill();
          break;  // reaped, adopted and drained among the flips
        case 2: expect_other_exact(); break;
        case 3: (void)daemon.close(peers[random() % 2]->key); break;
        default: break;
      }
      ASSERT_EQ(hostile.process.receive(), "flipped=" + std::to_string(now));
      if (::testing::Test::HasFatalFailure()) return;
    }
    for (auto& peer : peers) peer->process.kill();
    const std::set<SessionId> dead{peers[0]->key.id, peers[1]->key.id};
    EXPECT_TRUE(eventually([&] {
      for (const SessionFacts& s : daemon.sessions())
        if (dead.contains(s.id)) return false;
      return true;
    }));
  }
  EXPECT_TRUE(daemon.close(caller).ok());
  expect_exact_or_quarantined();
  EXPECT_TRUE(daemon.remove("a", true).ok());
  expect_other_exact();
}

// What the damaged arena serves when nobody damages it any more.
void Corruption::expect_exact_or_quarantined() {
  const auto audit = daemon.audit("a");
  ASSERT_TRUE(audit.ok()) << audit.error().message;
  const auto facts = daemon.arena("a");
  ASSERT_TRUE(facts.ok()) << facts.error().message;
  ASSERT_EQ(audit->exact, !facts->quarantined);
  EXPECT_EQ(facts->quarantined, !facts->quarantine_reason.empty());
  ++(facts->quarantined ? quarantined : served);
  if (facts->quarantined) {
    expect_refuses_to_allocate(daemon, "a", daemon.open_attached("a"));
    return;
  }
  const std::uint64_t held = facts->held_blocks;
  expect_serves_exactly(daemon, "a");
  const auto after = daemon.audit("a");
  EXPECT_TRUE(after->exact) << (after->arenas[0].report.findings.empty()
                                    ? ""
                                    : after->arenas[0].report.findings[0]);
  EXPECT_EQ(daemon.arena("a")->held_blocks, held);
}

TEST_F(Corruption, FlippedBitsOfOneArenaHarmNeitherTheDaemonNorAnother) {
  const auto other = daemon.create("b", 16 * kMiB);
  ASSERT_TRUE(other.ok());
  const SessionKey session = daemon.open_attached("b");
  const CallLoad calls(daemon, session, other->id, random());
  const auto maker = start_churn(daemon, "b", random(), false);
  auto taker = start_churn(daemon, "b", random(), true);
  for (std::uint64_t left = wanted_flips(); left > 0 && !HasFailure();) {
    const std::uint64_t now = std::min(left, 1 + random() % (2 * kFlipsALife));
    left -= now;
    one_life(now);
    expect_serves_exactly(daemon, "b");
    // Deaths are among what the other arena goes through.
    taker->process.kill();
    taker = start_churn(daemon, "b", random(), true);
  }
  std::printf("arenas quarantined=%llu served=%llu, calls beside them=%llu\n",
              static_cast<unsigned long long>(quarantined), static_cast<unsigned long long>(served),
              static_cast<unsigned long long>(calls.calls()));
  EXPECT_GT(quarantined, 0u);
  EXPECT_GT(calls.calls(), 0u);
}

}  // namespace
}  // namespace arenad::server
