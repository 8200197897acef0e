// Floods: what a connection does that no client library does, and what follows.
//
// Purpose: where reads are not shared out (read_shares.h), who sends faster than the shard reads
//   keeps the shard from all other connections. FloodSigns finds such a connection from outside, by
//   the bytes that wait in its socket. BarredUsers keeps the user of a connection that was cut away
//   for a while.
// Invariants: none of a client's messages is more than HTTP/2's window of 64 KiB, and a burst of
//   calls is read within kLooks looks. So such a client is not taken for a flood.
// Threads: one. Crash: nothing is shared.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>

namespace arenad::server {

class FloodSigns {
 public:
  // More than the window of a connection, 64 KiB.
  static constexpr std::uint64_t kManyBytes = 128 << 10;
  static constexpr int kLooks = 10;

  // `steps`: how often the shard has looked for events. `waiting_bytes`: in the socket.
  void look(std::uint64_t steps, std::uint64_t waiting_bytes) {
    many_bytes_ = waiting_bytes >= kManyBytes;
    looks_ = many_bytes_ && steps == steps_ ? looks_ + 1 : 0;
    steps_ = steps;
  }
  // How many looks in a row have found many bytes, and a shard that has made no step. A user with
  // kLooks in all their connections floods the shard.
  int looks() const { return looks_; }
  // Whether many bytes were there at the last look. The next look should come soon.
  bool many_bytes() const { return many_bytes_; }

 private:
  std::uint64_t steps_ = 0;
  int looks_ = 0;
  bool many_bytes_ = false;
};

class BarredUsers {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr auto kBar = std::chrono::seconds(10);

  void bar(std::uint32_t uid, Time now) { until_.insert_or_assign(uid, now + kBar); }
  bool barred(std::uint32_t uid, Time now) {
    const auto found = until_.find(uid);
    if (found == until_.end()) return false;
    if (now < found->second) return true;
    until_.erase(found);
    return false;
  }

 private:
  std::map<std::uint32_t, Time> until_;
};

}  // namespace arenad::server
