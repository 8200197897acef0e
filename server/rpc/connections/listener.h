// Listener: accepts the connections of one Unix socket.
//
// Purpose: the daemon's own listener, because gRPC's stops for ever after one accept() without
//   descriptors, and does not say who connected.
// Invariants: an accept that fails for want of descriptors is tried again after a pause. The socket
//   file goes when the listener is closed.
// Threads: that of the io_context. Crash: the file stays; the next daemon replaces it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "allocator/base/unique_fd.h"
#include "server/core/api/api.h"

namespace boost::asio {
class io_context;
}

namespace arenad::server {

class Listener {
 public:
  struct Host {
    // Whether there are descriptors for one connection more. When not, the listener pauses, and
    // connections wait in the socket's backlog.
    std::function<bool()> has_room;
    // Takes a connection.
    std::function<void(UniqueFd socket)> take;
  };

  // Who may connect: mode and, when it is not the daemon's, group of the socket file.
  struct Access {
    std::uint32_t mode = 0;
    std::optional<std::uint32_t> gid;
  };

  // Binds to `path`, and listens. Nobody else may serve on that path: whoever calls holds the lock
  // of the directory (instance_lock.h). Errors: kInvalidOption.
  static Answer<std::unique_ptr<Listener>> open(boost::asio::io_context& io, std::string path,
                                                Access access, Host host);
  ~Listener();

 private:
  struct Acceptor;
  Listener(std::string path, std::unique_ptr<Acceptor> acceptor);
  void wait();
  void accept_all();
  void pause();

  const std::string path_;
  std::unique_ptr<Acceptor> acceptor_;
};

}  // namespace arenad::server
