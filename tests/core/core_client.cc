// core_client: a client process for tests of the handoff and of peers.
//
// Usage: core_client SOCKET [UID]. With UID it becomes that user (and group) first. Then it takes
// commands from its standard input, one a line, and answers each with one line:
//   token HEX     hands off with the token: "status=.. reason=.. fds=.. mode=.. bytes=.. arena=..
//   writable=.. reopens=.. text=.." raw HEX       sends those bytes instead of a request, and
//   answers in the same way poke OFF N    writes byte N at OFF of the mapping that the last
//   descriptor gave: "poked" or "refused" peek OFF      "byte=N" peer ...      what a peer does
//   with the two descriptors of the last token; see core_peer.h
// It ends at the end of its input, or when it is killed.
#include <fcntl.h>
#include <grp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "proto/handoff/frames.h"
#include "tests/core/core_peer.h"

namespace {

int last_fd = -1;
int last_control_fd = -1;
arenad::server::CorePeer peer;
unsigned char* mapping = nullptr;
std::size_t mapped_bytes = 0;
bool writable = false;

std::vector<unsigned char> from_hex(const std::string& hex) {
  std::vector<unsigned char> bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes.push_back(static_cast<unsigned char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  return bytes;
}

void map_last(std::size_t bytes) {
  if (mapping != nullptr) ::munmap(mapping, mapped_bytes);
  void* at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, last_fd, 0);
  writable = at != MAP_FAILED;
  if (!writable) at = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, last_fd, 0);
  mapping = at == MAP_FAILED ? nullptr : static_cast<unsigned char*>(at);
  mapped_bytes = bytes;
}

std::string hand_off(const std::string& path, const void* request, std::size_t request_bytes) {
  const int socket = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  if (::connect(socket, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    ::close(socket);
    return std::string("connect: ") + std::strerror(errno);
  }
  if (::send(socket, request, request_bytes, MSG_NOSIGNAL) != static_cast<ssize_t>(request_bytes))
    return "send failed";

  arenad::handoff::Reply reply;
  char text[4096] = {};
  iovec parts[2] = {{&reply, sizeof reply}, {text, sizeof text - 1}};
  alignas(cmsghdr) char control[CMSG_SPACE(2 * sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t got = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  ::close(socket);
  if (got < static_cast<ssize_t>(sizeof reply)) return "closed without an answer";
  bool reopens = false;
  if (const cmsghdr* rights = CMSG_FIRSTHDR(&message);
      rights != nullptr && rights->cmsg_type == SCM_RIGHTS) {
    std::memcpy(&last_fd, CMSG_DATA(rights), sizeof last_fd);
    if (rights->cmsg_len >= CMSG_LEN(2 * sizeof(int)))
      std::memcpy(&last_control_fd, CMSG_DATA(rights) + sizeof(int), sizeof last_control_fd);
    map_last(reply.data_bytes);
    const int again =
        ::open(("/proc/self/fd/" + std::to_string(last_fd)).c_str(), O_RDWR | O_CLOEXEC);
    reopens = again >= 0;
    if (reopens) ::close(again);
  }
  std::ostringstream line;
  line << "status=" << reply.status << " reason=" << reply.reason << " fds=" << reply.fd_count
       << " mode=" << reply.mode << " bytes=" << reply.data_bytes << " arena=" << reply.arena_id
       << " writable=" << writable << " reopens=" << reopens << " control=" << reply.control_bytes
       << " text=" << std::string(text, reply.message_bytes);
  return line.str();
}

std::string answer(const std::string& path, const std::string& line) {
  std::istringstream words(line);
  std::string verb, hex;
  std::size_t offset = 0;
  int value = 0;
  words >> verb;
  if (verb == "token") {
    words >> hex;
    arenad::handoff::Request request;
    const auto token = from_hex(hex);
    if (token.size() != request.token.size()) return "a token has 16 bytes";
    std::copy(token.begin(), token.end(), request.token.begin());
    return hand_off(path, &request, sizeof request);
  }
  if (verb == "raw") {
    words >> hex;
    const auto bytes = from_hex(hex);
    return hand_off(path, bytes.data(), bytes.size());
  }
  if (verb == "poke") {
    words >> offset >> value;
    if (mapping == nullptr || !writable || offset >= mapped_bytes) return "refused";
    mapping[offset] = static_cast<unsigned char>(value);
    return "poked";
  }
  if (verb == "peek") {
    words >> offset;
    if (mapping == nullptr || offset >= mapped_bytes) return "refused";
    return "byte=" + std::to_string(mapping[offset]);
  }
  if (verb == "peer") return peer.command(words, last_fd, last_control_fd);
  return "unknown command";
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  if (argc > 2) {
    const auto id = static_cast<unsigned>(std::atoi(argv[2]));
    if (::setgroups(0, nullptr) != 0 || ::setgid(id) != 0 || ::setuid(id) != 0) {
      std::perror("core_client: become another user");
      return 2;
    }
  }
  for (std::string line; std::getline(std::cin, line);)
    std::cout << answer(argv[1], line) << std::endl;
  return 0;
}
