#include "server/rpc/connections/listener.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

namespace arenad::server {
namespace asio = boost::asio;

namespace {

constexpr auto kPause = std::chrono::milliseconds(50);  // when there are no descriptors left
constexpr auto kSayAgainAfter = std::chrono::seconds(10);
// Connections of one turn. Signals and other listeners have their turn in between.
constexpr int kMostInTurn = 64;

}  // namespace

struct Listener::Acceptor {
  Acceptor(asio::io_context& io, int listening, Host with)
      : socket(io, listening), pause(io), host(std::move(with)) {}
  asio::posix::stream_descriptor socket;
  asio::steady_timer pause;
  Host host;
  std::chrono::steady_clock::time_point said{};  // that it pauses
};

Listener::Listener(std::string address, std::string path, std::unique_ptr<Acceptor> acceptor)
    : address_(std::move(address)), path_(std::move(path)), acceptor_(std::move(acceptor)) {
  wait();
}

Listener::~Listener() {
  if (!path_.empty()) ::unlink(path_.c_str());
}

Answer<std::unique_ptr<Listener>> Listener::open(asio::io_context& io, std::string path,
                                                 Access access, Host host) {
  const auto failed = [&path](const std::string& what) {
    return Failure{Error::kInvalidOption, fmt::format("cannot listen on {}: {}", path, what)};
  };
  sockaddr_un address{};
  if (path.size() >= sizeof address.sun_path)
    return failed(
        fmt::format("a Unix socket's path has at most {} characters", sizeof address.sun_path - 1));
  const asio::local::stream_protocol::endpoint endpoint(path);
  ::unlink(path.c_str());  // a dead daemon's
  boost::system::error_code error;
  asio::local::stream_protocol::acceptor socket(io);
  if (socket.open(endpoint.protocol(), error)) return failed(error.message());
  // The file is made with the mode that the socket has, less the umask. So it is never open to more
  // users than in the end.
  if (::fchmod(socket.native_handle(), 0600) != 0) return failed(std::strerror(errno));
  if (socket.bind(endpoint, error)) return failed(error.message());
  if ((access.gid && ::lchown(path.c_str(), static_cast<uid_t>(-1), *access.gid) != 0) ||
      ::fchmodat(AT_FDCWD, path.c_str(), access.mode, AT_SYMLINK_NOFOLLOW) != 0)
    return failed(std::strerror(errno));
  if (socket.listen(asio::socket_base::max_listen_connections, error) ||
      socket.non_blocking(true, error))
    return failed(error.message());
  auto acceptor = std::make_unique<Acceptor>(io, socket.release(), std::move(host));
  return std::unique_ptr<Listener>(new Listener(path, path, std::move(acceptor)));
}

Answer<std::unique_ptr<Listener>> Listener::open_tcp(asio::io_context& io,
                                                     const std::string& hostname,
                                                     std::uint16_t port, Host host) {
  using tcp = asio::ip::tcp;
  const bool v6 = hostname.find(':') != std::string::npos;
  const std::string name = v6 ? "[" + hostname + "]" : hostname;
  boost::system::error_code error;
  tcp::acceptor socket(io);
  const auto found =
      tcp::resolver(io).resolve(hostname, std::to_string(port), tcp::resolver::passive, error);
  if (!error) {
    const tcp::endpoint endpoint = *found.begin();
    socket.open(endpoint.protocol(), error);
    if (!error) socket.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) socket.bind(endpoint, error);
    if (!error) socket.listen(asio::socket_base::max_listen_connections, error);
    if (!error) socket.non_blocking(true, error);
  }
  if (error) {
    return Failure{Error::kInvalidOption,
                   fmt::format("cannot listen on {}:{}: {}", name, port, error.message())};
  }
  const std::string address = fmt::format("{}:{}", name, socket.local_endpoint().port());
  auto acceptor = std::make_unique<Acceptor>(io, socket.release(), std::move(host));
  return std::unique_ptr<Listener>(new Listener(address, "", std::move(acceptor)));
}

void Listener::wait() {
  acceptor_->socket.async_wait(asio::posix::descriptor_base::wait_read,
                               [this](const boost::system::error_code& closed) {
                                 if (!closed) accept_all();
                               });
}

void Listener::accept_all() {
  for (int i = 0; i < kMostInTurn; ++i) {
    if (!acceptor_->host.has_room()) {
      if (i == 0) return pause();
      break;  // perhaps nobody waits
    }
    UniqueFd socket(::accept4(acceptor_->socket.native_handle(), nullptr, nullptr,
                              SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) return pause();
      break;  // there are no more, or the one that there was is gone
    }
    acceptor_->host.take(std::move(socket));
  }
  wait();
}

void Listener::pause() {
  const auto now = std::chrono::steady_clock::now();
  if (now - acceptor_->said > kSayAgainAfter) {
    acceptor_->said = now;
    spdlog::error(
        "connections to {} wait: the daemon has no file descriptor left: raise its limit "
        "(LimitNOFILE of its unit, ulimit -n), or end clients",
        address_);
  }
  acceptor_->pause.expires_after(kPause);
  acceptor_->pause.async_wait([this](const boost::system::error_code& closed) {
    if (!closed) wait();
  });
}

}  // namespace arenad::server
