// Leases: what is refused, what counts against which limit, waiting, returning, resuming.
#include <set>

#include "tests/core/peer_client.h"
#include "tests/support/text.h"

namespace arenad::server {
namespace {

// Sessions that never hand off: what the engine does is the same.
class LeaseTest : public ::testing::Test {
 protected:
  void SetUp() override {
    arena = daemon.create("a", 8 * kMiB)->id;
    key = daemon.open_attached("a", "peer", AttachMode::kPeer);
    heap = *daemon.open_heap(0, key, arena);
  }
  // 64 KiB slabs.
  LeaseArgs args(std::uint32_t count = 1) const {
    LeaseArgs a;
    a.session = key;
    a.arena_id = arena;
    a.heap_id = heap;
    a.size_class = Geometry().class_of(64);
    a.count = count;
    return a;
  }
  void expect_refused(const LeaseArgs& args, Error error, const std::string& part) {
    const auto answer = daemon.lease(1, args);
    ASSERT_FALSE(answer.ok()) << part;
    EXPECT_EQ(answer.error().error, error) << answer.error().message;
    EXPECT_TRUE(has(answer.error().message, part))
        << part << " is not in: " << answer.error().message;
  }
  std::uint64_t leased_bytes() { return daemon.stats("a")->leased_bytes; }

  // One user may have all heap ids.
  static EngineOptions options() {
    EngineOptions options;
    options.limits.max_user_heaps = kHeapIds - kFirstPeerHeap.value;
    return options;
  }

