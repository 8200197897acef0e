#include "server/core/shard/shard_account.h"

#include "server/core/api/text.h"

namespace arenad::server {

Failure ShardAccount::refusal(SessionId session) const {
  return refuse(Error::kQuotaSession, "session ", session, " holds ",
                bytes_text(account_.charged_bytes(session)), " of its limit of ",
                bytes_text(account_.limit_bytes(session)), ", this call would go over it");
}

}  // namespace arenad::server
