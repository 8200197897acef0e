// UnansweredOfUser: bytes of answers that the streams of each user have not taken, on one shard.
//
// Invariants: a user is known while one of its streams has a share. Streams over TCP, of which the
// kernel does not say the user, count as one user.
// Threads: the shard's own. Crash: nothing is shared.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>

namespace arenad::server {

class UnansweredOfUser {
 public:
  // What all streams of one user count in. Empty: of nobody.
  using Share = std::shared_ptr<std::size_t>;

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
  std::map<std::optional<std::uint32_t>, std::weak_ptr<std::size_t>> bytes_;
};

}  // namespace arenad::server
