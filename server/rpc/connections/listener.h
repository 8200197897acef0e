// Listener: accepts the connections of one socket.
//
// Purpose: the daemon's own listener, because gRPC's stops for ever after one accept() without
//   descriptors, and does not say who connected.
// Invariants: an accept that fails for want of descriptors is tried again after a pause. The file
//   of a Unix socket goes when the listener is closed.
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
  // of the directory (instance_lock.h), or has looked. Errors: kInvalidOption.
  static Answer<std::unique_ptr<Listener>> open(boost::asio::io_context& io, std::string path,
                                                Access access, Host host);
  // The same on a TCP port; port 0 takes any free one. Errors: kInvalidOption.
  static Answer<std::unique_ptr<Listener>> open_tcp(boost::asio::io_context& io,
                                                    const std::string& hostname, std::uint16_t port,
                                                    Host host);
  ~Listener();

  // The path, or host:port with the port that the system chose.
  const std::string& address() const { return address_; }

 private:
  struct Acceptor;
  Listener(std::string address, std::string path, std::unique_ptr<Acceptor> acceptor);
  void wait();
  void accept_all();
  void pause();

  const std::string address_;
  const std::string path_;  // of a Unix socket
  std::unique_ptr<Acceptor> acceptor_;
};

}  // namespace arenad::server
