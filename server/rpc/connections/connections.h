// Connections: the client connections that the daemon has accepted, and who made each.
//
// Purpose: a Unix socket's connection is accepted here, and not by gRPC. So the kernel says which
//   process made it, and a lack of descriptors is survived (gRPC's own listener stops for ever).
//   The descriptor then goes to its shard's gRPC server, whose calls name it: "fd:17".
// Invariants:
// * A connection ends when the process that made it has ended, also when a forked child still has
//   it open.
// * A descriptor's number names one connection only, for as long as a call of it may be under way:
//   after the end of a connection its number rests until the shard has found its queue empty twice
//   (shard_connections.h).
// * gRPC reads the connections of each user in shares (read_shares.h). A connection that floods its
//   shard all the same is cut (flood.h, connection_limits.h).
// Threads: one, that of the io_context. Crash: the kernel closes the descriptors.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include "allocator/base/log.h"
#include "allocator/base/unique_fd.h"
#include "server/core/api/api.h"
#include "server/core/handoff/caller_process.h"
#include "server/rpc/connections/flood.h"
#include "server/rpc/connections/read_shares.h"
#include "server/rpc/loop/shard_loop.h"

namespace boost::asio {
class io_context;
}

namespace arenad::server {

class Connections {
 public:
  // gRPC's, the second one, the pidfd, and one more while the connection gets its number.
  static constexpr int kDescriptorsOfOne = 4;

  // `root_is_admin`: root in the daemon's user namespace is an administrator over every socket.
  // `max_of_user`: connections of one user who is no administrator.
  Connections(boost::asio::io_context& io, bool root_is_admin, std::uint32_t max_of_user);
  ~Connections();

  // Whether there are descriptors for one connection more, and a number that does not rest.
  bool has_room();
  // Takes over a connection to the shard of `loop`. Whoever is behind it is an administrator when
  // `is_admin` is set, or as `root_is_admin` says. A connection whose process is gone already is
  // closed. Errors: kNotPermitted, the process is gone; kQuotaUser, its user has too many
  // connections; kMachineFull, no descriptor is left, though has_room() was true. The connection is
  // closed then.
  // A user who is barred gets in over admin.sock only: kNotPermitted, too.
  Answer<Nothing> add(UniqueFd socket, ShardLoop& loop, bool is_admin);
  // Takes over a connection over TCP. Errors: kQuotaDaemon, there are kMostTcp; kMachineFull.
  Answer<Nothing> add_tcp(UniqueFd socket, ShardLoop& loop, ShardLoop::Tcp kind);
  // Ends the connection with that number, if there is one, and bars its user for a while. `why`
  // goes to the log.
  void cut(int number, const char* why);
  // Ends all connections. For the end of the daemon, when calls that are left were told.
  void end_all();

 private:
  struct Connection {
    ShardLoop& loop;
    UniqueFd socket;       // a second descriptor of the connection; gRPC has the first
    UniqueFd pidfd;        // none when the kernel could not give it
    std::uint32_t uid;     // Principal::kNoUser for TCP
    bool limited = false;  // counts for its user's limit; an administrator has none
    FloodSigns signs;
  };
  // Whoever reaches the port can take them, so they leave descriptors for others.
  static constexpr std::size_t kMostTcp = 256;
  // What an event of the poll set is about: a connection's number, and which of its descriptors.
  static constexpr std::uint64_t kProcessBit = std::uint64_t{1} << 32;

  Answer<UniqueFd> with_number_of_its_own(UniqueFd socket);
  Failure check_user(const CallerProcess& process) const;
  bool watch(int fd, std::uint32_t events, std::uint64_t about);
  void wait();
  void look();
  void hung_up(int number);
  void watch_floods(std::chrono::milliseconds pause);

  struct PollSet;
  const bool root_is_admin_;
  const std::uint32_t max_of_user_;
  std::unique_ptr<PollSet> poll_set_;
  std::map<int, Connection> open_;                  // by the number that gRPC's descriptor has
  std::map<std::uint32_t, std::uint32_t> of_user_;  // connections, by uid
  std::set<int> resting_;
  std::size_t tcp_ = 0;  // of open_
  BarredUsers barred_;
  ReadShares read_shares_;
  RateLimit said_{1};  // that a connection was cut
  int next_number_ = 0;
};

}  // namespace arenad::server
