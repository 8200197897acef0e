#include "client/lib/handoff.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "proto/handoff/frames.h"

namespace arenad::client {
namespace {

using handoff::Reply;
using handoff::Request;

Status failed(const std::string& path, const std::string& what, const char* advice) {
  return {Code::kUnavailable, Error::kNone, "handoff socket " + path + ": " + what + "; " + advice};
}

Status unreachable(const std::string& path, const std::string& what) {
  return failed(path, what,
                "reader, writer and peer need it in this process's file system (mount the daemon's "
                "socket directory), or attach as remote");
}

// The socket is there, and the daemon does not serve it now.
Status no_answer(const std::string& path, const std::string& what) {
  return failed(path, what, "the daemon is busy or has just ended: try again");
}

// Of a system call that failed.
Status not_connected(const std::string& path, int error) {
  const std::string what = std::generic_category().message(error);
  if (error == EMFILE || error == ENFILE)
    return failed(path, what, "close descriptors of this process, or raise its limit (ulimit -n)");
  if (error == EAGAIN || error == EPIPE || error == ECONNRESET) return no_answer(path, what);
  return unreachable(path, what);
}

Status nonsense(const std::string& path, const char* what) {
  return {Code::kInternal, Error::kInternal,
          "the answer on handoff socket " + path + " is not one of arenad's: " + what +
              "; are daemon and client of one version?"};
}

// Reads `bytes` bytes. False at the end of the stream, an error, or the socket's timeout.
bool read_all(int fd, char* into, std::size_t bytes) {
  while (bytes > 0) {
    const ssize_t got = ::recv(fd, into, bytes, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    into += got;
    bytes -= static_cast<std::size_t>(got);
  }
  return true;
}

// Reads the header, and takes the descriptors that come with its first byte.
bool read_header(int fd, Reply& header, UniqueFd& data, UniqueFd& control_file) {
  iovec part{&header, sizeof header};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(4 * sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  ssize_t got = 0;
  do {
    got = ::recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got <= 0) return false;
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int each = -1;
      std::memcpy(&each, CMSG_DATA(c) + i * sizeof(int), sizeof each);
      UniqueFd owned(each);  // closes a descriptor that nobody expects
      if (!data)
        data = std::move(owned);
      else if (!control_file)
        control_file = std::move(owned);
    }
  }
  return read_all(fd, reinterpret_cast<char*>(&header) + got,
                  sizeof header - static_cast<std::size_t>(got));
}

}  // namespace

Answer<HandedOver> hand_over(const std::string& path, std::string_view token,
                             std::uint32_t timeout_ms) {
  Request request;
  if (token.size() != request.token.size())
    return nonsense(path, "its token does not have 16 bytes");
  std::copy(token.begin(), token.end(), request.token.begin());

  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path)
    return unreachable(
        path, "the path must have 1 to " + std::to_string(sizeof address.sun_path - 1) + " bytes");
  std::copy(path.begin(), path.end(), address.sun_path);

  const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval timeout{.tv_sec = timeout_ms / 1000,
                        .tv_usec = static_cast<suseconds_t>(timeout_ms % 1000) * 1000};
  if (!socket ||
      ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) != 0 ||
      ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout) != 0 ||
      ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return not_connected(path, errno);
  // MSG_NOSIGNAL: when the daemon goes away here, the caller gets an error, and the process gets no
  // SIGPIPE.
  if (::send(socket.get(), &request, sizeof request, MSG_NOSIGNAL) != sizeof request)
    return not_connected(path, errno);

  Reply header;
  HandedOver answer;
  if (!read_header(socket.get(), header, answer.data, answer.control))
    return no_answer(path, "no answer: the daemon closed it, or said nothing for " +
                               std::to_string(timeout_ms) + " ms");
  if (header.magic != handoff::kMagic) return nonsense(path, "wrong magic");
  if (header.message_bytes > handoff::kMostMessageBytes)
    return nonsense(path, "a message too long");
  std::string text(header.message_bytes, '\0');
  if (!read_all(socket.get(), text.data(), text.size()))
    return no_answer(path, "the answer was cut short");
  if (header.status != 0) {
    const bool known = header.reason <= static_cast<std::uint32_t>(kLastError);
    return Status{header.status <= 16 ? static_cast<Code>(header.status) : Code::kUnknown,
                  known ? static_cast<Error>(header.reason) : Error::kNone, std::move(text)};
  }
  const std::uint32_t count = static_cast<std::uint32_t>(static_cast<bool>(answer.data)) +
                              static_cast<bool>(answer.control);
  if (header.fd_count != count)
    return nonsense(
        path,
        "the descriptors do not match their count (is this process out of file descriptors?)");
  answer.data_bytes = header.data_bytes;
  answer.control_bytes = header.control_bytes;
  answer.arena = ArenaId{static_cast<std::uint16_t>(header.arena_id)};
  return answer;
}

}  // namespace arenad::client
