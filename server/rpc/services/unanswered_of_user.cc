#include "server/rpc/services/unanswered_of_user.h"

#include <string>
#include <utility>

#include "allocator/base/format.h"
#include "server/core/api/text.h"

namespace arenad::server {

Failure UnansweredAnswer::count(UnansweredOfUser& users, std::optional<std::uint32_t> uid,
                                std::size_t bytes) {
  UnansweredOfUser::Share user = users.share(uid);
  // Who has left nothing gets an answer of any size.
  if (*user != 0 && *user + bytes > users.most_bytes()) {
    const std::string whose = uid ? fmt::format("uid {}", *uid) : "clients over TCP";
    return refuse(
        Error::kQuotaUser,
        fmt::format("{} has not read answers of {}, and this one is {}: the limit on each "
                    "shard is max_user_unanswered_bytes, {}",
                    whose, bytes_text(*user), bytes_text(bytes), bytes_text(users.most_bytes())));
  }
  user_ = std::move(user);
  bytes_ = bytes;
  *user_ += bytes_;
  return {};
}

}  // namespace arenad::server
