#include "server/core/shard/lease_epochs.h"

#include "allocator/base/format.h"
#include "server/core/api/text.h"

namespace arenad::server {

Failure stale_epoch(LeaseEpoch named, LeaseEpoch now, SessionId session, std::string_view arena) {
  return refuse(Error::kStaleEpoch,
                fmt::format("a lease call of epoch {}: session {} is in epoch {} in arena '{}'",
                            named.value, session, now.value, arena));
}

}  // namespace arenad::server
