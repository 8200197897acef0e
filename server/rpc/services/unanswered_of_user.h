// UnansweredOfUser: bytes of answers that the clients of each user have not taken, on one shard.
//
// Purpose: a client that asks and does not read leaves its answers with the daemon. Streams read no
//   further when their user has left too much (exchange_handler.h), and a large answer to a call is
//   refused (unary_call.h).
// Invariants: a user is known while a stream or an answer has a share. Clients over TCP, of which
//   the kernel does not say the user, count as one user.
// Threads: the shard's own. Crash: nothing is shared.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>

#include "allocator/base/error.h"

namespace arenad::server {

class UnansweredOfUser {
 public:
  // What all streams and answers of one user count in. Empty: of nobody.
  using Share = std::shared_ptr<std::size_t>;

  // `most_bytes`: of one user (max_user_unanswered_bytes).
  explicit UnansweredOfUser(std::size_t most_bytes) : most_bytes_(most_bytes) {}
  std::size_t most_bytes() const { return most_bytes_; }

  // `uid` is empty when the user is not known.
  Share share(std::optional<std::uint32_t> uid) {
    std::weak_ptr<std::size_t>& of_user = bytes_[uid];
    Share share = of_user.lock();
    if (share == nullptr) {
      share = std::make_shared<std::size_t>(0);
      // What users that have gone left. Users are few, and come seldom.
      std::erase_if(bytes_, [](const auto& user) { return user.second.expired(); });
      bytes_[uid] = share;
    }
    return share;
  }

 private:
  const std::size_t most_bytes_;
  std::map<std::optional<std::uint32_t>, std::weak_ptr<std::size_t>> bytes_;
};

// An answer that counts for its user.
class UnansweredAnswer {
 public:
  UnansweredAnswer() = default;
  ~UnansweredAnswer() { taken(); }
  UnansweredAnswer(const UnansweredAnswer&) = delete;
  UnansweredAnswer& operator=(const UnansweredAnswer&) = delete;

  // Counts an answer of so many bytes, until taken(). Errors: kQuotaUser, the user has left some
  // answers, and would have left more than the limit with this one. Nothing is counted then.
  Failure count(UnansweredOfUser& users, std::optional<std::uint32_t> uid, std::size_t bytes);
  void taken() {
    if (user_ != nullptr) *user_ -= bytes_;
    user_ = nullptr;
  }

 private:
  UnansweredOfUser::Share user_;
  std::size_t bytes_ = 0;
};

}  // namespace arenad::server
