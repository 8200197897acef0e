// Peers as the wire shows them: Heaps, sharing, trims on the KeepAlive stream, a session's own
// limit. The handoff of a peer's two descriptors and its death are tested in tests/core.
#include <gtest/gtest.h>

#include "tests/server/remote_session.h"
#include "tests/support/daemon_process.h"
#include "tests/support/workers.h"

namespace arenad::server {
namespace {

class PeerWire : public testing::Test {
 protected:
  PeerWire() { heap_ = open_heap(peer_); }

  std::uint32_t open_heap(RemoteSession& session) {
    grpc::ClientContext context;
    v1::OpenHeapRequest request;
    *request.mutable_session() = session.key;
    request.set_arena_id(session.arena_id);
    v1::OpenHeapResponse opened;
    RemoteSession::must(session.stubs.heaps.OpenHeap(&context, request, &opened), "OpenHeap");
    return opened.heap_id();
  }
  v1::LeaseSlabsRequest lease_request(std::uint32_t count) const {
    v1::LeaseSlabsRequest request;
    *request.mutable_session() = peer_.key;
    request.set_arena_id(peer_.arena_id);
    request.set_heap_id(heap_);
    request.set_size_class(4);  // slabs of one unit
    request.set_count(count);
    return request;
  }
  grpc::Status lease(const v1::LeaseSlabsRequest& request, v1::LeaseSlabsResponse* leased,
                     std::chrono::milliseconds within = test::kDeadline) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + within);
    return peer_.stubs.heaps.LeaseSlabs(&context, request, leased);
  }
  template <class Slabs>
  v1::ReturnSlabsResponse give_back(const Slabs& slabs) {
    grpc::ClientContext context;
    v1::ReturnSlabsRequest request;
    *request.mutable_session() = peer_.key;
    request.set_arena_id(peer_.arena_id);
    request.mutable_slabs()->Add(slabs.begin(), slabs.end());
    v1::ReturnSlabsResponse returned;
    RemoteSession::must(peer_.stubs.heaps.ReturnSlabs(&context, request, &returned), "ReturnSlabs");
    return returned;
  }
  v1::Stats stats() {
    grpc::ClientContext context;
    v1::Stats stats;
    RemoteSession::must(peer_.stubs.admin.GetStats(&context, v1::GetStatsRequest(), &stats),
                        "GetStats");
    return stats;
  }

  DaemonProcess daemon_{{"--shards", "2", "--arena", "pool:8MiB"}};
  RemoteSession peer_{channel_to(daemon_), "pool", v1::ATTACH_MODE_PEER, 6 * kMiB};
  RemoteSession remote_{channel_to(daemon_), "pool"};
  std::uint32_t heap_ = 0;
};

TEST_F(PeerWire, LeasesAndReturns) {
  EXPECT_EQ(heap_, 256u);
  v1::LeaseSlabsResponse leased, one;
  ASSERT_TRUE(lease(lease_request(10), &leased).ok());
  EXPECT_EQ(leased.slabs_size(), 10);
  ASSERT_TRUE(lease(lease_request(0), &one).ok());  // the default
  EXPECT_EQ(one.slabs_size(), 1);
  EXPECT_EQ(stats().leased_slabs(), 11u);
  EXPECT_EQ(stats().leased_bytes(), 11u * 65536);
  EXPECT_EQ(peer_.stubs.audit().arenas(0).leased_slabs(), 11u);

  grpc::ClientContext context;
  v1::GetSlabInfoResponse info;
  RemoteSession::must(peer_.stubs.admin.GetSlabInfo(&context, v1::GetSlabInfoRequest(), &info),
                      "GetSlabInfo");
  ASSERT_EQ(info.rows_size(), 1);
  EXPECT_TRUE(info.rows(0).peers());
  EXPECT_EQ(info.rows(0).total_slabs(), 11u);

  grpc::ClientContext list_context;
  v1::ListSessionsResponse sessions;
  RemoteSession::must(
      peer_.stubs.sessions.ListSessions(&list_context, v1::ListSessionsRequest(), &sessions),
      "ListSessions");
  EXPECT_EQ(sessions.sessions(0).attachments(0).mode(), v1::ATTACH_MODE_PEER);
  EXPECT_EQ(sessions.sessions(0).attachments(0).leased_bytes(), 11u * 65536);

  auto slabs = leased.slabs();
  slabs.Add(127);
  const auto returned = give_back(slabs);
  EXPECT_EQ(returned.returned(), 10u);
  ASSERT_EQ(returned.refused_size(), 1);
  EXPECT_EQ(returned.refused(0), 127u);
  EXPECT_EQ(stats().leased_slabs(), 1u);
}

