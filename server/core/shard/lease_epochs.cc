#include "server/core/shard/lease_epochs.h"

#include <string>

#include "allocator/base/format.h"
#include "server/core/api/text.h"

namespace arenad::server {

Failure LeaseEpochs::stale(SessionId session, LeaseEpoch epoch, std::string_view arena) const {
  const std::uint64_t now = next(session);
  const std::string state = now == kMustResume ? "has not resumed since the daemon started"
                                               : fmt::format("is in epoch {}", now - 1);
  return refuse(Error::kStaleEpoch,
                fmt::format("a lease call of epoch {}: session {} {} in arena '{}'", epoch.value,
                            session, state, arena));
}

}  // namespace arenad::server
