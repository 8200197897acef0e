// The control thread's tables by themselves: ids, tokens, access, names.
#include <gtest/gtest.h>

#include "allocator/base/format.h"
#include "server/core/api/clock.h"
#include "server/core/api/text.h"
#include "server/core/control/id_pool.h"
#include "server/core/control/session_registry.h"
#include "server/core/control/token_table.h"
#include "server/core/handoff/caller_process.h"

namespace arenad::server {
namespace {

TEST(IdPool, GivesFreshOnesFirstAndThenTheOneThatRestsLongest) {
  IdPool<SessionId> ids(1, 3);
  EXPECT_EQ(ids.take(), SessionId{1});
  EXPECT_EQ(ids.take(), SessionId{2});
  ids.put_back({2});
  ids.put_back({1});
  EXPECT_EQ(ids.take(), SessionId{3});
  EXPECT_EQ(ids.take(), SessionId{2});
  EXPECT_EQ(ids.take(), SessionId{1});
  EXPECT_EQ(ids.take(), std::nullopt);
}

TEST(IdPool, BeginsAnywhereAndComesRoundToWhatLiesBefore) {
  IdPool<ArenaId> ids(1, 5, 4);
  ids.reserve({5});
  EXPECT_EQ(ids.take(), ArenaId{4});
  ids.put_back({4});
  EXPECT_EQ(ids.take(), ArenaId{1});
  EXPECT_EQ(ids.take(), ArenaId{2});
  EXPECT_EQ(ids.take(), ArenaId{3});
  EXPECT_EQ(ids.take(), ArenaId{4});
  EXPECT_EQ(ids.take(), std::nullopt);
}

TEST(SessionRegistry, EveryIdIsGivenOutOnceBeforeAnyComesBack) {
  Limits limits;
  limits.max_sessions = 65534;
  SessionRegistry sessions(limits);
  for (int i = 1; i <= 65534; ++i) {
    const auto opened = sessions.open(daemon_itself(), "s", 0);
    ASSERT_TRUE(opened.ok());
    ASSERT_EQ((*opened)->key.id.value, i);  // never 0 (nobody) nor 65535 (the reaper)
    sessions.release((*opened)->key.id);
  }
  EXPECT_EQ((*sessions.open(daemon_itself(), "s", 0))->key.id, SessionId{1});
}

TEST(SessionRegistry, ReapingSessionAnswersToNoKeyAndItsIdIsTaken) {
  Limits limits;
  limits.max_sessions = 1;
  SessionRegistry sessions(limits);
  SessionRecord* record = *sessions.open(daemon_itself(), "s", 0);
  const SessionKey key = record->key;
  EXPECT_TRUE(sessions.find(key).ok());
  EXPECT_EQ(sessions.find(SessionKey{key.id, key.secret + 1}).error().error,
            Error::kUnknownSession);
  record->reaping = true;
  EXPECT_EQ(sessions.find(key).error().error, Error::kUnknownSession);
  EXPECT_EQ(sessions.open(daemon_itself(), "t", 0).error().error, Error::kQuotaDaemon);
  sessions.release(key.id);
  EXPECT_TRUE(sessions.open(daemon_itself(), "t", 0).ok());
}

Caller user_named(std::uint32_t uid) {
  auto principal = std::make_shared<Principal>();
  principal->uid = uid;
  return principal;
}

TEST(SessionRegistry, OneUserHasOnlySoManySessionsAndAnAdministratorMore) {
  Limits limits;
  limits.max_user_sessions = 2;
  limits.max_sessions = 6;
  SessionRegistry sessions(limits);
  const SessionKey first = (*sessions.open(user_named(1000), "s", 0))->key;
  ASSERT_TRUE(sessions.open(user_named(1000), "s", 0).ok());
  const auto refused = sessions.open(user_named(1000), "s", 0);
  EXPECT_EQ(refused.error().error, Error::kQuotaUser);
  for (const char* part : {"uid 1000", "2 sessions", "max_user_sessions"})
    EXPECT_NE(refused.error().message.find(part), std::string::npos) << refused.error().message;
  EXPECT_TRUE(sessions.open(user_named(1001), "s", 0).ok());
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(sessions.open(daemon_itself(), "s", 0).ok());
  // Who holds them is for administrators.
  const auto full = sessions.open(daemon_itself(), "s", 0);
  EXPECT_EQ(full.error().error, Error::kQuotaDaemon);
  EXPECT_NE(full.error().message.find("2 of uid 1000"), std::string::npos) << full.error().message;
  sessions.release(first.id);
  EXPECT_TRUE(sessions.open(user_named(1000), "s", 0).ok());
  const auto to_a_user = sessions.open(user_named(1001), "s", 0);
  EXPECT_EQ(to_a_user.error().error, Error::kQuotaDaemon);
  EXPECT_EQ(to_a_user.error().message.find("uid"), std::string::npos);
}

TEST(TokenTable, TokenWorksOnceAndOnlyWithinItsTime) {
  TokenTable tokens;
  const std::uint64_t start = 1000;
  const std::string token = tokens.issue({7}, {3}, AttachMode::kReader, start);
  ASSERT_EQ(token.size(), 16u);
  const auto use = tokens.redeem(token, start + kTokenLifeMs * kNsPerMs - 1);
  ASSERT_TRUE(use);
  EXPECT_EQ(use->session, SessionId{7});
  EXPECT_EQ(use->arena, ArenaId{3});
  EXPECT_EQ(use->mode, AttachMode::kReader);
  EXPECT_FALSE(tokens.redeem(token, start));
  const std::string late = tokens.issue({7}, {3}, AttachMode::kReader, start);
  EXPECT_FALSE(tokens.redeem(late, start + kTokenLifeMs * kNsPerMs));
  EXPECT_EQ(tokens.size(), 0u);
}

TEST(TokenTable, ForgedTokensAreWorthNothing) {
  TokenTable tokens;
  std::string token = tokens.issue({7}, {0}, AttachMode::kNone, 0);
  token[5] ^= 1;
  EXPECT_FALSE(tokens.redeem(token, 0));
  EXPECT_FALSE(tokens.redeem("", 0));
  EXPECT_FALSE(tokens.redeem(std::string(17, 'x'), 0));
  EXPECT_EQ(tokens.size(), 1u);
}

TEST(TokenTable, NewTokenReplacesTheOldOneOfTheSameSessionAndArena) {
  TokenTable tokens;
  const std::string old = tokens.issue({7}, {3}, AttachMode::kWriter, 0),
                    bind = tokens.issue({7}, {0}, AttachMode::kNone, 0);
  const std::string other = tokens.issue({8}, {3}, AttachMode::kWriter, 0);
  const std::string fresh = tokens.issue({7}, {3}, AttachMode::kReader, 0);
  EXPECT_EQ(tokens.size(), 3u);
  EXPECT_FALSE(tokens.redeem(old, 0));
  EXPECT_TRUE(tokens.redeem(fresh, 0));
  EXPECT_TRUE(tokens.redeem(bind, 0));
  EXPECT_TRUE(tokens.redeem(other, 0));
}

TEST(TokenTable, EndOfASessionOrArenaTakesItsTokensAlong) {
  TokenTable tokens;
  const std::string a = tokens.issue({7}, {3}, AttachMode::kWriter, 0),
                    b = tokens.issue({7}, {4}, AttachMode::kWriter, 0);
  const std::string c = tokens.issue({8}, {4}, AttachMode::kWriter, 0),
                    d = tokens.issue({8}, {3}, AttachMode::kWriter, 0);
  tokens.drop_session({7});
  tokens.drop_arena({3});
  EXPECT_FALSE(tokens.redeem(a, 0));
  EXPECT_FALSE(tokens.redeem(b, 0));
  EXPECT_TRUE(tokens.redeem(c, 0));
  EXPECT_FALSE(tokens.redeem(d, 0));
}

Principal user(std::uint32_t uid, std::uint32_t gid, std::vector<std::uint32_t> groups = {}) {
  return {uid, gid, std::move(groups), 0, false};
}

TEST(Principal, RightsAreDecidedAsForAFile) {
  const ArenaAccess access{1000, 100, 0640};
  EXPECT_TRUE(user(1000, 5).may_read(access));
  EXPECT_TRUE(user(1000, 5).may_write(access));
  EXPECT_TRUE(user(2, 100).may_read(access));
  EXPECT_FALSE(user(2, 100).may_write(access));
  EXPECT_TRUE(user(2, 3, {7, 100}).may_read(access));  // a supplementary group
  EXPECT_FALSE(user(2, 3, {7}).may_read(access));
  // The first class that fits decides, even when a later one would allow.
  EXPECT_FALSE(user(1000, 100).may_read({1000, 100, 0066}));
  EXPECT_FALSE(user(2, 100).may_read({1000, 100, 0606}));
}

TEST(Principal, OnlyAnAdministratorIsAboveTheMode) {
  const ArenaAccess access{1000, 100, 0};
  EXPECT_FALSE(user(0, 0).may_read(access));  // root where root_is_admin is off
  EXPECT_FALSE(user(0, 0).owns(access));
  EXPECT_TRUE(user(1000, 5).owns(access));
  EXPECT_TRUE(daemon_itself()->may_write(access));
  EXPECT_TRUE(daemon_itself()->owns(access));
}

TEST(Principal, TcpClientHasWhatEverybodyHas) {
  EXPECT_TRUE(nobody()->may_write({1000, 100, 0666}));
  EXPECT_FALSE(nobody()->may_read({1000, 100, 0660}));
  // No number makes it a user.
  EXPECT_FALSE(nobody()->may_read({Principal::kNoUser, Principal::kNoUser, 0660}));
  EXPECT_FALSE(nobody()->owns({Principal::kNoUser, Principal::kNoUser, 0666}));
}

TEST(ProcessIdentity, SameOnlyWhenKnown) {
  EXPECT_TRUE((ProcessIdentity{5, 0}.same_process({5, 10})));
  EXPECT_FALSE((ProcessIdentity{5, 10}.same_process({6, 10})));  // a pid that was used again
  EXPECT_TRUE((ProcessIdentity{0, 10}.same_process({0, 10})));
  EXPECT_FALSE((ProcessIdentity{0, 0}.same_process({0, 0})));  // two strangers
  EXPECT_FALSE((ProcessIdentity{}.known()));
  EXPECT_TRUE((ProcessIdentity{}.may_be_same_process({})));
  EXPECT_TRUE((ProcessIdentity{5, 0}.may_be_same_process({5, 10})));
  EXPECT_FALSE((ProcessIdentity{0, 10}.may_be_same_process({})));
  EXPECT_FALSE((ProcessIdentity{5, 0}.may_be_same_process({6, 0})));
}

TEST(Text, BytesAreWrittenAsOperatorsReadThem) {
  EXPECT_EQ(bytes_text(0), "0 B");
  EXPECT_EQ(bytes_text(1023), "1023 B");
  EXPECT_EQ(bytes_text(1536), "1.5 KiB");
  EXPECT_EQ(bytes_text(64ull << 20), "64 MiB");
  EXPECT_EQ(bytes_text(~0ull), "16 EiB");
  EXPECT_EQ(ref_text(0xab), "0x00000000000000ab");
}

}  // namespace
}  // namespace arenad::server