  Daemon daemon{2, options()};
  ArenaId arena;
  HeapId heap;
  SessionKey key;
};

TEST_F(LeaseTest, WrongRequestsAreRefusedWithWhatIsWrong) {
  LeaseArgs a = args();
  a.session.secret ^= 1;
  expect_refused(a, Error::kUnknownSession, "does not exist");
  a = args();
  a.arena_id = daemon.absent_id();
  expect_refused(a, Error::kUnknownArena, std::to_string(a.arena_id.value));
  const auto other = daemon.open_attached("a", "other", AttachMode::kPeer);
  const HeapId next{static_cast<std::uint16_t>(heap.value + 1)};
  const HeapId theirs = *daemon.open_heap(0, other, arena);
  for (const HeapId wrong : {HeapId{0}, HeapId{255}, next, theirs, HeapId{2048}, kNoHeap}) {
    a = args();
    a.heap_id = wrong;
    expect_refused(a, Error::kInvalidOption, "OpenHeap");
  }
  for (const std::uint32_t wrong : {0u, 1025u})
    expect_refused(args(wrong), Error::kInvalidCount, "the limit is 1024");
  a = args();
  a.size_class = {200};
  expect_refused(a, Error::kInvalidOption, "size class 200");
  a.size_class = kSpanClass;
  a.span_units = 3;
  a.count = 2;
  expect_refused(a, Error::kInvalidCount, "2 spans");
  a.count = 1;
  for (const std::uint32_t wrong : {0u, 33u, 129u}) {
    a.span_units = wrong;
    expect_refused(a, Error::kInvalidSize, std::to_string(wrong) + " units");
  }
  EXPECT_EQ(leased_bytes(), 0u);
}

TEST_F(LeaseTest, OnlyPeersLease) {
  const SessionKey writer = daemon.open_attached("a", "writer", AttachMode::kWriter);
  EXPECT_EQ(daemon.open_heap(0, writer, arena).error().error, Error::kReadOnly);
  LeaseArgs a = args();
  a.session = writer;
  expect_refused(a, Error::kReadOnly, "as writer, only a peer leases");
  EXPECT_EQ(daemon.give_back(0, writer, arena, {{1}}).error().error, Error::kReadOnly);
  EXPECT_EQ(daemon.resume(0, {writer, arena, {1}}, {}).error().error, Error::kReadOnly);
  const SessionKey stranger = daemon.open_kept();
  EXPECT_EQ(daemon.open_heap(0, stranger, arena).error().error, Error::kNotAttached);
}

TEST_F(LeaseTest, FewerThanAskedForWhenTheArenaHasNoMoreThenFull) {
  // Memory that is committed already is leased at once. The rest comes with the next call.
  std::set<SlabIndex> slabs;
  while (slabs.size() < 128) {
    const auto got = daemon.lease(0, args(500));
    ASSERT_TRUE(got.ok()) << got.error().message;
    slabs.insert(got->slabs.begin(), got->slabs.end());
  }
  EXPECT_EQ(slabs.size(), 128u);
  expect_refused(args(2), Error::kArenaFull, "2 slabs of size class");
  expect_refused(args(), Error::kArenaFull, "8 MiB leased to peers");
  EXPECT_EQ(daemon.allocate(0, key, arena, 64).error().error, Error::kArenaFull);
  EXPECT_EQ(daemon.give_back(1, key, arena, {slabs.begin(), slabs.end()})->returned, 128u);
  EXPECT_TRUE(daemon.allocate(0, key, arena, 64).ok());
}

TEST_F(LeaseTest, SpansAreLeasedWholeAndReturned) {
  for (const std::uint32_t units : {5u, 32u, 64u}) {
    LeaseArgs a = args();
    a.size_class = kSpanClass;
    a.span_units = units;
    const auto got = daemon.lease(0, a);
    ASSERT_TRUE(got.ok()) << got.error().message;
    ASSERT_EQ(got->slabs.size(), 1u);
    EXPECT_EQ(leased_bytes(), units * kUnit);
    EXPECT_EQ(daemon.give_back(1, key, arena, got->slabs)->returned, 1u);
    EXPECT_EQ(leased_bytes(), 0u);
  }
  expect_exact(daemon, 0);
}

TEST_F(LeaseTest, WaitingLeaseIsServedWhenMemoryComesBack) {
  const SessionKey holder = daemon.open_attached("a", "holder");
  const auto all = daemon.allocate(0, holder, arena, 8 * kMiB);
  ASSERT_TRUE(all.ok());
  LeaseArgs a = args(3);
  a.wait_ms = 600'000;
  auto waiting = daemon.lease_later(1, a);
  ASSERT_EQ(daemon.free(0, holder, arena, refs_of(*all))->done, 1u);
  const auto got = answer_of(std::move(waiting));
  ASSERT_TRUE(got.ok()) << got.error().message;
  EXPECT_EQ(got->slabs.size(), 3u);
}

TEST_F(LeaseTest, WaitOfALeaseRunsOutAndItsSessionsEndEndsIt) {
  const SessionKey holder = daemon.open_attached("a", "holder");
  ASSERT_TRUE(daemon.allocate(0, holder, arena, 8 * kMiB).ok());
  LeaseArgs a = args();
  a.wait_ms = 30;
  expect_refused(a, Error::kWaitExpired, "waited 30 ms for 1 slab");
  a.wait_ms = 600'000;
  auto waiting = daemon.lease_later(1, a);
  ASSERT_TRUE(daemon.close(key).ok());
  EXPECT_EQ(answer_of(std::move(waiting)).error().error, Error::kUnknownSession);
}

TEST_F(LeaseTest, ReturnNamesWhatIsNotTheSessions) {
  const SessionKey other = daemon.open_attached("a", "other", AttachMode::kPeer);
  LeaseArgs theirs = args();
  theirs.session = other;
  theirs.heap_id = *daemon.open_heap(0, other, arena);
  const SlabIndex foreign = daemon.lease(0, theirs)->slabs[0];
  ASSERT_TRUE(daemon.allocate(0, other, arena, 64).ok());  // a slab of a shard's
  const auto mine = daemon.lease(0, args(2));
  std::vector<SlabIndex> named{mine->slabs[0], foreign, mine->slabs[1],
                               mine->slabs[0], {128},   {0xffffffff}};
  for (SlabIndex slab{0}; slab.value < 128; ++slab.value)
    if (slab != foreign && slab != mine->slabs[0] && slab != mine->slabs[1]) named.push_back(slab);
  const auto answer = daemon.give_back(1, key, arena, named);
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(answer->returned, 2u);
  EXPECT_EQ(answer->refused.size(), named.size() - 2);
  EXPECT_EQ(leased_bytes(), kUnit);
  EXPECT_EQ(daemon.give_back(0, key, arena, std::vector<SlabIndex>(16385)).error().error,
            Error::kInvalidCount);
  expect_exact(daemon, 1);
}

TEST_F(LeaseTest, ResumeTakesBackWhatThePeerDoesNotKnow) {
  const auto known = daemon.lease(0, args(3)), lost = daemon.lease(1, args(2));
  const HeapId lost_heap = *daemon.open_heap(0, key, arena);
  std::vector<SlabIndex> named = known->slabs;
  named.push_back({127});
  named.push_back({1u << 30});
  ResumeArgs knows;
  knows.slabs = named;
  knows.heaps = {heap};
  const auto answer = daemon.resume(1, {key, arena, {1}}, knows);
  ASSERT_TRUE(answer.ok()) << answer.error().message;
  EXPECT_EQ(answer->taken_back, 2u);
  EXPECT_EQ(answer->unknown, (std::vector<SlabIndex>{{127}, {1u << 30}}));
  EXPECT_EQ(leased_bytes(), 3 * kUnit);
  EXPECT_EQ(*daemon.open_heap(0, key, arena, {1}), lost_heap);  // nobody's until now
  knows.slabs = known->slabs;
  knows.heaps = {heap, {999}};
  const auto wrong = daemon.resume(0, {key, arena, {2}}, knows);
  EXPECT_EQ(wrong.error().error, Error::kInvalidOption);
  EXPECT_TRUE(has(wrong.error().message, "heap 999"));
  knows.slabs.resize(1048577);
  EXPECT_EQ(daemon.resume(0, {key, arena, {2}}, knows).error().error, Error::kInvalidCount);
  EXPECT_EQ(leased_bytes(), 3 * kUnit);
}

TEST_F(LeaseTest, CallOfAnEarlierEpochIsRefusedAndChangesNothing) {
  // The second resume was served first. The session leased since, and the first one comes late.
  ResumeArgs knows;
  knows.heaps = {heap};
  ASSERT_TRUE(daemon.resume(0, {key, arena, {2}}, knows).ok());
  LeaseArgs now = args(3);
  now.epoch = {2};
  const auto leased = daemon.lease(0, now);
  ASSERT_TRUE(leased.ok());
  const std::uint64_t bytes = leased_bytes();
  for (const std::uint64_t late : {0, 1, 2}) {
    const auto resumed = daemon.resume(1, {key, arena, {late}}, knows);
    ASSERT_FALSE(resumed.ok()) << late;
    EXPECT_EQ(resumed.error().error, Error::kStaleEpoch);
    EXPECT_TRUE(has(resumed.error().message, "in epoch 2")) << resumed.error().message;
  }
  for (const std::uint64_t late : {0, 1, 3}) {
    EXPECT_EQ(daemon.give_back(0, key, arena, leased->slabs, {late}).error().error,
              Error::kStaleEpoch);
    EXPECT_EQ(daemon.open_heap(0, key, arena, {late}).error().error, Error::kStaleEpoch);
    LeaseArgs again = args();
    again.epoch = {late};
    EXPECT_EQ(daemon.lease(1, again).error().error, Error::kStaleEpoch);
  }
  EXPECT_EQ(leased_bytes(), bytes);
  EXPECT_EQ(daemon.give_back(0, key, arena, leased->slabs, {2})->returned, leased->slabs.size());
}

TEST_F(LeaseTest, CallThatWaitsForMemoryOutlivesItsEpochAndGetsNothing) {
  std::vector<SlabIndex> all;
  for (;;) {
    const auto some = daemon.lease(0, args(64));
    if (!some.ok()) break;
    all.insert(all.end(), some->slabs.begin(), some->slabs.end());
  }
  LeaseArgs waiting = args();
  waiting.wait_ms = 600'000;
  auto later = daemon.lease_later(0, waiting);
  // The resume names nothing, so all memory is free again, and the call is tried.
  ResumeArgs knows;
  knows.heaps = {heap};
  EXPECT_EQ(daemon.resume(0, {key, arena, {1}}, knows)->taken_back, all.size());
  EXPECT_EQ(answer_of(std::move(later)).error().error, Error::kStaleEpoch);
  EXPECT_EQ(leased_bytes(), 0u);
}

TEST_F(LeaseTest, ResumeInPartsLooksAtEachPartOnceAndAtHeapsInTheFirst) {
  const auto known = daemon.lease(0, args(4)), lost = daemon.lease(1, args(4));
  ASSERT_EQ(known->slabs.size() + lost->slabs.size(), 8u);
  const std::uint32_t units = 8 * kMiB / kUnit;
  ResumeArgs part;
  part.heaps = {heap};
  std::uint32_t taken_back = 0;
  for (std::uint32_t first = 0; first < units; first += 3) {
    part.first_unit = first;
    part.end_unit = first + 3;
    part.slabs.clear();
    for (const SlabIndex slab : known->slabs)
      if (slab.value >= first && slab.value < first + 3) part.slabs.push_back(slab);
    const auto answer = daemon.resume(0, {key, arena, {1}}, part);
    ASSERT_TRUE(answer.ok()) << answer.error().message;
    EXPECT_TRUE(answer->unknown.empty());
    taken_back += answer->taken_back;
    part.heaps.clear();
  }
  EXPECT_EQ(taken_back, 4u);
  EXPECT_EQ(leased_bytes(), 4 * kUnit);
  LeaseArgs next = args();
  next.epoch = {1};
  EXPECT_TRUE(daemon.lease(0, next).ok()) << "the heap is still the session's";
  part.first_unit = 3;
  EXPECT_EQ(daemon.resume(0, {key, arena, {2}}, part).error().error, Error::kStaleEpoch)
      << "only a first part begins an epoch";
}

TEST_F(LeaseTest, AttachingAgainKeepsTheEpoch) {
  ASSERT_TRUE(daemon.resume(0, {key, arena, {7}}, {}).ok());
  ASSERT_TRUE(daemon.attach(key, "a", AttachMode::kPeer).ok());
  EXPECT_EQ(daemon.open_heap(0, key, arena).error().error, Error::kStaleEpoch);
  EXPECT_TRUE(daemon.open_heap(0, key, arena, {7}).ok());
}

TEST_F(LeaseTest, HeapIdsRunOutAndComeBackWithTheSessionsEnd) {
  auto other = std::make_shared<Principal>(*daemon_itself());
  other->uid = 1000;
  const SessionKey many = wait_for<OpenedSession>([&](auto done) {
                            daemon.control().open_session(other, {.name = "many"}, done);
                          })->key;
  ASSERT_TRUE(daemon.attach(many, "a", AttachMode::kPeer).ok());
  for (std::uint32_t i = 0; i < 2048 - 256 - 1; ++i)
    ASSERT_TRUE(daemon.open_heap(i % 2, many, arena).ok()) << i;
  const auto none = daemon.open_heap(0, key, arena);
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.error().error, Error::kQuotaDaemon);
  EXPECT_TRUE(has(none.error().message, "1792 heap ids"));
  ASSERT_TRUE(daemon.close(many).ok());
  EXPECT_TRUE(daemon.open_heap(0, key, arena).ok());
}

TEST(LeasesOfUsers, OneUserHasOnlySoManyHeapsInAnArena) {
  EngineOptions options;
  options.limits.max_user_heaps = 3;
  Daemon daemon(2, options);
  const ArenaId arena = daemon.create("a", 16 << 20)->id;
  const SessionKey one = daemon.open_attached("a", "one", AttachMode::kPeer);
  const SessionKey two = daemon.open_attached("a", "two", AttachMode::kPeer);
  for (std::uint32_t i = 0; i < 3; ++i)
    ASSERT_TRUE(daemon.open_heap(i % 2, i == 0 ? one : two, arena).ok());
  const auto none = daemon.open_heap(0, one, arena);
  EXPECT_EQ(none.error().error, Error::kQuotaUser);
  EXPECT_NE(none.error().message.find("max_user_heaps"), std::string::npos);
  auto other = std::make_shared<Principal>();
  other->uid = 1000;
  const auto opened = wait_for<OpenedSession>(
      [&](auto done) { daemon.control().open_session(other, {.name = "other"}, done); });
  ASSERT_EQ(daemon.attach(opened->key, "a", AttachMode::kPeer).error().error, Error::kNotPermitted);
  CreateArenaArgs args;
  args.name = "open";
  args.capacity_bytes = 16 << 20;
  args.has_access = true;
  args.access.mode = 0666;
  const ArenaId open_to_all = daemon.create(args)->id;
  for (const SessionKey key : {one, opened->key}) {
    ASSERT_TRUE(daemon.attach(key, "open", AttachMode::kPeer).ok());
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(daemon.open_heap(0, key, open_to_all).ok());
  }
}

TEST_F(LeaseTest, ArenaWithLeasesMayBeDeleted) {
  ASSERT_TRUE(daemon.lease(0, args(100)).ok());
  EXPECT_EQ(daemon.remove("a").error().error, Error::kArenaBusy);
  ASSERT_TRUE(daemon.remove("a", true).ok());
  expect_refused(args(), Error::kUnknownArena, "arena 'a'");
  expect_refused(args(), Error::kUnknownArena, "was deleted");
  ASSERT_TRUE(daemon.create("a", 8 * kMiB).ok());
  EXPECT_TRUE(daemon.close(key).ok());
  expect_exact(daemon, 0);
}

TEST_F(LeaseTest, NothingIsLeasedFromAQuarantinedArena) {
  PeerClient vandal(daemon, "a", "vandal");
  const auto slabs = vandal.lease(64, 2);
  vandal.allocate(64, 10);
  EXPECT_EQ(vandal.process.command("peer scribble " + std::to_string(slabs[0].value)), "scribbled");
  ASSERT_TRUE(daemon.create("b", 8 * kMiB).ok());
  vandal.process.kill();
  EXPECT_TRUE(eventually([&] { return daemon.arena("a")->quarantined; }));
  expect_refused(args(), Error::kQuarantined, "is quarantined");
  const SessionKey other = daemon.open_attached("b");
  const auto audit = daemon.audit("b");
  EXPECT_TRUE(audit->exact);
  EXPECT_TRUE(daemon.allocate(0, other, daemon.arena("b")->id, 64).ok());
}

}  // namespace
}  // namespace arenad::server
