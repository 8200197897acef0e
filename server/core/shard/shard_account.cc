#include "server/core/shard/shard_account.h"

#include "allocator/base/format.h"
#include "server/core/api/text.h"

namespace arenad::server {

Failure ShardAccount::refusal(Error e, SessionKey key) const {
  const SessionId session = key.id;
  if (e == Error::kQuotaUser) {
    const SessionSlot* const slot = tables_.session(session);
    return refuse(e, fmt::format("the sessions of {} hold and lease {} of the limit "
                                 "max_user_bytes, {}; this call would go over it",
                                 slot == nullptr ? "the user" : fmt::format("uid {}", slot->uid),
                                 bytes_text(account_.user_bytes(session)),
                                 bytes_text(account_.user_limit_bytes())));
  }
  return refuse(e, fmt::format("session {} holds {} of its limit of {}, this call would go over it",
                               session, bytes_text(account_.charged_bytes(session)),
                               bytes_text(account_.limit_bytes(session))));
}

}  // namespace arenad::server
