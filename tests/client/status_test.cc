#include "arenad/status.h"

#include <google/protobuf/any.pb.h>
#include <gtest/gtest.h>

#include "client/lib/convert.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace arenad::client {
namespace {

::grpc::Status with_info(const std::string& reason, const std::string& domain) {
  google::rpc::ErrorInfo info;
  info.set_reason(reason);
  info.set_domain(domain);
  google::rpc::Status details;
  details.add_details()->PackFrom(info);
  return {::grpc::StatusCode::RESOURCE_EXHAUSTED, "full", details.SerializeAsString()};
}

TEST(Status, ReasonComesFromErrorInfo) {
  const Status status = from_grpc(with_info("ARENA_FULL", "arenad"));
  EXPECT_EQ(status.code, Code::kResourceExhausted);
  EXPECT_EQ(status.reason, Error::kArenaFull);
  EXPECT_EQ(status.message, "full");
  EXPECT_EQ(status.text(), "RESOURCE_EXHAUSTED (ARENA_FULL): full");
}

TEST(Status, AnotherDomainsReasonIsNotOurs) {
  EXPECT_EQ(from_grpc(with_info("ARENA_FULL", "example.com")).reason, Error::kNone);
  EXPECT_EQ(from_grpc(with_info("NOT_A_REASON", "arenad")).reason, Error::kNone);
}

TEST(Status, DetailsThatAreNoMessageAreIgnored) {
  const Status status =
      from_grpc({::grpc::StatusCode::INTERNAL, "odd", std::string("\xff\xff\xff\xff", 4)});
  EXPECT_EQ(status.code, Code::kInternal);
  EXPECT_EQ(status.reason, Error::kNone);
  EXPECT_EQ(status.text(), "INTERNAL: odd");
}

TEST(Status, EveryReasonIsFoundUnderItsName) {
  for (int i = 1; i <= static_cast<int>(kLastError); ++i) {
    const auto error = static_cast<Error>(i);
    EXPECT_EQ(from_grpc(with_info(error_name(error), "arenad")).reason, error);
  }
}

TEST(Status, AllocationsWhoseListsDifferAreRefused) {
  std::vector<AllocatedBlock> blocks;
  v1::AllocateResponse response;
  response.add_refs(1);
  response.add_refs(2);
  response.add_offsets(0);
  response.add_usable_bytes(8);
  EXPECT_EQ(append(response, blocks).code, Code::kInternal);
  response.add_offsets(64);
  ASSERT_TRUE(append(response, blocks).ok());
  ASSERT_EQ(blocks.size(), 2u);
  EXPECT_EQ(blocks[1].offset_bytes, 64u);
  EXPECT_EQ(blocks[1].usable_bytes, 8u);
}

}  // namespace
}  // namespace arenad::client