TEST_F(PeerWire, RefusalsCarryTheirReason) {
  v1::LeaseSlabsResponse leased;
  auto request = lease_request(1);
  request.set_heap_id(3);
  EXPECT_EQ(reason_of(lease(request, &leased)), "INVALID_OPTION");
  EXPECT_EQ(reason_of(lease(lease_request(1025), &leased)), "INVALID_COUNT");
  request = lease_request(1);
  *request.mutable_session() = remote_.key;
  EXPECT_EQ(reason_of(lease(request, &leased)), "READ_ONLY");
  request = lease_request(200);
  while (lease(request, &leased).ok()) EXPECT_GT(leased.slabs_size(), 0);
  const grpc::Status over = lease(request, &leased);
  EXPECT_EQ(over.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(reason_of(over), "QUOTA_SESSION") << over.error_message();  // 6 of the 8 MiB
  EXPECT_EQ(stats().leased_bytes(), 6 * kMiB);
  grpc::ClientContext context;
  v1::OpenHeapRequest open;
  *open.mutable_session() = remote_.key;
  open.set_arena_id(remote_.arena_id);
  v1::OpenHeapResponse opened;
  EXPECT_EQ(reason_of(peer_.stubs.heaps.OpenHeap(&context, open, &opened)), "READ_ONLY");
}

TEST_F(PeerWire, ResumeNamesAndTakesBack) {
  v1::LeaseSlabsResponse leased;
  ASSERT_TRUE(lease(lease_request(5), &leased).ok());
  v1::ResumeRequest request;
  *request.mutable_session() = peer_.key;
  request.set_arena_id(peer_.arena_id);
  request.add_slabs(leased.slabs(0));
  request.add_slabs(100);
  request.add_heaps(heap_);
  request.set_epoch(1);
  v1::ResumeResponse resumed;
  {
    grpc::ClientContext context;
    RemoteSession::must(peer_.stubs.heaps.Resume(&context, request, &resumed), "Resume");
  }
  EXPECT_EQ(resumed.taken_back(), 4u);
  ASSERT_EQ(resumed.unknown_size(), 1);
  EXPECT_EQ(resumed.unknown(0), 100u);
  EXPECT_EQ(reason_of(lease(lease_request(1), &leased)), "STALE_EPOCH");
  {
    grpc::ClientContext context;
    EXPECT_EQ(reason_of(peer_.stubs.heaps.Resume(&context, request, &resumed)), "STALE_EPOCH");
  }
  // As many as may be named, and one more.
  request.set_epoch(2);
  request.clear_slabs();
  for (std::uint32_t i = 0; i <= 1048576; ++i) request.add_slabs(0xffffffff);
  grpc::ClientContext context;
  EXPECT_EQ(reason_of(peer_.stubs.heaps.Resume(&context, request, &resumed)), "INVALID_COUNT");
}

TEST_F(PeerWire, LeaseWhoseCallerHasGoneIsTakenBack) {
  v1::AllocateResponse all;
  ASSERT_TRUE(remote_.allocate(remote_.allocate_request(8 * kMiB), &all).ok());
  auto request = lease_request(4);
  request.set_wait_ms(600'000);
  v1::LeaseSlabsResponse leased;
  EXPECT_EQ(lease(request, &leased, std::chrono::milliseconds(100)).error_code(),
            grpc::StatusCode::DEADLINE_EXCEEDED);
  v1::FreeResponse freed;
  ASSERT_TRUE(remote_.free(remote_.free_request(all.refs()), &freed).ok());
  // Granted in the turn of the free, undeliverable, taken back: all of the arena is there again.
  EXPECT_TRUE(
      eventually([&] { return remote_.allocate(remote_.allocate_request(8 * kMiB), &all).ok(); }));
}

TEST_F(PeerWire, PeerIsAskedToTrimOnItsStreamAndItsAnswerServesTheOther) {
  // The round's patience is longer than the test: only the peer's answer can end the round.
  {
    grpc::ClientContext context;
    v1::SetTunablesRequest request;
    (*request.mutable_values())["trim_patience_ms"] = "600000";
    v1::Tunables tunables;
    RemoteSession::must(peer_.stubs.admin.SetTunables(&context, request, &tunables), "SetTunables");
  }
  v1::LeaseSlabsResponse leased;
  std::vector<std::uint32_t> slabs;
  while (lease(lease_request(200), &leased).ok())
    slabs.insert(slabs.end(), leased.slabs().begin(), leased.slabs().end());
  ASSERT_EQ(slabs.size(), 96u);
  test::Workers workers;
  workers.start([&] {
    v1::KeepAliveEvent event;
    while (peer_.next_event(&event) && event.trims_size() == 0) {}
    ASSERT_EQ(event.trims_size(), 1);
    EXPECT_EQ(event.trims(0).arena_id(), peer_.arena_id);
    EXPECT_FALSE(event.draining());
    EXPECT_EQ(give_back(slabs).returned(), 96u);
    v1::KeepAliveRequest done;
    v1::TrimDone& trimmed = *done.add_trimmed();
    trimmed.set_round(event.trims(0).round());
    trimmed.set_arena_id(event.trims(0).arena_id());
    EXPECT_TRUE(peer_.say(done));
  });
  v1::AllocateResponse got;
  const grpc::Status served = remote_.allocate(remote_.allocate_request(4 * kMiB), &got);
  EXPECT_TRUE(served.ok()) << served.error_message();
  if (!served.ok()) peer_.lose_stream();
  workers.join();
}

TEST_F(PeerWire, SharesAndReleases) {
  v1::AllocateResponse blocks;
  ASSERT_TRUE(remote_.allocate(remote_.allocate_request(1024, 3), &blocks).ok());
  v1::ShareRequest share;
  *share.mutable_session() = remote_.key;
  share.set_arena_id(remote_.arena_id);
  *share.mutable_refs() = blocks.refs();
  share.add_refs(99);
  v1::ShareResponse shared;
  {
    grpc::ClientContext context;
    RemoteSession::must(remote_.stubs.blocks.Share(&context, share, &shared), "Share");
  }
  EXPECT_EQ(shared.shared(), 3u);
  ASSERT_EQ(shared.errors_size(), 1);
  EXPECT_EQ(shared.errors(0).index(), 3u);
  EXPECT_EQ(shared.errors(0).reason(), v1::REASON_FOREIGN_REF);

  // The other session joins and leaves on an Exchange stream.
  grpc::ClientContext stream_context;
  const auto stream = peer_.stubs.blocks.Exchange(&stream_context);
  v1::ExchangeRequest request;
  v1::ExchangeResponse answer;
  request.set_id(1);
  *request.mutable_share()->mutable_session() = peer_.key;
  request.mutable_share()->set_arena_id(peer_.arena_id);
  *request.mutable_share()->mutable_refs() = blocks.refs();
  ASSERT_TRUE(stream->Write(request));
  ASSERT_TRUE(stream->Read(&answer));
  EXPECT_EQ(answer.share().shared(), 3u) << answer.DebugString();

  v1::ReleaseRequest release;
  *release.mutable_session() = remote_.key;
  release.set_arena_id(remote_.arena_id);
  *release.mutable_refs() = blocks.refs();
  v1::ReleaseResponse released;
  {
    grpc::ClientContext context;
    RemoteSession::must(remote_.stubs.blocks.Release(&context, release, &released), "Release");
  }
  EXPECT_EQ(released.released(), 3u);
  {
    grpc::ClientContext context;
    RemoteSession::must(remote_.stubs.blocks.Release(&context, release, &released), "Release");
  }
  ASSERT_EQ(released.errors_size(), 3);
  EXPECT_EQ(released.errors(0).reason(), v1::REASON_NOT_HOLDER);
  EXPECT_EQ(stats().held_blocks(), 3u);

  request.set_id(2);
  *request.mutable_release()->mutable_session() = peer_.key;
  request.mutable_release()->set_arena_id(peer_.arena_id);
  *request.mutable_release()->mutable_refs() = blocks.refs();
  ASSERT_TRUE(stream->Write(request));
  ASSERT_TRUE(stream->Read(&answer));
  EXPECT_EQ(answer.id(), 2u);
  EXPECT_EQ(answer.release().released(), 3u) << answer.DebugString();
  stream->WritesDone();
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(stats().held_blocks(), 0u);
  EXPECT_TRUE(peer_.stubs.audit().exact());
}

}  // namespace
}  // namespace arenad::server
