// Clients that send anything on the handoff socket.
//
// Purpose: the input decides what clients of a real Handoff send, over real connections: good
// requests, requests with changed bytes, pieces of them, bytes that are no request, descriptors;
// and when they stop, close and come in crowds. The host behind the socket knows four tokens.
// What must hold:
// * No crash, and no report of a sanitizer.
// * A client that has sent a whole request gets one reply, as the first 32 bytes deserve: what the
//   token is worth, or an error with a text. A client that has sent less gets nothing.
// * A reply has as many descriptors and as much text as its header says. A refusal has no
//   descriptor.
// * When all clients are gone, the process has the descriptors that it had before.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/io_context.hpp>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "allocator/base/unique_fd.h"
#include "proto/handoff/frames.h"
#include "server/core/handoff/handoff.h"
#include "tests/fuzz/descriptors.h"
#include "tests/fuzz/input.h"
#include "tests/support/temporary_directory.h"

namespace arenad::fuzz {
namespace {

using server::HandoffGrant;
using Token = std::array<std::uint8_t, handoff::kTokenBytes>;

constexpr std::size_t kMostClients = 140;  // Handoff takes 128 at once
constexpr int kDescriptorsEnd = 512;
constexpr std::uint64_t kDataBytes = 4096, kControlBytes = 8192;
constexpr std::size_t kLongText = 20'000;

enum class Worth : std::uint8_t { kBinds, kReads, kPeers, kRefused, kForged };

Token token_of(Worth worth) {
  Token token{};
  std::string_view("fuzzer's token ").copy(reinterpret_cast<char*>(token.data()), token.size());
  token.back() = static_cast<std::uint8_t>(worth);
  return token;
}

Worth worth_of(std::string_view token) {
  for (const Worth worth : {Worth::kBinds, Worth::kReads, Worth::kPeers, Worth::kRefused})
    if (std::memcmp(token.data(), token_of(worth).data(), token.size()) == 0) return worth;
  return Worth::kForged;
}

UniqueFd memory(std::uint64_t bytes) {
  UniqueFd fd(::memfd_create("fuzz", MFD_CLOEXEC));
  FUZZ_EXPECT(fd && ::ftruncate(fd.get(), static_cast<off_t>(bytes)) == 0, "memory can be had");
  return fd;
}

class Host final : public server::HandoffHost {
 public:
  HandoffGrant redeem(std::string_view token, server::Answer<server::CallerProcess> peer) override {
    FUZZ_EXPECT(token.size() == handoff::kTokenBytes, "a token has its length");
    FUZZ_EXPECT(peer.ok() && peer->uid == ::getuid(), "the kernel says who the client is");
    HandoffGrant grant;
    switch (worth_of(token)) {
      case Worth::kBinds: break;
      case Worth::kPeers:
        grant.control = memory(kControlBytes);
        grant.control_bytes = kControlBytes;
        [[fallthrough]];
      case Worth::kReads:
        grant.data = memory(kDataBytes);
        grant.data_bytes = kDataBytes;
        break;
      case Worth::kRefused:
        grant.failure = {Error::kNotPermitted, std::string(kLongText, 'n')};
        break;
      case Worth::kForged: grant.failure = {Error::kBadToken, "the token is forged"}; break;
    }
    return grant;
  }
};

// What came back on a connection.
struct Received {
  std::vector<std::uint8_t> bytes;
  std::vector<UniqueFd> fds;
  bool at_end = false;  // the daemon has closed
};

class Client {
 public:
  explicit Client(UniqueFd socket) : socket_(std::move(socket)) {}

