#include "tests/crash/world.h"

#include <poll.h>
#include <sys/socket.h>

#include <atomic>

namespace arenad::crash {

const char* role_name(std::uint32_t role) {
  switch (role) {
    case kDaemon: return "daemon";
    case kRecovery: return "restarted daemon";
    case kPeer0: return "peer 0";
    case kPeer0 + 1: return "peer 1";
    case kPeer0 + 2: return "peer 2";
    default: return "director";
  }
}

bool ask(int socket, Message& message, int timeout_ms, int attempts) {
  static std::atomic<std::uint32_t> sequence{0};
  message.sequence = ++sequence;
  const Message asked = message;
  for (int attempt = 0; attempt < attempts; ++attempt) {
    if (::send(socket, &asked, sizeof asked, MSG_NOSIGNAL) != sizeof asked) return false;
    for (;;) {
      pollfd ready{socket, POLLIN, 0};
      if (::poll(&ready, 1, timeout_ms) <= 0)
        break;  // the daemon died with the question: ask the next one
      if (::recv(socket, &message, sizeof message, 0) != sizeof message) return false;
      if (message.sequence == asked.sequence) return true;  // else the answer to an earlier attempt
    }
  }
  return false;
}

}  // namespace arenad::crash
