// Arenas: create, limits, list, delete.
#include <sys/stat.h>

#include "tests/core/daemon.h"

namespace arenad::server {
namespace {

TEST(Arenas, FactsOfAFreshArena) {
  Daemon daemon(1);
  CreateArenaArgs args;
  args.name = "cam.frames-1_x";
  args.capacity_bytes = 3 * kMiB;
  args.debug = *parse_debug("UZ");
  args.holder_only = true;
  args.has_access = true;
  args.access = {1234, 5678, 0640};
  const auto made = daemon.create(args);
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_EQ(made->capacity_bytes, 4 * kMiB);  // rounded up to superslabs
  EXPECT_EQ(debug_text(made->debug), "ZU");
  EXPECT_EQ(made->debug_findings, 0u);
  EXPECT_TRUE(made->holder_only);
  const auto facts = daemon.arena("cam.frames-1_x");
  EXPECT_EQ(facts->id, made->id);
  EXPECT_EQ(facts->access.uid, 1234u);
  EXPECT_EQ(facts->access.gid, 5678u);
  EXPECT_EQ(facts->access.mode, 0640u);
  EXPECT_EQ(facts->sessions, 0u);
  EXPECT_EQ(facts->held_blocks, 0u);
  EXPECT_FALSE(facts->quarantined);
}

// The arenas are the same but for the daemon's life, and the blocks lie at the same places.
TEST(Arenas, RefsOfAFormerDaemonFreeNothing) {
  std::vector<std::uint64_t> left;
  for (int life = 0; life < 2; ++life) {
    Daemon daemon(1);
    const auto arena = daemon.create("a", 8 * kMiB);
    const SessionKey key = daemon.open_attached("a", "s");
    const auto refs = refs_of(*daemon.allocate(0, key, arena->id, 256, 1000));
    const auto freed = daemon.free(0, key, arena->id, left);
    ASSERT_TRUE(freed.ok());
    EXPECT_EQ(freed->done, 0u);
    EXPECT_EQ(freed->errors.size(), left.size());
    EXPECT_EQ(daemon.arena("a")->held_blocks, 1000u);
    left = refs;
  }
}

TEST(Arenas, AccessDefaultsToTheDaemonsUserAndGroup) {
  Daemon daemon(1);
  const auto made = daemon.create("a", kMiB);
  EXPECT_EQ(made->access.uid, ::geteuid());
  EXPECT_EQ(made->access.gid, ::getegid());
  EXPECT_EQ(made->access.mode, 0660u);
}

TEST(Arenas, OneUserHasOnlySoManyAndAnAdministratorMore) {
  EngineOptions options;
  options.limits.max_user_arenas = 2;
  Daemon daemon(1, options);
  const auto create_as = [&](std::uint32_t uid, const std::string& name) {
    auto principal = std::make_shared<Principal>();
    principal->uid = principal->gid = uid;
    CreateArenaArgs args;
    args.name = name;
    args.capacity_bytes = kMiB;
    return wait_for<ArenaFacts>(
        [&](auto done) { daemon.control().create_arena(principal, args, done); });
  };
  EXPECT_TRUE(create_as(1000, "a").ok());
  EXPECT_TRUE(create_as(1000, "b").ok());
  const auto refused = create_as(1000, "c");
  EXPECT_EQ(refused.error().error, Error::kQuotaUser);
  EXPECT_NE(refused.error().message.find("uid 1000 has 2 arenas"), std::string::npos)
      << refused.error().message;
  EXPECT_TRUE(create_as(1001, "c").ok());
  for (const char* name : {"d", "e", "f"}) EXPECT_TRUE(daemon.create(name, kMiB).ok());
  ASSERT_TRUE(daemon.remove("a").ok());
  EXPECT_TRUE(create_as(1000, "a").ok());
}

TEST(Arenas, BadNamesCapacitiesAndModesAreRefused) {
  EngineOptions options;
  options.limits.max_arena_bytes = 16 * kMiB;
  Daemon daemon(1, options);
  for (const std::string name : {"", "a b", "a/b", "ä", "x\n"})
    EXPECT_EQ(daemon.create(name, kMiB).error().error, Error::kInvalidName);
  EXPECT_EQ(daemon.create(std::string(65, 'x'), kMiB).error().error, Error::kInvalidName);
  EXPECT_TRUE(daemon.create(std::string(64, 'x'), kMiB).ok());
  EXPECT_EQ(daemon.create("a", 0).error().error, Error::kInvalidCapacity);
  const auto large = daemon.create("a", 16 * kMiB + 1);
  EXPECT_EQ(large.error().error, Error::kInvalidCapacity);
  EXPECT_NE(large.error().message.find("16777216"), std::string::npos) << large.error().message;
  CreateArenaArgs args;
  args.name = "a";
  args.capacity_bytes = kMiB;
  args.has_access = true;
  args.access.mode = 01777;
  EXPECT_EQ(daemon.create(args).error().error, Error::kInvalidOption);
}

TEST(Arenas, NameIsTakenUntilTheArenaIsDeleted) {
  Daemon daemon(2);
  const auto first = daemon.create("a", kMiB);
  EXPECT_EQ(daemon.create("a", kMiB).error().error, Error::kArenaExists);
  EXPECT_TRUE(daemon.remove("a").ok());
  EXPECT_EQ(daemon.arena("a").error().error, Error::kUnknownArena);
  EXPECT_EQ(daemon.remove("a").error().error, Error::kUnknownArena);
  const auto second = daemon.create("a", kMiB);
  ASSERT_TRUE(second.ok());
  EXPECT_NE(second->id, first->id);  // refs of the first do not fit
}

TEST(Arenas, LimitsOfTheDaemonAreNamed) {
  EngineOptions options;
  options.limits.max_arenas = 2;
  options.limits.max_total_capacity_bytes = 10 * kMiB;
  Daemon daemon(1, options);
  ASSERT_TRUE(daemon.create("a", 6 * kMiB).ok());
  const auto sum = daemon.create("b", 5 * kMiB);
  EXPECT_EQ(sum.error().error, Error::kQuotaDaemon);
  EXPECT_NE(sum.error().message.find("10 MiB"), std::string::npos) << sum.error().message;
  ASSERT_TRUE(daemon.create("b", 4 * kMiB).ok());
  EXPECT_EQ(daemon.create("c", 1).error().error, Error::kQuotaDaemon);
  ASSERT_TRUE(daemon.remove("a").ok());
  EXPECT_TRUE(daemon.create("c", 1).ok());
}

TEST(Arenas, ListedByNameAPageAtATime) {
  Daemon daemon(2);
  for (const char* name : {"d", "b", "a", "c", "e"}) ASSERT_TRUE(daemon.create(name, kMiB).ok());
  std::string token, names;
  int pages = 0;
  do {
    const auto page = wait_for<Page<ArenaFacts>>(
        [&](auto done) { daemon.control().list_arenas(daemon_itself(), 2, token, done); });
    for (const ArenaFacts& arena : page->items) names += arena.name;
    token = page->next_page_token;
    ++pages;
  } while (!token.empty());
  EXPECT_EQ(names, "abcde");
  EXPECT_EQ(pages, 3);
}

TEST(Arenas, AttachedArenaIsDeletedOnlyByForce) {
  Daemon daemon(2);
  const auto arena = daemon.create("a", 4 * kMiB);
  const SessionKey key = daemon.open_attached("a", "alice");
  ASSERT_TRUE(daemon.allocate(0, key, arena->id, 64, 100).ok());
  const auto remote = daemon.allocate(1, key, arena->id, 64, 100);
  ASSERT_EQ(daemon.free(0, key, arena->id, refs_of(*remote))->done, 100u);
  const auto busy = daemon.remove("a");
  EXPECT_EQ(busy.error().error, Error::kArenaBusy);
  EXPECT_NE(busy.error().message.find("'alice'"), std::string::npos) << busy.error().message;
  ASSERT_TRUE(daemon.remove("a", true).ok());
  EXPECT_EQ(daemon.allocate(0, key, arena->id, 64).error().error, Error::kUnknownArena);
  EXPECT_TRUE(daemon.sessions()[0].attachments.empty());
  // The counters of the daemon stay monotonic.
  const auto stats = daemon.stats();
  EXPECT_EQ(stats->shards[0].heap.allocs, 100u);
  EXPECT_EQ(stats->shards[0].remote_frees_to[1], 100u);
  EXPECT_EQ(stats->held_blocks, 0u);
  // The session lives on, elsewhere.
  ASSERT_TRUE(daemon.create("b", kMiB).ok());
  EXPECT_TRUE(daemon.attach(key, "b").ok());
  EXPECT_EQ(daemon.close(key)->blocks, 0u);
}

TEST(Arenas, ClosedSessionNoLongerKeepsAnArenaBusy) {
  Daemon daemon(2);
  ASSERT_TRUE(daemon.create("a", kMiB).ok());
  const SessionKey key = daemon.open_attached("a");
  EXPECT_EQ(daemon.arena("a")->sessions, 1u);
  ASSERT_TRUE(daemon.close(key).ok());
  EXPECT_EQ(daemon.arena("a")->sessions, 0u);
  EXPECT_TRUE(daemon.remove("a").ok());
}

TEST(Arenas, WaiterOfADeletedArenaIsAnswered) {
  Daemon daemon(1);
  const auto arena = daemon.create("a", 2 * kMiB);
  const SessionKey key = daemon.open_attached("a");
  ASSERT_TRUE(daemon.allocate(0, key, arena->id, 2 * kMiB).ok());
  AllocateArgs args;
  args.session = key;
  args.arena_id = arena->id;
  args.size_bytes = 64;
  args.wait_ms = 600'000;
  auto waiting = daemon.allocate_later(0, args);
  ASSERT_TRUE(daemon.remove("a", true).ok());
  EXPECT_EQ(answer_of(std::move(waiting)).error().error, Error::kUnknownArena);
}

TEST(Arenas, EmptyMemoryGoesBackToTheSystem) {
  EngineOptions options;
  options.tunables = {
      {"idle_drain_ms", "5"}, {"commit_ahead_superslabs", "1"}, {"keep_empty_superslabs", "2"}};
  Daemon daemon(1, options);
  const auto arena = daemon.create("a", 64 * kMiB);
  const SessionKey key = daemon.open_attached("a");
  const auto got = daemon.allocate(0, key, arena->id, 64 * 1024, 700);
  ASSERT_TRUE(got.ok());
  EXPECT_GE(daemon.arena("a")->committed_bytes, 700u * 64 * 1024);
  ASSERT_EQ(daemon.free(0, key, arena->id, refs_of(*got))->done, 700u);
  EXPECT_TRUE(eventually([&] { return daemon.arena("a")->committed_bytes <= 2 * kSuperslabBytes; }))
      << daemon.arena("a")->committed_bytes;
  expect_exact(daemon, 0);
}

TEST(Arenas, MemoryIsCommittedAheadOfNeed) {
  EngineOptions options;
  options.tunables = {{"commit_ahead_superslabs", "3"}};
  Daemon daemon(1, options);
  ASSERT_TRUE(daemon.create("a", 64 * kMiB).ok());
  EXPECT_TRUE(
      eventually([&] { return daemon.arena("a")->committed_bytes == 3 * kSuperslabBytes; }));
}

}  // namespace
}  // namespace arenad::server