  // `fds`: how many descriptors travel with the bytes.
  void send(const std::uint8_t* bytes, std::size_t count, std::size_t fds) {
    if (!socket_ || count == 0) return;
    iovec part{const_cast<std::uint8_t*>(bytes), count};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    const std::array<int, 3> sent_fds{socket_.get(), 0, socket_.get()};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof sent_fds)> control{};
    if (fds != 0) {
      message.msg_control = control.data();
      message.msg_controllen = CMSG_SPACE(fds * sizeof(int));
      cmsghdr* const rights = CMSG_FIRSTHDR(&message);
      rights->cmsg_level = SOL_SOCKET;
      rights->cmsg_type = SCM_RIGHTS;
      rights->cmsg_len = CMSG_LEN(fds * sizeof(int));
      std::memcpy(CMSG_DATA(rights), sent_fds.data(), fds * sizeof(int));
    }
    const auto sent = ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) sent_.insert(sent_.end(), bytes, bytes + sent);
  }
  void finish() {
    if (socket_) ::shutdown(socket_.get(), SHUT_WR);
  }
  void close() { socket_ = UniqueFd(); }
  bool is_open() const { return static_cast<bool>(socket_); }
  const std::vector<std::uint8_t>& sent() const { return sent_; }

  Received receive() const {
    Received all;
    for (;;) {
      std::array<std::uint8_t, 4096> bytes;
      iovec part{bytes.data(), bytes.size()};
      alignas(cmsghdr) std::array<char, CMSG_SPACE(8 * sizeof(int))> control{};
      msghdr message{};
      message.msg_iov = &part;
      message.msg_iovlen = 1;
      message.msg_control = control.data();
      message.msg_controllen = control.size();
      const auto got = ::recvmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
      all.at_end = got == 0 || (got < 0 && errno == ECONNRESET);
      if (got <= 0) return all;
      all.bytes.insert(all.bytes.end(), bytes.begin(), bytes.begin() + got);
      for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
        for (std::size_t i = 0; CMSG_LEN((i + 1) * sizeof(int)) <= c->cmsg_len; ++i) {
          int fd;
          std::memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
          all.fds.emplace_back(fd);
        }
      }
    }
  }

 private:
  UniqueFd socket_;
  std::vector<std::uint8_t> sent_;  // what the kernel took
};

// The daemon's end. It outlives the runs.
class Daemon {
 public:
  Daemon() {
    FUZZ_EXPECT(handoff_.open().ok(), "the socket opens");
    settle();
  }
  void settle() {
    while (io_.poll() != 0) {}
  }
  UniqueFd connect() {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    handoff_.path().copy(address.sun_path, sizeof address.sun_path - 1);
    UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    FUZZ_EXPECT(socket, "a client has a socket");
    for (;;) {
      if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0)
        return socket;
      FUZZ_EXPECT(errno == EAGAIN, "a client can connect");
      settle();  // the backlog is full
    }
  }

 private:
  const test::TemporaryDirectory directory_{test::kMemoryFiles};
  boost::asio::io_context io_;
  Host host_;
  server::Handoff handoff_{io_, directory_.path() + "/handoff.sock", host_};
};

class Run {
 public:
  Run(Input& input, Daemon& daemon) : input_(input), daemon_(daemon) {}

  void run() {
    const int before = open_descriptors(kDescriptorsEnd);
    while (!input_.ended()) step();
    for (Client& client : clients_) client.finish();
    daemon_.settle();
    for (const Client& client : clients_)
      if (client.is_open()) check(client);
    clients_.clear();
    daemon_.settle();
    FUZZ_EXPECT(open_descriptors(kDescriptorsEnd) == before, "no descriptor is left");
  }

 private:
  void step() {
    const std::uint8_t what = input_.u8();
    switch (what % 8) {
      case 0: return connect(1);
      case 1: return send_bytes(what / 8 % 4);
      case 2:
      case 3: return send_request(what / 8 % 4);
      case 4: return some_client().finish();
      case 5: return some_client().close();
      case 6: return daemon_.settle();
      default: return connect(input_.u8());
    }
  }
  void connect(std::size_t count) {
    for (; count != 0 && clients_.size() < kMostClients; --count)
      clients_.emplace_back(daemon_.connect());
  }
  Client& some_client() {
    if (clients_.empty()) connect(1);
    return clients_[input_.u8() % clients_.size()];
  }
  void send_bytes(std::size_t fds) {
    Client& client = some_client();
    std::array<std::uint8_t, 64> bytes;
    const std::size_t count = input_.u8() % bytes.size();
    for (std::size_t i = 0; i < count; ++i) bytes[i] = input_.u8();
    client.send(bytes.data(), count, fds);
  }
  // A request in two pieces, with some bytes changed.
  void send_request(std::size_t fds) {
    Client& client = some_client();
    handoff::Request request;
    const std::uint8_t how = input_.u8();
    request.token = token_of(static_cast<Worth>(how % 5));
    std::array<std::uint8_t, sizeof request> bytes;
    std::memcpy(bytes.data(), &request, sizeof request);
    for (int changes = how / 5 % 4; changes != 0; --changes) {
      const std::uint8_t at = input_.u8();
      bytes[at % bytes.size()] ^= input_.u8();
    }
    const std::size_t first = how >= 128 ? input_.u8() % sizeof request : sizeof request;
    client.send(bytes.data(), first, fds);
    if (how >= 192) daemon_.settle();
    client.send(bytes.data() + first, sizeof request - first, 0);
  }

