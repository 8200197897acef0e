#include "server/core/shard/shard_account.h"

#include "allocator/base/format.h"
#include "server/core/api/text.h"

namespace arenad::server {

Failure ShardAccount::refusal(SessionId session) const {
  return refuse(Error::kQuotaSession,
                fmt::format("session {} holds {} of its limit of {}, this call would go over it",
                            session, bytes_text(account_.charged_bytes(session)),
                            bytes_text(account_.limit_bytes(session))));
}

}  // namespace arenad::server
