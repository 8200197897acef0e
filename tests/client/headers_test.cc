// A user of the library needs no gRPC or protobuf header: this file includes all public headers
// before anything else.
#include "arenad/arenad.h"

#if defined(GOOGLE_PROTOBUF_VERSION) || defined(GRPC_IMPL_CODEGEN_PORT_PLATFORM_H) || \
    defined(GRPC_SUPPORT_PORT_PLATFORM_H)
#error "a public header of the client library includes gRPC or protobuf"
#endif

#include <gtest/gtest.h>

#include <type_traits>

namespace arenad::client {
namespace {

TEST(PublicHeaders, BlockAndSessionMoveAndDoNotCopy) {
  static_assert(std::is_nothrow_move_constructible_v<Block> &&
                !std::is_copy_constructible_v<Block>);
  static_assert(std::is_nothrow_move_assignable_v<Block> && !std::is_copy_assignable_v<Block>);
  static_assert(std::is_move_constructible_v<Session> && !std::is_copy_constructible_v<Session>);
  static_assert(std::is_copy_constructible_v<ArenaHandle> && std::is_copy_constructible_v<Client>);
  EXPECT_TRUE(Block().empty());
}

TEST(PublicHeaders, EmptyHandlesAnswerFailedPreconditionAndNeverCrash) {
  Client client;
  Session session;
  ArenaHandle arena;
  Exchange exchange;
  CallPump pump;
  Block block;
  EXPECT_EQ(client.get_arena("a").error().code, Code::kFailedPrecondition);
  EXPECT_EQ(client.health().code, Code::kFailedPrecondition);
  EXPECT_EQ(Admin(client).stats().error().code, Code::kFailedPrecondition);
  EXPECT_EQ(Session::open(client).error().code, Code::kFailedPrecondition);
  EXPECT_EQ(session.attach("a", AttachMode::kRemote).error().code, Code::kFailedPrecondition);
  EXPECT_EQ(session.close().error().code, Code::kFailedPrecondition);
  EXPECT_EQ(arena.allocate(8).error().code, Code::kFailedPrecondition);
  EXPECT_EQ(arena.free(Ref{1}).code, Code::kFailedPrecondition);
  EXPECT_EQ(Exchange::open(arena).error().code, Code::kFailedPrecondition);
  EXPECT_EQ(exchange.allocate(8, 1).error().code, Code::kFailedPrecondition);
  EXPECT_EQ(CallPump::open(arena).error().code, Code::kFailedPrecondition);
  EXPECT_EQ(pump.next(0), nullptr);
  EXPECT_EQ(block.free().code, Code::kFailedPrecondition);
  EXPECT_TRUE(arena.data().empty());
  EXPECT_FALSE(session.alive());
}

}  // namespace
}  // namespace arenad::client
