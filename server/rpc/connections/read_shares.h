// ReadShares: how much gRPC reads from the connections of one user before it looks at others.
//
// Purpose: gRPC 1.51 reads a Unix socket for as long as there is something in it. Whoever sends
//   faster than a shard reads would have the shard for itself. So the daemon has functions of its
//   own in front of the C library's recvmsg and poll. recvmsg answers EAGAIN when the user has had
//   its share. gRPC then handles what it has read, and polls. Each poll of a shard begins a new
//   share for everybody.
// Invariants: a share is bounded in bytes and in calls, whatever number of connections the user
//   has. It is small when several users read, because each waits for the shares of the others.
//   Nothing is lost: gRPC polls level-triggered (GRPC_POLL_STRATEGY=poll), so it comes back. With
//   another strategy, and for a socket that is not guarded, nothing is different.
// Threads: guard and unguard by one thread. gRPC reads a connection on one thread at a time, but
//   not always on the same one.
// Crash: nothing is shared.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <utility>

#include "server/rpc/connections/frame_counter.h"

namespace arenad::server {

// What is known of one shard. Relaxed, all: they order no other memory.
struct ShardReads {
  std::atomic<std::uint64_t> polls{0};     // written by the shard's thread
  std::atomic<std::uint64_t> mixed_at{0};  // the poll at which a second user was last seen to read
  std::atomic<std::uint32_t> uid{0};       // who has read last
};

// From here on poll(2) of this thread counts there; null: nowhere.
void count_polls_of_this_thread(ShardReads* reads);

class ReadShares {
 public:
  // Of a user, in each shard, for each poll.
  static constexpr std::int64_t kBytes = 16 << 10;
  static constexpr std::int64_t kCalls = 16;
  // The same, while no other user has read for so many polls.
  static constexpr std::int64_t kBytesAlone = 256 << 10;
  static constexpr std::int64_t kCallsAlone = 256;
  static constexpr std::uint64_t kAlonePolls = 1024;
  // What a client may ask before it has agreed to the daemon's settings. Every library agrees
  // before its first call. gRPC holds only those to its limit of streams who have agreed.
  static constexpr std::uint32_t kMostCallsBeforeSettings = 256;

  // Ends a connection. Called once for it, on any thread of gRPC's.
  using Cut = std::function<void(int number, const char* why)>;
  explicit ReadShares(Cut cut) : cut_(std::move(cut)) {}
  ~ReadShares();
  ReadShares(const ReadShares&) = delete;
  ReadShares& operator=(const ReadShares&) = delete;

  // The connection with that number is of user `uid`. That shard reads it.
  void guard(int number, std::uint32_t uid, ShardReads& shard);
  void unguard(int number);

 private:
  struct Share;
  class Guard;
  friend struct ReadHook;
  const Cut cut_;
  std::map<std::pair<const ShardReads*, std::uint32_t>, std::weak_ptr<Share>> shares_;
  std::map<int, std::shared_ptr<Guard>> guards_;
};

}  // namespace arenad::server
