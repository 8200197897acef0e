// What a shard knows, and who is admitted.
#include "server/core/shard/shard_tables.h"

#include "tests/core/shard_parts.h"

namespace arenad::server {
namespace {

class Tables : public ShardParts {
 protected:
  Error admit(SessionKey key, ArenaId id, Need need) {
    Access access;
    return zero.tables.admit(key, id, need, access);
  }
};

TEST_F(Tables, AttachedSessionIsAdmittedWithItsSlots) {
  Access access;
  ASSERT_EQ(zero.tables.admit(alice, arena, Need::kChange, access), Error::kNone);
  EXPECT_EQ(access.slot->id, arena);
  EXPECT_EQ(access.attached->mode, AttachMode::kRemote);
  EXPECT_EQ(access.session, zero.tables.session(alice.id));
}

TEST_F(Tables, EachMissingThingHasItsOwnError) {
  EXPECT_EQ(admit({alice.id, 1}, arena, Need::kLook), Error::kUnknownSession);
  EXPECT_EQ(admit({{77}, 1}, arena, Need::kLook), Error::kUnknownSession);
  EXPECT_EQ(admit(alice, {10}, Need::kLook), Error::kUnknownArena);
  EXPECT_EQ(admit(alice, {65535}, Need::kLook), Error::kUnknownArena);
  zero.tables.add_session(bob.id, bob.secret, 0);
  EXPECT_EQ(admit(bob, arena, Need::kLook), Error::kNotAttached);
}

TEST_F(Tables, ReadersOnlyLookAndOnlyPeersLease) {
  zero.tables.attach(alice.id, arena, AttachMode::kReader);
  EXPECT_EQ(admit(alice, arena, Need::kLook), Error::kNone);
  EXPECT_EQ(admit(alice, arena, Need::kChange), Error::kReadOnly);
  zero.tables.attach(alice.id, arena, AttachMode::kWriter);
  EXPECT_EQ(admit(alice, arena, Need::kChange), Error::kNone);
  EXPECT_EQ(admit(alice, arena, Need::kPeer), Error::kReadOnly);
  zero.tables.attach(alice.id, arena, AttachMode::kPeer);
  EXPECT_EQ(admit(alice, arena, Need::kPeer), Error::kNone);
}

TEST_F(Tables, RemovedSessionIsUnknownAndLeavesItsAttachments) {
  zero.access(alice).note({3});
  const std::vector<Attached> left = zero.tables.remove_session(alice.id);
  ASSERT_EQ(left.size(), 1u);
  EXPECT_TRUE(left[0].footprint.has({3}));
  EXPECT_FALSE(left[0].footprint.has({4}));
  EXPECT_EQ(admit(alice, arena, Need::kLook), Error::kUnknownSession);
  EXPECT_TRUE(zero.tables.remove_session(alice.id).empty());
}

TEST_F(Tables, RemovedArenaTakesItsAttachmentsAlong) {
  const auto slot = zero.tables.remove_arena(arena);
  ASSERT_NE(slot, nullptr);
  EXPECT_TRUE(zero.tables.arenas().empty());
  EXPECT_EQ(admit(alice, arena, Need::kLook), Error::kUnknownArena);
  zero.tables.add_arena(make_arena_state(arena));
  EXPECT_EQ(admit(alice, arena, Need::kLook), Error::kNotAttached);
}

TEST_F(Tables, SessionOfAnEarlierDaemonMayHoldBlocksInEverySlab) {
  zero.tables.attach_again(alice.id, arena, AttachMode::kWriter);
  EXPECT_TRUE(zero.access(alice).attached->footprint.has({0}));
  EXPECT_TRUE(zero.access(alice).attached->footprint.has({63}));
}

TEST_F(Tables, AttachAfterTheEndOfSessionOrArenaDoesNothing) {
  zero.tables.attach(bob.id, arena, AttachMode::kWriter);
  zero.tables.attach(alice.id, {10}, AttachMode::kWriter);
  zero.tables.attach_again(bob.id, arena, AttachMode::kWriter);
  EXPECT_EQ(admit(bob, arena, Need::kLook), Error::kUnknownSession);
  EXPECT_EQ(zero.tables.session(alice.id)->attached.size(), 1u);
}

TEST_F(Tables, RefusalNamesTheSessionAndTheArena) {
  const auto text = [&](Error e, SessionKey key, ArenaId id) {
    return zero.tables.refusal(e, key, id).message;
  };
  EXPECT_NE(text(Error::kUnknownArena, alice, {77}).find("arena id 77 does not exist"),
            std::string::npos);
  EXPECT_NE(text(Error::kUnknownSession, {{70}, 0}, arena).find("session 70"), std::string::npos);
  EXPECT_NE(text(Error::kReadOnly, alice, arena).find("as remote, only a peer leases"),
            std::string::npos);
}

}  // namespace
}  // namespace arenad::server
