// Pinned arenas in the engine: made whole or not at all, kept whole by trims, maintenance and
// restarts.
#include <filesystem>
#include <string>
#include <utility>

#include "server/core/control/arena_registry.h"
#include "tests/core/daemon.h"
#include "tests/core/state_directory_fixture.h"
#include "tests/support/text.h"

namespace arenad::server {
namespace {

CreateArenaArgs pinned(const std::string& name, std::uint64_t capacity_bytes) {
  CreateArenaArgs args;
  args.name = name;
  args.capacity_bytes = capacity_bytes;
  args.pinned = true;
  return args;
}

Caller a_user() {
  auto principal = std::make_shared<Principal>();
  principal->uid = principal->gid = 65534;
  return principal;
}

// The maintenance thread gives back all that is empty, as soon as it may.
EngineOptions eager() {
  EngineOptions options;
  options.tunables = {
      {"idle_drain_ms", "5"}, {"commit_ahead_superslabs", "0"}, {"keep_empty_superslabs", "0"}};
  return options;
}

TEST(PinnedArenas, StayCommittedWhateverIsFreedAndTrimmed) {
  Daemon daemon(2, eager());
  const auto made = daemon.create(pinned("a", 32 * kMiB));
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_TRUE(made->pinned);
  EXPECT_FALSE(made->locked);
  EXPECT_EQ(made->committed_bytes, 32 * kMiB) << "before anybody allocates";
  // An ordinary arena beside it tells when the maintenance thread has given memory back.
  const auto other = daemon.create("b", 32 * kMiB);
  const SessionKey key = daemon.open_attached("a");
  ASSERT_TRUE(daemon.attach(key, "b").ok());
  for (const ArenaId id : {made->id, other->id}) {
    const auto spans = daemon.allocate(0, key, id, 2 * kMiB, 16);
    ASSERT_TRUE(spans.ok()) << spans.error().message;
    EXPECT_EQ(daemon.free(1, key, id, refs_of(*spans))->done, 16u);
    const auto small = daemon.allocate(1, key, id, 256, 1000);
    EXPECT_EQ(daemon.free(0, key, id, refs_of(*small))->done, 1000u);
  }
  const auto trimmed =
      wait_for<TrimFacts>([&](auto done) { daemon.control().trim(daemon_itself(), "", done); });
  ASSERT_TRUE(trimmed.ok());
  EXPECT_TRUE(eventually([&] { return daemon.arena("b")->committed_bytes == 0; }));
  EXPECT_EQ(daemon.arena("a")->committed_bytes, 32 * kMiB);
  expect_exact(daemon, 0);
}

TEST(PinnedArenas, RefusalNamesTheLimitAndNothingIsLeft) {
  const test::TemporaryDirectory state(test::kMemoryFiles);
  EngineOptions options;
  options.state_directory = state.path();
  options.limits.max_total_bytes = 16 * kMiB;
  options.limits.max_total_capacity_bytes = 32 * kMiB;
  options.limits.max_arenas = 1;
  Daemon daemon(1, options);
  const auto refused = daemon.create(pinned("a", 18 * kMiB));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().error, Error::kMachineFull);
  for (const char* part :
       {"18 MiB", "max_total_bytes", "16 MiB", error_advice(Error::kMachineFull)})
    EXPECT_TRUE(has(refused.error().message, part)) << refused.error().message;
  EXPECT_EQ(daemon.arena("a").error().error, Error::kUnknownArena);
  for (const auto& file : std::filesystem::directory_iterator(state.path()))
    EXPECT_FALSE(file.path().filename().string().starts_with("a.")) << file.path();
  // The name, the id, the capacity and the budget are free again.
  const auto made = daemon.create(pinned("a", 16 * kMiB));
  ASSERT_TRUE(made.ok()) << made.error().message;
}

TEST(PinnedArenas, LockNeedsAnAdministratorAndPinned) {
  Daemon daemon(1);
  CreateArenaArgs args = pinned("a", 2 * kMiB);
  args.lock = true;
  const auto by_user =
      wait_for<ArenaFacts>([&](auto done) { daemon.control().create_arena(a_user(), args, done); });
  EXPECT_EQ(by_user.error().error, Error::kNotPermitted);
  const auto made = daemon.create(args);
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_TRUE(made->locked);
  args.name = "b";
  args.pinned = false;
  EXPECT_EQ(daemon.create(args).error().error, Error::kInvalidOption);
  args.lock = false;
  args.pinned = true;
  EXPECT_TRUE(wait_for<ArenaFacts>([&](auto done) {
                daemon.control().create_arena(a_user(), args, done);
              }).ok());
}

TEST(PinnedArenas, OfOneUserHaveAtMostWhatAUserMayHave) {
  EngineOptions options;
  options.limits.max_user_bytes = 8 * kMiB;
  Daemon daemon(1, options);
  const auto create = [&](const std::string& name, std::uint64_t bytes, bool is_pinned) {
    CreateArenaArgs args = pinned(name, bytes);
    args.pinned = is_pinned;
    return wait_for<ArenaFacts>(
        [&](auto done) { daemon.control().create_arena(a_user(), args, done); });
  };
  ASSERT_TRUE(create("a", 6 * kMiB, true).ok());
  const auto over = create("b", 4 * kMiB, true);
  EXPECT_EQ(over.error().error, Error::kQuotaUser);
  for (const char* part : {"6 MiB in pinned arenas", "max_user_bytes, 8 MiB"})
    EXPECT_TRUE(has(over.error().message, part)) << over.error().message;
  EXPECT_TRUE(create("b", 64 * kMiB, false).ok()) << "which takes memory only as it is used";
  EXPECT_TRUE(create("c", 2 * kMiB, true).ok());
  EXPECT_TRUE(daemon.create(pinned("d", 16 * kMiB)).ok()) << "an administrator may have more";
}

TEST(PinnedArenas, ArePinnedUnderTheNextDaemon) {
  const test::TemporaryDirectory state(test::kMemoryFiles);
  EngineOptions options = eager();
  options.state_directory = state.path();
  {
    Daemon daemon(1, options);
    CreateArenaArgs args = pinned("a", 2 * kMiB);
    args.lock = true;
    ASSERT_TRUE(daemon.create(args).ok());
    ASSERT_TRUE(daemon.create(pinned("b", 16 * kMiB)).ok());
  }
  Daemon daemon(1, options);
  for (const char* name : {"a", "b"}) {
    const auto facts = daemon.arena(name);
    ASSERT_TRUE(facts.ok()) << facts.error().message;
    EXPECT_TRUE(facts->pinned);
    EXPECT_EQ(facts->committed_bytes, facts->capacity_bytes);
  }
  EXPECT_TRUE(daemon.arena("a")->locked);
  EXPECT_FALSE(daemon.arena("b")->locked);
  const auto trimmed =
      wait_for<TrimFacts>([&](auto done) { daemon.control().trim(daemon_itself(), "", done); });
  EXPECT_EQ(trimmed->committed_bytes, 18 * kMiB);
}

// The daemon that was committing it has died.
TEST_F(StateDirectoryTest, PinnedArenaThatWasNotFinishedIsRemoved) {
  {
    auto state = open();
    ASSERT_TRUE(state.ok());
    ArenaConfig wanted = options("pool");
    wanted.pinned = true;
    const auto made = state->create(wanted, {});
    ASSERT_TRUE(made.ok());
    ASSERT_EQ((*made)->commit_whole().error, Error::kNone);
  }
  EXPECT_TRUE(find().empty());
  EXPECT_TRUE(has(log, "arena 'pool' was being made when its daemon died: removed")) << log;
  EXPECT_TRUE(files().empty());
}

class UnfinishedArena : public testing::Test {
 protected:
  static Limits limits() {
    Limits limits;
    limits.max_user_arenas = 1;
    limits.max_total_capacity_bytes = 6 * kMiB;
    return limits;
  }
  Answer<std::shared_ptr<ArenaState>> make(const std::string& name, const Caller& caller) {
    CreateArenaArgs args = pinned(name, 4 * kMiB);
    args.access.uid = caller->uid;
    return arenas.make(*caller, args);
  }
  StateDirectory state;
  ArenaRegistry arenas{limits(), state, nullptr, 1};
};

TEST_F(UnfinishedArena, HasItsNameAndCountsAndNobodyFindsIt) {
  const auto made = make("a", a_user());
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_EQ(arenas.find("a"), nullptr);
  EXPECT_EQ(arenas.find((*made)->arena->id()), nullptr);
  EXPECT_TRUE(arenas.all().empty());
  EXPECT_EQ(arenas.capacity_bytes(), 4 * kMiB);
  const auto twice = make("a", daemon_itself());
  EXPECT_EQ(twice.error().error, Error::kArenaExists);
  EXPECT_TRUE(has(twice.error().message, "is being created")) << twice.error().message;
  EXPECT_EQ(make("b", a_user()).error().error, Error::kQuotaUser);
  EXPECT_EQ(make("b", daemon_itself()).error().error, Error::kQuotaDaemon);
  const ArenaRecord* const finished = arenas.finish("a");
  EXPECT_EQ(arenas.find("a"), finished);
  EXPECT_EQ(arenas.find((*made)->arena->id()), finished);
}

TEST_F(UnfinishedArena, ThatIsGivenUpLeavesNothing) {
  ASSERT_TRUE(make("a", a_user()).ok());
  arenas.give_up("a");
  EXPECT_EQ(arenas.capacity_bytes(), 0u);
  EXPECT_TRUE(make("a", a_user()).ok());
}

TEST_F(UnfinishedArena, IsCommittedNoFurtherWhenTheDaemonStops) {
  const auto made = make("a", daemon_itself());
  ASSERT_TRUE(made.ok());
  arenas.stop_unfinished();
  const Failure stopped = (*made)->arena->commit_whole();
  EXPECT_EQ(stopped.error, Error::kMachineFull);
  EXPECT_TRUE(has(stopped.message, "the daemon is stopping")) << stopped.message;
}

}  // namespace
}  // namespace arenad::server
