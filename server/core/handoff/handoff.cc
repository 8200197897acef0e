#include "server/core/handoff/handoff.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstring>
#include <map>
#include <vector>

#include "allocator/base/format.h"
#include "proto/handoff/frames.h"
#include "server/core/api/text.h"

namespace arenad::server {
namespace asio = boost::asio;
using UnixSocket = asio::local::stream_protocol::socket;

namespace {

constexpr auto kRequestWithin = std::chrono::seconds(2);
constexpr auto kAcceptPause = std::chrono::milliseconds(50);  // when there are no descriptors left
constexpr std::size_t kMaxConnections = 128;

std::uint32_t user_of(int socket) {
  ucred cred{};
  socklen_t bytes = sizeof cred;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &cred, &bytes) != 0) return Principal::kNoUser;
  return cred.uid;
}

// Sends header, text and descriptors in one message, so that the descriptors travel with the first
// byte. The buffer of a fresh socket takes the whole message. A client that has gone gets nothing.
void send_reply(int socket, const HandoffGrant& grant) {
  handoff::Reply reply;
  reply.status = static_cast<std::uint32_t>(error_code(grant.failure.error));
  reply.reason = static_cast<std::uint32_t>(grant.failure.error);
  const int fds[2] = {grant.data.get(), grant.control.get()};
  reply.fd_count = grant.control ? 2 : grant.data ? 1 : 0;
  reply.mode = static_cast<std::uint32_t>(grant.mode);
  reply.data_bytes = grant.data_bytes;
  reply.control_bytes = grant.control_bytes;
  reply.arena_id = grant.arena_id.value;
  reply.message_bytes = static_cast<std::uint32_t>(grant.failure.message.size());

  iovec parts[2] = {
      {&reply, sizeof reply},
      {const_cast<char*>(grant.failure.message.data()), grant.failure.message.size()}};
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof fds)> control{};
  if (reply.fd_count != 0) {
    const std::size_t bytes = reply.fd_count * sizeof(int);
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(bytes);
    cmsghdr* rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(bytes);
    std::memcpy(CMSG_DATA(rights), fds, bytes);
  }
  [[maybe_unused]] const auto sent = ::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

}  // namespace

// The connections that have not been answered, oldest first.
class Handoff::Waiting {
 public:
  void add(Connection& connection) { all_.push_back(&connection); }
  void remove(Connection& connection) { std::erase(all_, &connection); }
  void make_room();

 private:
  std::vector<Connection*> all_;  // at most kMaxConnections
};

struct Handoff::Acceptor {
  explicit Acceptor(asio::io_context& with) : io(with), socket(with), pause(with) {}
  asio::io_context& io;
  asio::local::stream_protocol::acceptor socket;
  asio::steady_timer pause;
  // Outlives the acceptor in the connections' hands.
  std::shared_ptr<Waiting> waiting = std::make_shared<Waiting>();
};

class Handoff::Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(UnixSocket socket, HandoffHost& host, std::shared_ptr<Waiting> waiting)
      : socket_(std::move(socket)),
        timer_(socket_.get_executor()),
        host_(host),
        waiting_(std::move(waiting)),
        uid_(user_of(socket_.native_handle())) {
    waiting_->add(*this);
  }
  ~Connection() { waiting_->remove(*this); }

  std::uint32_t uid() const { return uid_; }
  // What is under way ends with an error.
  void close() {
    boost::system::error_code ignored;
    socket_.close(ignored);
  }

  void run() {
    const auto self = shared_from_this();
    timer_.expires_after(kRequestWithin);
    timer_.async_wait([self](const boost::system::error_code& error) {
      if (!error) self->close();
    });
    asio::async_read(socket_, asio::buffer(&request_, sizeof request_),
                     [self](const boost::system::error_code& error, std::size_t) {
                       self->timer_.cancel();
                       if (!error) self->answer();
                     });
  }

 private:
  void answer() {
    HandoffGrant grant;
    if (request_.magic != handoff::kMagic) {
      grant.failure = {Error::kBadToken,
                       "this is arenad's handoff socket, and that was no handoff request"};
    } else if (request_.version != handoff::kVersion) {
      grant.failure = {Error::kModeUnavailable,
                       fmt::format("handoff version {} is not offered: use a client of version {}",
                                   request_.version, handoff::kVersion)};
    } else {
      grant = host_.redeem(
          {reinterpret_cast<const char*>(request_.token.data()), request_.token.size()},
          peer_process(socket_.native_handle()));
    }
    send_reply(socket_.native_handle(), grant);
    close();
  }

  UnixSocket socket_;
  asio::steady_timer timer_;
  HandoffHost& host_;
  const std::shared_ptr<Waiting> waiting_;
  const std::uint32_t uid_;
  handoff::Request request_;
};

void Handoff::Waiting::make_room() {
  if (all_.size() < kMaxConnections) return;
  std::map<std::uint32_t, std::size_t> of_user;
  for (const Connection* connection : all_) ++of_user[connection->uid()];
  const auto most = std::ranges::max_element(of_user, {}, &decltype(of_user)::value_type::second);
  const auto oldest = std::ranges::find(all_, most->first, &Connection::uid);
  (*oldest)->close();
  all_.erase(oldest);
}

Handoff::Handoff(asio::io_context& io, std::string path, HandoffHost& host)
    : path_(std::move(path)), host_(host), acceptor_(std::make_unique<Acceptor>(io)) {}

Handoff::~Handoff() { close(); }

Answer<Nothing> Handoff::open() {
  const auto failed = [this](const std::string& what) {
    return Failure{Error::kInvalidOption,
                   fmt::format("handoff socket {}: {}: choose another directory", path_, what)};
  };
  sockaddr_un probe{};
  if (path_.size() >= sizeof probe.sun_path)
    return failed("the path is longer than a Unix socket's may be");
  const asio::local::stream_protocol::endpoint endpoint(path_);
  boost::system::error_code error;
  {
    UnixSocket other(acceptor_->io);
    if (!other.connect(endpoint, error)) return failed("another daemon answers there");
  }
  ::unlink(path_.c_str());  // a dead daemon's
  auto& socket = acceptor_->socket;
  if (socket.open(endpoint.protocol(), error) || socket.bind(endpoint, error) ||
      socket.listen(static_cast<int>(kMaxConnections), error)) {
    return failed(error.message());
  }
  // Everybody may connect. The arena's owner, group and mode decide what the caller gets.
  if (::fchmodat(AT_FDCWD, path_.c_str(), 0666, AT_SYMLINK_NOFOLLOW) != 0)
    return failed(std::strerror(errno));
  accept_next();
  return Nothing{};
}

void Handoff::close() {
  if (!acceptor_->socket.is_open()) return;
  boost::system::error_code ignored;
  acceptor_->socket.close(ignored);
  acceptor_->pause.cancel();
  ::unlink(path_.c_str());
}

void Handoff::accept_next() {
  acceptor_->socket.async_accept([this](const boost::system::error_code& error, UnixSocket socket) {
    if (error == asio::error::operation_aborted) return;  // closed: `this` may be gone
    if (error) {  // no descriptors left: let connections end before the next try
      acceptor_->pause.expires_after(kAcceptPause);
      acceptor_->pause.async_wait([this](const boost::system::error_code& stopped) {
        if (!stopped) accept_next();
      });
      return;
    }
    acceptor_->waiting->make_room();
    std::make_shared<Connection>(std::move(socket), host_, acceptor_->waiting)->run();
    accept_next();
  });
}

}  // namespace arenad::server
