#include "server/rpc/services/status.h"

#include <grpcpp/support/status.h>

#include "arenad/v1/common.pb.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace arenad::server {
namespace {

// Error and arenad.v1.Reason have the same numbers.
#define ARENAD_SAME(e, reason) static_assert(static_cast<int>(Error::e) == v1::reason, #reason)
ARENAD_SAME(kNone, REASON_UNSPECIFIED);
ARENAD_SAME(kInvalidSize, REASON_INVALID_SIZE);
ARENAD_SAME(kInvalidAlignment, REASON_INVALID_ALIGNMENT);
ARENAD_SAME(kInvalidCount, REASON_INVALID_COUNT);
ARENAD_SAME(kInvalidName, REASON_INVALID_NAME);
ARENAD_SAME(kInvalidCapacity, REASON_INVALID_CAPACITY);
ARENAD_SAME(kInvalidOption, REASON_INVALID_OPTION);
ARENAD_SAME(kUnknownArena, REASON_UNKNOWN_ARENA);
ARENAD_SAME(kUnknownSession, REASON_UNKNOWN_SESSION);
ARENAD_SAME(kArenaExists, REASON_ARENA_EXISTS);
ARENAD_SAME(kArenaFull, REASON_ARENA_FULL);
ARENAD_SAME(kMachineFull, REASON_MACHINE_FULL);
ARENAD_SAME(kQuotaSession, REASON_QUOTA_SESSION);
ARENAD_SAME(kQuotaDaemon, REASON_QUOTA_DAEMON);
ARENAD_SAME(kDoubleFree, REASON_DOUBLE_FREE);
ARENAD_SAME(kStaleRef, REASON_STALE_REF);
ARENAD_SAME(kForeignRef, REASON_FOREIGN_REF);
ARENAD_SAME(kNotHolder, REASON_NOT_HOLDER);
ARENAD_SAME(kNotAttached, REASON_NOT_ATTACHED);
ARENAD_SAME(kReadOnly, REASON_READ_ONLY);
ARENAD_SAME(kBadToken, REASON_BAD_TOKEN);
ARENAD_SAME(kNotPermitted, REASON_NOT_PERMITTED);
ARENAD_SAME(kArenaBusy, REASON_ARENA_BUSY);
ARENAD_SAME(kQuarantined, REASON_QUARANTINED);
ARENAD_SAME(kDraining, REASON_DRAINING);
ARENAD_SAME(kWaitExpired, REASON_WAIT_EXPIRED);
ARENAD_SAME(kModeUnavailable, REASON_MODE_UNAVAILABLE);
ARENAD_SAME(kInternal, REASON_INTERNAL);
ARENAD_SAME(kSharersFull, REASON_SHARERS_FULL);
ARENAD_SAME(kForked, REASON_FORKED);
ARENAD_SAME(kStaleEpoch, REASON_STALE_EPOCH);
ARENAD_SAME(kInvalidTag, REASON_INVALID_TAG);
ARENAD_SAME(kBlocksHeld, REASON_BLOCKS_HELD);
ARENAD_SAME(kEvicted, REASON_EVICTED);
ARENAD_SAME(kQuotaUser, REASON_QUOTA_USER);
#undef ARENAD_SAME
static_assert(static_cast<int>(kLastError) == v1::Reason_MAX,
              "Error and arenad.v1.Reason must have the same rows");

}  // namespace

grpc::Status status_from(const Failure& failure) {
  const int code = error_code(failure.error);
  google::rpc::ErrorInfo info;
  info.set_reason(error_name(failure.error));
  info.set_domain(kErrorDomain);
  (*info.mutable_metadata())["advice"] = error_advice(failure.error);
  google::rpc::Status details;
  details.set_code(code);
  details.set_message(failure.message);
  details.add_details()->PackFrom(info);
  return grpc::Status(static_cast<grpc::StatusCode>(code), failure.message,
                      details.SerializeAsString());
}

}  // namespace arenad::server
