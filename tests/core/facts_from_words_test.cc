// Facts of arenas in which blocks change hands without a call: they come from the words.
#include "server/core/control/census.h"
#include "tests/core/peer_client.h"

namespace arenad::server {
namespace {

class FactsFromWords : public ::testing::Test {
 protected:
  FactsFromWords() : daemon(2, options()) {
    arena = daemon.create("a", 16 * kMiB)->id;
    EXPECT_TRUE(daemon.create("other", 16 * kMiB).ok());
    peer = std::make_unique<PeerClient>(daemon, "a", "peer");
    remote = daemon.open_attached("a", "remote");
  }
  static EngineOptions options() {
    EngineOptions o;
    o.tunables = {{"keepalive_grace_ms", "600000"}};
    return o;
  }
  AttachmentFacts attachment(const std::string& session) {
    for (const SessionFacts& facts : daemon.sessions())
      if (facts.name == session) return facts.attachments.at(0);
    return {};
  }
  Daemon daemon;
  ArenaId arena;
  std::unique_ptr<PeerClient> peer;
  SessionKey remote;
};

TEST_F(FactsFromWords, ChangesMadeInMemoryShowEverywhere) {
  const auto servers = refs_of(*daemon.allocate(0, remote, arena, 1024, 20));
  peer->lease(512, 4);
  peer->allocate(512, 50);
  EXPECT_EQ(peer->on("free", {servers.begin(), servers.begin() + 5}), "done=5");
  EXPECT_EQ(peer->on("acquire", {servers.begin() + 5, servers.begin() + 9}), "done=4");

  const auto facts = daemon.arena("a");
  EXPECT_EQ(facts->held_blocks, 50u + 15);
  EXPECT_EQ(facts->held_bytes, 50u * 512 + 15 * 1024);
  const auto page = wait_for<Page<ArenaFacts>>(
      [&](auto done) { daemon.control().list_arenas(daemon_itself(), 0, "", done); });
  EXPECT_EQ(page->items[0].held_blocks, 65u);
  EXPECT_EQ(page->items[1].held_blocks, 0u);
  EXPECT_EQ(attachment("remote").held_blocks, 11u);
  EXPECT_EQ(attachment("remote").held_bytes, 11u * 1024);
  EXPECT_EQ(attachment("remote").leased_bytes, 0u);
  EXPECT_EQ(attachment("peer").held_blocks, 54u);
  EXPECT_EQ(attachment("peer").leased_bytes, 4u * 65536);
  for (const char* scope : {"a", ""}) {
    const auto stats = daemon.stats(scope);
    EXPECT_EQ(stats->held_blocks, 65u);
    EXPECT_EQ(stats->held_bytes, 50u * 512 + 15 * 1024);
    EXPECT_EQ(stats->leased_slabs, 4u);
    EXPECT_EQ(stats->leased_bytes, 4u * 65536);
  }
  EXPECT_EQ(daemon.stats("other")->held_blocks, 0u);
  const auto holders = wait_for<Holders>(
      [&](auto done) { daemon.control().list_holders(daemon_itself(), "a", 0, done); });
  ASSERT_EQ(holders->rows.size(), 3u);  // the peer with two labels
  EXPECT_EQ(holders->rows[0].blocks, 50u);
  EXPECT_EQ(holders->rows[0].tag, 7u);
  EXPECT_EQ(holders->rows[1].session_name, "remote");
  EXPECT_EQ(holders->rows[2].tag, 9u);
  EXPECT_EQ(holders->total_blocks, 65u);
}

TEST_F(FactsFromWords, ArenasWithoutPeersKeepTheirCounts) {
  const SessionKey key = daemon.open_attached("other", "o");
  const auto id = daemon.arena("other")->id;
  const auto got = daemon.allocate(0, key, id, 64, 10);
  ASSERT_TRUE(daemon.allocate(1, remote, arena, 64, 3).ok());
  EXPECT_EQ(daemon.stats()->held_blocks, 13u);
  ASSERT_TRUE(daemon.free(1, key, id, refs_of(*got)).ok());
  ASSERT_TRUE(daemon.allocate(0, key, id, 64, 4).ok());
  EXPECT_EQ(daemon.close(key)->blocks, 4u);
  EXPECT_EQ(daemon.stats()->held_blocks, 3u);
  EXPECT_EQ(daemon.arena("other")->held_blocks, 0u);
}

// Counted by calls until then, by words from then on.
TEST_F(FactsFromWords, ArenaThatGetsItsFirstPeerIsCountedAlike) {
  const SessionKey key = daemon.open_attached("other", "o");
  ASSERT_TRUE(daemon.allocate(0, key, daemon.arena("other")->id, 64, 10).ok());
  EXPECT_EQ(daemon.arena("other")->held_blocks, 10u);
  PeerClient late(daemon, "other", "late");
  EXPECT_EQ(daemon.arena("other")->held_blocks, 10u);
  EXPECT_EQ(daemon.stats()->held_blocks, 10u);
}

TEST_F(FactsFromWords, SlabInfoHasARowForWhatPeersHave) {
  peer->lease(512, 4);
  peer->allocate(512, 50);
  const auto rows = wait_for<std::vector<SlabInfoRow>>(
      [&](auto done) { daemon.control().slab_info(daemon_itself(), "a", done); });
  ASSERT_EQ(rows->size(), 1u);
  const SlabInfoRow& row = (*rows)[0];
  EXPECT_TRUE(row.peers);
  EXPECT_EQ(row.usage.slabs, 4u);
  EXPECT_EQ(row.usage.active_slabs, 1u);
  EXPECT_EQ(row.usage.capacity_blocks, 4u * 128);
  EXPECT_EQ(row.usage.active_blocks - row.usage.cached_blocks, 50u);
  EXPECT_EQ(row.usage.active_blocks + row.usage.uncarved_blocks, 4u * 128);
  EXPECT_EQ(row.stride_bytes, 512u);
  EXPECT_EQ(daemon.audit("a")->arenas[0].report.leased_slabs, 4u);
}

TEST_F(FactsFromWords, FullArenaNamesHoldersByTheWords) {
  const auto servers = refs_of(*daemon.allocate(0, remote, arena, 1 * kMiB, 10));
  EXPECT_EQ(peer->on("acquire", {servers.begin(), servers.begin() + 7}), "done=7");
  peer->lease(512, 32);
  const auto full = daemon.allocate(1, remote, arena, 8 * kMiB);
  ASSERT_FALSE(full.ok());
  const std::string& text = full.error().message;
  for (const char* part : {"10 MiB are held", "2 MiB leased to peers", "'peer' 7 MiB in 7 blocks",
                           "'remote' 3 MiB in 3 blocks"})
    EXPECT_NE(text.find(part), std::string::npos) << part << " is not in: " << text;
}

TEST(CensusTest, BelievesNothingThatCouldLeadItAstray) {
  ArenaConfig options;
  options.capacity_bytes = 4 * kMiB;
  options.max_heaps = 16;
  const auto arena = std::move(*Arena::create(options));
  Heap heap(*arena, {0}, kReaperSession);
  const auto run =
      arena->grant({9}, RunOwner::leased_to({5}), arena->geometry().slab_shape({0}), {0});
  ASSERT_TRUE(run.ok());
  SlabHeader& h = arena->control().slab(*run);
  h.carved.store(0xffffffff);
  h.shape.store(~std::uint64_t{0});
  for (std::uint32_t i = 0; i < kMaxSharers; ++i)
    arena->control().sharers().sessions[i].store(0x10000 + 7 * i);
  // Every word another holder and label, then all of them shared by everybody.
  for (std::uint32_t b = 0; b < kMaxBlocksPerSlab; ++b)
    arena->word(Slot::of(*run, {b})).store(BlockWord::held(0, {{77}, b}));
  const ArenaCensus many = take_census(*arena);
  EXPECT_EQ(many.held.blocks, kMaxBlocksPerSlab);
  EXPECT_EQ(many.by_session().at({77}).blocks, kMaxBlocksPerSlab);
  EXPECT_EQ(many.leases.at({5}).bytes, 65536);
  for (std::uint32_t b = 0; b < kMaxBlocksPerSlab; ++b)
    arena->word(Slot::of(*run, {b})).store(~std::uint64_t{0});
  const ArenaCensus shared = take_census(*arena);
  EXPECT_EQ(shared.held.blocks, kMaxBlocksPerSlab);
  EXPECT_EQ(shared.by_holder.size(), 1u);  // all of no session
}

// Labels are the clients' own: however many they use, the count stays small.
TEST(CensusTest, SoManyLabelsAreToldApartAndNoMore) {
  ArenaConfig options;
  options.capacity_bytes = 4 * kMiB;
  options.max_heaps = 16;
  const auto arena = std::move(*Arena::create(options));
  Heap heap(*arena, {0}, kReaperSession);
  for (std::uint32_t i = 0; i < 70'000; ++i) ASSERT_TRUE(heap.allocate(8, {{3}, i + 1}).ok());
  const ArenaCensus census = take_census(*arena);
  EXPECT_EQ(census.held.blocks, 70'000);
  EXPECT_EQ(census.by_holder.size(), 65'537u);
  EXPECT_EQ(census.by_session().at({3}).blocks, 70'000);
  EXPECT_EQ(census.by_holder.at(Holder({3}, 0)).blocks, 70'000 - 65'536);
}

}  // namespace
}  // namespace arenad::server