  void check(const Client& client) const {
    const Received got = client.receive();
    // Handoff gives up after 2 s, and gives way to newcomers.
    const bool may_be_dropped =
        clients_.size() >= 128 || Clock::now() - began_ > std::chrono::milliseconds(1500);
    FUZZ_EXPECT(got.at_end, "the daemon closes what is answered or ended");
    if (got.bytes.empty() && may_be_dropped) return;
    if (client.sent().size() < sizeof(handoff::Request)) {
      FUZZ_EXPECT(got.bytes.empty() && got.fds.empty(), "less than a request gets no answer");
      return;
    }
    handoff::Request request;
    std::memcpy(static_cast<void*>(&request), client.sent().data(), sizeof request);
    check_reply(request, got);
  }
  static void check_reply(const handoff::Request& request, const Received& got) {
    handoff::Reply reply;
    FUZZ_EXPECT(got.bytes.size() >= sizeof reply, "a request is answered");
    std::memcpy(static_cast<void*>(&reply), got.bytes.data(), sizeof reply);
    FUZZ_EXPECT(reply.magic == handoff::kMagic, "a reply begins as one");
    FUZZ_EXPECT(reply.message_bytes == got.bytes.size() - sizeof reply, "the text is whole");
    FUZZ_EXPECT(reply.fd_count == got.fds.size(), "the descriptors are those of the header");
    FUZZ_EXPECT((reply.status == 0) == (reply.reason == 0), "an error has a reason");
    FUZZ_EXPECT(reply.status == 0 || (reply.message_bytes != 0 && reply.fd_count == 0),
                "an error has a text and no descriptor");
    const auto is = [&reply](Error error) {
      return reply.reason == static_cast<std::uint32_t>(error);
    };
    if (request.magic != handoff::kMagic) {
      FUZZ_EXPECT(is(Error::kBadToken), "what is no request is refused");
      return;
    }
    if (request.version != handoff::kVersion) {
      FUZZ_EXPECT(is(Error::kModeUnavailable), "another version is refused");
      return;
    }
    switch (worth_of({reinterpret_cast<const char*>(request.token.data()), request.token.size()})) {
      case Worth::kForged: FUZZ_EXPECT(is(Error::kBadToken), "forged tokens are refused"); return;
      case Worth::kRefused:
        FUZZ_EXPECT(is(Error::kNotPermitted) && reply.message_bytes == kLongText,
                    "a refusal comes whole");
        return;
      case Worth::kBinds: FUZZ_EXPECT(is(Error::kNone) && got.fds.empty(), "a token binds"); return;
      case Worth::kReads:
        FUZZ_EXPECT(is(Error::kNone) && got.fds.size() == 1 && reply.data_bytes == kDataBytes,
                    "a reader gets the data");
        return;
      case Worth::kPeers:
        FUZZ_EXPECT(is(Error::kNone) && got.fds.size() == 2 && reply.control_bytes == kControlBytes,
                    "a peer gets data and control");
        return;
    }
  }

  using Clock = std::chrono::steady_clock;
  Input& input_;
  Daemon& daemon_;
  const Clock::time_point began_ = Clock::now();
  std::vector<Client> clients_;
};

}  // namespace
}  // namespace arenad::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static arenad::fuzz::Daemon daemon;
  arenad::fuzz::Input input({data, size});
  arenad::fuzz::Run(input, daemon).run();
  return 0;
}
