#include <unistd.h>

#include <algorithm>

#include "tests/client/client_fixture.h"

namespace arenad::client {
namespace {

class SessionTest : public ClientTest {
 protected:
  // What the daemon knows of a session; id 0 when it knows none.
  SessionInfo known(SessionId id) const {
    for (SessionInfo& s : must(Admin(client).sessions()))
      if (s.id == id) return s;
    return {};
  }
};

TEST_F(SessionTest, OpenConfirmsTheKeepAliveStream) {
  Session session = open(client, "alive");
  EXPECT_TRUE(session.alive());
  EXPECT_TRUE(session.serving());
  const SessionInfo info = known(session.id());
  EXPECT_EQ(info.name, "alive");
  EXPECT_TRUE(info.keepalive);
  EXPECT_FALSE(info.bound);
}

TEST_F(SessionTest, CloseGivesBackWhatWasHeldAndSaysHowMuch) {
  auto a = attach(AttachMode::kWriter);
  (void)must(a.arena.allocate_many(1024, 100));
  const SessionId id = a.session.id();
  EXPECT_EQ(known(id).id, id);
  const GivenBack back = must(a.session.close());
  EXPECT_EQ(back.blocks, 100u);
  EXPECT_GE(back.bytes, 100u * 1024);
  EXPECT_EQ(facts().held_blocks, 0u);
  EXPECT_EQ(known(id).id, SessionId{});
}

TEST_F(SessionTest, DestructionCloses) {
  {
    auto a = attach(AttachMode::kRemote);
    (void)must(a.arena.allocate_many(64, 10));
    EXPECT_EQ(facts().held_blocks, 10u);
  }
  EXPECT_EQ(facts().held_blocks, 0u);
  EXPECT_EQ(facts().sessions, 0u);
}

TEST_F(SessionTest, HandlesAndBlocksOutliveTheirSessionAndMakeNoCall) {
  auto a = attach(AttachMode::kWriter);
  Block block = must(a.arena.allocate(64));
  const auto data = a.arena.data();
  must(a.session.close());
  EXPECT_EQ(a.arena.allocate(64).error().reason, Error::kUnknownSession);
  EXPECT_EQ(Exchange::open(a.arena).error().reason, Error::kUnknownSession);
  EXPECT_EQ(static_cast<int>(data[block.offset_bytes()]), 0);  // still mapped
  EXPECT_EQ(block.free().reason, Error::kUnknownSession);
  EXPECT_EQ(a.session.close().error().code, Code::kFailedPrecondition);
}

TEST_F(SessionTest, AttachingAsWriterBindsToTheProcess) {
  auto a = attach(AttachMode::kWriter);
  const SessionInfo info = known(a.session.id());
  EXPECT_TRUE(info.bound);
  EXPECT_EQ(info.pid, ::getpid());
  EXPECT_EQ(info.uid, ::geteuid());
  ASSERT_EQ(info.attachments.size(), 1u);
  EXPECT_EQ(info.attachments[0].arena, arena_name);
  EXPECT_EQ(info.attachments[0].mode, AttachMode::kWriter);
}

TEST_F(SessionTest, RemoteSessionCanBeBoundToTheProcessAtOnce) {
  Session session = must(Session::open(client, {.name = "bound", .bind_to_process = true}));
  EXPECT_TRUE(known(session.id()).bound);
}

TEST_F(SessionTest, HandleOnAnotherShardSharesTheAttachment) {
  auto a = attach(AttachMode::kWriter, 0);
  const ArenaHandle other = must(a.arena.on_shard(ShardId{1}));
  EXPECT_EQ(other.data().data(), a.arena.data().data());
  Block block = must(other.allocate(64));
  const Ref ref = block.ref();
  EXPECT_EQ(must(a.arena.describe(std::span(&ref, 1))).at(0).heap, HeapId{1});
  EXPECT_EQ(a.arena.on_shard(ShardId{2}).error().code, Code::kInvalidArgument);
}

TEST_F(SessionTest, AttachmentsSpreadOverShardsUnlessTold) {
  Session session = open(client);
  const auto first = must(session.attach(arena_name, AttachMode::kRemote));
  const auto second = must(session.attach(arena_name, AttachMode::kRemote));
  EXPECT_NE(first.shard(), second.shard());
  Session pinned = open(connect(ShardId{1}));
  EXPECT_EQ(must(pinned.attach(arena_name, AttachMode::kRemote)).shard(), ShardId{1});
  EXPECT_EQ(Client::connect(shared_daemon().socket_dir(), {.shard = {2}}).error().code,
            Code::kInvalidArgument);
}

TEST_F(SessionTest, RefusalsNameTheReason) {
  Session session = open(client);
  EXPECT_EQ(session.attach("no-such-arena", AttachMode::kRemote).error().reason,
            Error::kUnknownArena);
  EXPECT_EQ(Session::open(client, {.name = "not a name"}).error().reason, Error::kInvalidName);
  EXPECT_EQ(client.create_arena(arena_name, arena_options).error().reason, Error::kArenaExists);
  EXPECT_EQ(client.create_arena("empty", {}).error().reason, Error::kInvalidCapacity);
  const auto attached = must(session.attach(arena_name, AttachMode::kRemote));
  EXPECT_EQ(client.delete_arena(arena_name).reason, Error::kArenaBusy);
}

TEST_F(SessionTest, NobodyThereIsUnavailableAndSaysWhereItLooked) {
  const auto nobody = Client::connect("/tmp/arenad-is-not-here");
  ASSERT_FALSE(nobody.ok());
  EXPECT_EQ(nobody.error().code, Code::kUnavailable);
  EXPECT_NE(nobody.error().message.find("/tmp/arenad-is-not-here/arenad.sock"), std::string::npos);
}

TEST_F(SessionTest, SocketDirectoryMayBeMountedElsewhereThanTheDaemonHasIt) {
  const std::string elsewhere = shared_daemon().socket_dir() + "-elsewhere";
  ASSERT_EQ(::symlink(shared_daemon().socket_dir().c_str(), elsewhere.c_str()), 0);
  const Client there = must(Client::connect(elsewhere));
  EXPECT_EQ(there.topology().shards[1].address, "unix:" + elsewhere + "/shard-1.sock");
  Session session = open(there);
  const auto arena = must(session.attach(arena_name, AttachMode::kWriter, {.shard = {1}}));
  EXPECT_NE(must(arena.allocate(64)).data(), nullptr);
  ::unlink(elsewhere.c_str());
}

TEST_F(SessionTest, OverTcpBlocksAreAllocatedAndNothingIsMapped) {
  const std::string open_to_all = arena_name + "-open";
  ArenaOptions options{.capacity_bytes = 4 << 20, .set_access = true};
  options.access.mode = 0666;
  (void)must(client.create_arena(open_to_all, options));
  const Client tcp = must(Client::connect(shared_daemon().tcp_target()));
  Session session = open(tcp);
  EXPECT_EQ(session.attach(arena_name, AttachMode::kRemote).error().reason, Error::kNotPermitted);
  const auto arena = must(session.attach(open_to_all, AttachMode::kRemote));
  EXPECT_EQ(arena.shard(), kAnyShard);
  EXPECT_TRUE(must(arena.allocate(64)).free().ok());
  EXPECT_EQ(arena.on_shard(ShardId{1}).error().code, Code::kFailedPrecondition);
  EXPECT_TRUE(client.delete_arena(open_to_all, true).ok());
}

// A giver that waited too long takes its block back, unless the taker was faster.
TEST_F(SessionTest, FreeIfHeldFreesWhatTheSessionHasAlone) {
  for (const AttachMode mode : {AttachMode::kPeer, AttachMode::kWriter, AttachMode::kRemote}) {
    SCOPED_TRACE(static_cast<int>(mode));
    auto giver = attach(mode, 0);
    auto taker = attach(AttachMode::kWriter, 1);
    std::vector<Ref> refs;
    for (int i = 0; i < 3; ++i) refs.push_back(must(giver.arena.allocate(64)).release());
    Block taken = must(taker.arena.take(refs[0]));
    ASSERT_TRUE(must(giver.arena.share(std::span(&refs[1], 1))).all());
    const auto answer = must(giver.arena.free_if_held(refs));
    EXPECT_EQ(answer.done, 1u);
    ASSERT_EQ(answer.errors.size(), 2u);
    for (const auto& error : answer.errors)
      EXPECT_EQ(error.status.reason, Error::kNotHolder) << error.status.text();
    EXPECT_EQ(giver.arena.free_if_held(refs[0]).reason, Error::kNotHolder);
    EXPECT_EQ(giver.arena.free_if_held(refs[2]).reason, Error::kDoubleFree);
    EXPECT_TRUE(taken.free().ok());
    EXPECT_TRUE(must(giver.arena.release(std::span(&refs[1], 1))).all());
  }
}

TEST_F(SessionTest, OfFreeIfHeldAndATakeOverExactlyOneSucceeds) {
  auto giver = attach(AttachMode::kPeer, 0);
  auto taker = attach(AttachMode::kPeer, 1);
  constexpr std::size_t kBlocks = 20'000;
  std::vector<Ref> refs;
  for (std::size_t i = 0; i < kBlocks; ++i)
    refs.push_back(must(giver.arena.allocate(64)).release());
  std::vector<Ref> taken;
  std::size_t freed = 0;
  {
    std::jthread takes([&] {
      for (const Ref ref : refs) {
        auto block = taker.arena.take(ref);
        if (block.ok()) taken.push_back(block->release());
      }
    });
    for (std::size_t i = kBlocks; i-- > 0;) freed += giver.arena.free_if_held(refs[i]).ok();
  }
  EXPECT_EQ(taken.size() + freed, kBlocks);
  EXPECT_TRUE(must(taker.arena.free(taken)).all());
}

class HolderOnlyTest : public SessionTest {
 protected:
  HolderOnlyTest() { arena_options.holder_only = true; }
};

TEST_F(HolderOnlyTest, OnlyTheHolderFreesAndATakerBecomesIt) {
  auto holder = attach(AttachMode::kWriter, 0);
  auto other = attach(AttachMode::kWriter, 1);
  Block block = must(holder.arena.allocate(64));
  const Ref ref = block.ref();
  const Status refused = other.arena.free(ref);
  EXPECT_EQ(refused.code, Code::kPermissionDenied);
  EXPECT_EQ(refused.reason, Error::kNotHolder);
  Block taken = must(other.arena.take(ref));
  EXPECT_EQ(block.free().reason, Error::kNotHolder);
  EXPECT_TRUE(taken.free().ok());
}

}  // namespace
}  // namespace arenad::client
