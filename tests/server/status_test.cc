// Failures as gRPC statuses.
#include "server/rpc/services/status.h"

#include <grpcpp/support/status.h>
#include <gtest/gtest.h>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace arenad::server {
namespace {

TEST(Status, EveryErrorCarriesCodeMessageAndErrorInfo) {
  for (int e = 1; e <= static_cast<int>(kLastError); ++e) {
    const auto error = static_cast<Error>(e);
    const grpc::Status status = status_from({error, "what happened"});
    EXPECT_EQ(static_cast<int>(status.error_code()), error_code(error));
    EXPECT_NE(status.error_code(), grpc::StatusCode::OK);
    EXPECT_EQ(status.error_message(), "what happened");
    google::rpc::Status details;
    ASSERT_TRUE(details.ParseFromString(status.error_details()));
    EXPECT_EQ(details.code(), error_code(error));
    EXPECT_EQ(details.message(), "what happened");
    ASSERT_EQ(details.details_size(), 1);
    google::rpc::ErrorInfo info;
    ASSERT_TRUE(details.details(0).UnpackTo(&info));
    EXPECT_EQ(info.domain(), "arenad");
    EXPECT_EQ(info.reason(), error_name(error));
    EXPECT_EQ(info.metadata().at("advice"), error_advice(error));
  }
}

TEST(Status, LeaseNeededNeverGoesOut) {
  EXPECT_EQ(reason_number(Error::kLeaseNeeded), static_cast<int>(Error::kInternal));
  EXPECT_EQ(reason_number(kLastError), static_cast<int>(kLastError));
  const grpc::Status status = status_from({Error::kLeaseNeeded, "a bug"});
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INTERNAL);
  google::rpc::Status details;
  ASSERT_TRUE(details.ParseFromString(status.error_details()));
  google::rpc::ErrorInfo info;
  ASSERT_TRUE(details.details(0).UnpackTo(&info));
  EXPECT_EQ(info.reason(), "INTERNAL");
}

}  // namespace
}  // namespace arenad::server
