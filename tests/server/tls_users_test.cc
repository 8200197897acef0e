// Which user a client certificate stands for.
#include "server/rpc/tls/tls_users.h"

#include <gtest/gtest.h>

namespace arenad::server {
namespace {

TEST(TlsUsers, FirstNameThatIsKnownCounts) {
  TlsUsers users;
  ASSERT_TRUE(users.add("alice:1234567"));
  ASSERT_TRUE(users.add("spiffe://example/bob:1234568"));
  EXPECT_EQ(users.user_of({"unknown", "spiffe://example/bob", "alice"})->uid, 1234568u);
  EXPECT_EQ(users.user_of({"alice"})->uid, 1234567u);
  EXPECT_FALSE(users.user_of({"unknown"})->is_user());
  EXPECT_FALSE(users.user_of({})->is_user());
}

TEST(TlsUsers, UserOfTheSystemHasItsGroupsAndIsNoAdministrator) {
  TlsUsers users;
  ASSERT_TRUE(users.add("operator:root"));
  const Caller root = users.user_of({"operator"});
  EXPECT_EQ(root->uid, 0u);
  EXPECT_EQ(root->gid, 0u);
  EXPECT_TRUE(root->in_group(0));
  EXPECT_FALSE(root->is_admin);
}

TEST(TlsUsers, UserWhomTheSystemDoesNotKnowHasNoGroup) {
  TlsUsers users;
  ASSERT_TRUE(users.add("alice:1234567"));
  EXPECT_EQ(users.user_of({"alice"})->gid, Principal::kNoUser);
}

TEST(TlsUsers, OtherFormsAreRefused) {
  TlsUsers users;
  for (const char* wrong :
       {"", "alice", ":7", "alice:", "alice:there-is-no-such-user", "alice:4294967295"})
    EXPECT_FALSE(users.add(wrong)) << wrong;
}

}  // namespace
}  // namespace arenad::server
