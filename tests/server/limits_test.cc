// Limits of the daemon and life of sessions, as the wire shows them. The other refusals:
// tests/e2e/test_errors.py.
#include <gtest/gtest.h>

#include "tests/server/remote_session.h"
#include "tests/support/daemon_process.h"

namespace arenad::server {
namespace {

void expect_refused(const grpc::Status& status, grpc::StatusCode code, const std::string& reason) {
  EXPECT_EQ(status.error_code(), code) << status.error_message();
  EXPECT_EQ(reason_of(status), reason) << status.error_message();
  EXPECT_GT(status.error_message().size(), 20u) << "a message must say what to do";
}

TEST(Limits, NumberOfArenasAndTheirBytes) {
  DaemonProcess daemon({"--shards", "1", "--max-arenas", "2", "--max-arena-bytes", "64MiB",
                        "--max-total-capacity-bytes", "96MiB"});
  Stubs stubs(channel_to(daemon));
  v1::Arena arena;
  expect_refused(stubs.create_arena("a", 65 * kMiB, &arena), grpc::StatusCode::INVALID_ARGUMENT,
                 "INVALID_CAPACITY");
  ASSERT_TRUE(stubs.create_arena("a", 64 * kMiB, &arena).ok());
  expect_refused(stubs.create_arena("b", 64 * kMiB, &arena), grpc::StatusCode::RESOURCE_EXHAUSTED,
                 "QUOTA_DAEMON");
  ASSERT_TRUE(stubs.create_arena("b", 32 * kMiB, &arena).ok());
  expect_refused(stubs.create_arena("c", 2 * kMiB, &arena), grpc::StatusCode::RESOURCE_EXHAUSTED,
                 "QUOTA_DAEMON");
}

TEST(Limits, NumberOfSessions) {
  DaemonProcess daemon({"--shards", "1", "--max-sessions", "1", "--arena", "pool:16MiB"});
  v1::OpenSessionResponse opened;
  {
    RemoteSession session(channel_to(daemon), "pool");
    expect_refused(session.stubs.open(&opened), grpc::StatusCode::RESOURCE_EXHAUSTED,
                   "QUOTA_DAEMON");
  }
  Stubs stubs(channel_to(daemon));
  EXPECT_TRUE(eventually([&] { return stubs.open(&opened).ok(); }))
      << "the session's place is free when its stream has ended";
}

TEST(Limits, BytesOfOneSession) {
  DaemonProcess daemon({"--shards", "1", "--max-session-bytes", "1MiB", "--arena", "pool:16MiB"});
  RemoteSession session(channel_to(daemon), "pool"), other(channel_to(daemon), "pool");
  v1::AllocateResponse blocks;
  ASSERT_TRUE(session.allocate(session.allocate_request(4096, 200), &blocks).ok());
  expect_refused(session.allocate(session.allocate_request(4096, 200), &blocks),
                 grpc::StatusCode::RESOURCE_EXHAUSTED, "QUOTA_SESSION");
  EXPECT_TRUE(other.allocate(other.allocate_request(4096, 200), &blocks).ok());
}

TEST(Sessions, RemoteOneEndsWithItsStreamAndGivesEverythingBack) {
  DaemonProcess daemon({"--shards", "2", "--arena", "pool:16MiB"});
  Stubs stubs(channel_to(daemon));
  const auto held = [&] {
    grpc::ClientContext context;
    v1::GetArenaRequest request;
    request.set_name("pool");
    v1::Arena arena;
    RemoteSession::must(stubs.arenas.GetArena(&context, request, &arena), "GetArena");
    return arena.held_blocks();
  };
  {
    RemoteSession session(channel_to(daemon, "shard-1.sock"), "pool");
    v1::AllocateResponse blocks;
    ASSERT_TRUE(session.allocate(session.allocate_request(4096, 1000), &blocks).ok());
    EXPECT_EQ(held(), 1000u);
  }
  EXPECT_TRUE(eventually([&] { return held() == 0; }));
  EXPECT_TRUE(stubs.audit().exact());
}

TEST(Sessions, KeepAliveOfAnUnknownSessionIsRefused) {
  DaemonProcess daemon({"--shards", "1"});
  Stubs stubs(channel_to(daemon));
  grpc::ClientContext context;
  auto stream = stubs.sessions.KeepAlive(&context);
  v1::KeepAliveRequest request;
  request.mutable_session()->set_id(70000);  // does not even fit a session id
  request.mutable_session()->set_secret(1);
  ASSERT_TRUE(stream->Write(request));
  v1::KeepAliveEvent event;
  EXPECT_FALSE(stream->Read(&event));
  expect_refused(stream->Finish(), grpc::StatusCode::UNAUTHENTICATED, "UNKNOWN_SESSION");
}

TEST(Sessions, StreamOfAClosedSessionEnds) {
  DaemonProcess daemon({"--shards", "2", "--arena", "pool:16MiB"});
  RemoteSession session(channel_to(daemon), "pool");
  grpc::ClientContext context;
  v1::CloseSessionRequest close;
  *close.mutable_session() = session.key;
  v1::CloseSessionResponse closed;
  ASSERT_TRUE(session.stubs.sessions.CloseSession(&context, close, &closed).ok());
  v1::KeepAliveEvent event;
  EXPECT_FALSE(session.next_event(&event));
}

TEST(Sessions, CallsOfAClientThatIsGoneLeaveNothingHeld) {
  DaemonProcess daemon({"--shards", "1", "--arena", "pool:16MiB"});
  RemoteSession session(channel_to(daemon), "pool");
  v1::AllocateResponse big;
  ASSERT_TRUE(session.allocate(session.allocate_request(14 * kMiB), &big).ok());
  {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(100));
    v1::AllocateResponse late;
    EXPECT_EQ(session.stubs.blocks
                  .Allocate(&context, session.allocate_request(14 * kMiB, 1, 600'000), &late)
                  .error_code(),
              grpc::StatusCode::DEADLINE_EXCEEDED);
  }
  v1::FreeResponse freed;
  ASSERT_TRUE(session.free(session.free_request(big.refs()), &freed).ok());
  // The call that nobody waits for any more is served, cannot be answered, and gives its block
  // back.
  v1::AllocateResponse again;
  EXPECT_TRUE(eventually(
      [&] { return session.allocate(session.allocate_request(14 * kMiB), &again).ok(); }));
}

}  // namespace
}  // namespace arenad::server
