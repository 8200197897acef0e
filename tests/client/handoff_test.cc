// The client's side of the handoff against a daemon of the test's own, which can also answer what
// no arenad would.
#include "client/lib/handoff.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "client/lib/mapping.h"

namespace arenad::client {
namespace {

constexpr std::string_view kToken = "0123456789abcdef";

// Accepts one connection, reads the request, sends `answer` with `fds` on its first byte, and
// closes.
class OneAnswer {
 public:
  OneAnswer(std::string answer, std::vector<int> fds) {
    std::string directory = "/tmp/arenad-handoff-XXXXXX";
    EXPECT_NE(::mkdtemp(directory.data()), nullptr);
    directory_ = directory;
    listener_ = UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, path().c_str());
    EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(listener_.get(), 1), 0);
    thread_ = std::thread(
        [this, answer = std::move(answer), fds = std::move(fds)] { serve(answer, fds); });
  }
  ~OneAnswer() {
    ::shutdown(listener_.get(), SHUT_RDWR);  // nobody may have come
    thread_.join();
    ::unlink(path().c_str());
    ::rmdir(directory_.c_str());
  }

  std::string path() const { return directory_ + "/h"; }
  const std::string& request() {  // complete once hand_over returned
    return request_;
  }

 private:
  void serve(const std::string& answer, const std::vector<int>& fds) {
    const UniqueFd peer(::accept(listener_.get(), nullptr, nullptr));
    std::string request(32, '\0');
    if (::recv(peer.get(), request.data(), request.size(), MSG_WAITALL) != 32) return;
    request_ = request;
    if (answer.empty()) return;
    iovec part{const_cast<char*>(answer.data()), answer.size()};
    alignas(cmsghdr) char control[CMSG_SPACE(3 * sizeof(int))] = {};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (!fds.empty()) {
      message.msg_control = control;
      message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
      cmsghdr* c = CMSG_FIRSTHDR(&message);
      c->cmsg_level = SOL_SOCKET;
      c->cmsg_type = SCM_RIGHTS;
      c->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
      std::memcpy(CMSG_DATA(c), fds.data(), fds.size() * sizeof(int));
    }
    EXPECT_EQ(::sendmsg(peer.get(), &message, MSG_NOSIGNAL), static_cast<ssize_t>(answer.size()));
  }

  std::string directory_;
  UniqueFd listener_;
  std::string request_;
  std::thread thread_;
};

std::string header(std::uint32_t status, std::uint32_t reason, std::uint32_t fds,
                   std::uint64_t data_bytes, const std::string& text) {
  std::string h = "ARNDHND1";
  const auto put = [&](auto value) {
    h.append(reinterpret_cast<const char*>(&value), sizeof value);
  };
  put(status);
  put(reason);
  put(fds);
  put(std::uint32_t{3});
  put(data_bytes);
  put(std::uint64_t{0});
  put(std::uint32_t{7});
  put(static_cast<std::uint32_t>(text.size()));
  h.append(16, '\0');
  return h + text;
}

TEST(Handoff, ShowsTheTokenAndTakesTheDescriptor) {
  const UniqueFd file(::memfd_create("test", MFD_CLOEXEC));
  ASSERT_EQ(::ftruncate(file.get(), 8192), 0);
  OneAnswer daemon(header(0, 0, 1, 8192, ""), {file.get()});
  const auto handed = hand_over(daemon.path(), kToken, 5000);
  ASSERT_TRUE(handed.ok()) << handed.error().text();
  EXPECT_EQ(daemon.request(),
            "ARNDHND1" + std::string(kToken) + std::string("\1\0\0\0\0\0\0\0", 8));
  EXPECT_EQ(handed->data_bytes, 8192u);
  EXPECT_EQ(handed->arena, ArenaId{7});
  EXPECT_NE(::fcntl(handed->data.get(), F_GETFD) & FD_CLOEXEC, 0);
  const auto mapping = Mapping::map(handed->data.get(), handed->data_bytes, true);
  ASSERT_TRUE(mapping.ok()) << mapping.error().text();
  EXPECT_EQ(mapping->bytes().size(), 8192u);
}

TEST(Handoff, PeerGetsDataAndControlInTheirOrder) {
  const UniqueFd data(::memfd_create("data", MFD_CLOEXEC)),
      control(::memfd_create("control", MFD_CLOEXEC));
  ASSERT_EQ(::ftruncate(data.get(), 8192), 0);
  ASSERT_EQ(::ftruncate(control.get(), 4096), 0);
  {
    OneAnswer daemon(header(0, 0, 2, 8192, ""), {data.get(), control.get()});
    const auto handed = hand_over(daemon.path(), kToken, 5000);
    ASSERT_TRUE(handed.ok()) << handed.error().text();
    EXPECT_EQ(::lseek(handed->data.get(), 0, SEEK_END), 8192);
    EXPECT_EQ(::lseek(handed->control.get(), 0, SEEK_END), 4096);
  }
  OneAnswer too_many(header(0, 0, 3, 8192, ""), {data.get(), control.get(), data.get()});
  EXPECT_EQ(hand_over(too_many.path(), kToken, 5000).error().code, Code::kInternal);
}

TEST(Handoff, RefusalCarriesCodeReasonAndText) {
  OneAnswer daemon(header(16, 20, 0, 0, "the token was used"), {});
  const auto handed = hand_over(daemon.path(), kToken, 5000);
  ASSERT_FALSE(handed.ok());
  EXPECT_EQ(handed.error().code, Code::kUnauthenticated);
  EXPECT_EQ(handed.error().reason, Error::kBadToken);
  EXPECT_EQ(handed.error().message, "the token was used");
}

TEST(Handoff, TokenThatOnlyBindsHasNoDescriptor) {
  OneAnswer daemon(header(0, 0, 0, 0, ""), {});
  const auto handed = hand_over(daemon.path(), kToken, 5000);
  ASSERT_TRUE(handed.ok()) << handed.error().text();
  EXPECT_FALSE(handed->data);
}

TEST(Handoff, NobodyThereIsUnavailable) {
  const Status nobody = hand_over("/tmp/arenad-no-such-socket", kToken, 1000).error();
  EXPECT_EQ(nobody.code, Code::kUnavailable);
  EXPECT_NE(nobody.message.find("mount the daemon's socket directory"), std::string::npos);
  EXPECT_EQ(hand_over(std::string(200, 'x'), kToken, 1000).error().code, Code::kUnavailable);
}

TEST(Handoff, ClosedWithoutAnAnswerIsUnavailable) {
  OneAnswer daemon("", {});
  const Status closed = hand_over(daemon.path(), kToken, 5000).error();
  EXPECT_EQ(closed.code, Code::kUnavailable);
  EXPECT_NE(closed.message.find("try again"), std::string::npos) << closed.message;
  EXPECT_EQ(closed.message.find("mount"), std::string::npos) << "the socket is there";
}

TEST(Handoff, ProcessWithoutDescriptorsIsToldSo) {
  rlimit before;
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{0, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const Status full = hand_over("/tmp/arenad-no-such-socket", kToken, 1000).error();
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_NE(full.message.find("ulimit -n"), std::string::npos) << full.message;
}

TEST(Handoff, AnswersThatAreNoneAreRefused) {
  const std::string right = header(0, 0, 0, 0, "");
  {
    OneAnswer daemon("XXXXXXXX" + right.substr(8), {});
    EXPECT_EQ(hand_over(daemon.path(), kToken, 5000).error().code, Code::kInternal);
  }
  {
    OneAnswer daemon(right.substr(0, 40), {});
    EXPECT_EQ(hand_over(daemon.path(), kToken, 5000).error().code, Code::kUnavailable);
  }
  {
    OneAnswer daemon(header(0, 0, 1, 4096, ""), {});  // says that there is one, and there is none
    EXPECT_EQ(hand_over(daemon.path(), kToken, 5000).error().code, Code::kInternal);
  }
}

TEST(Handoff, FileShorterThanPromisedIsNotMapped) {
  const UniqueFd file(::memfd_create("test", MFD_CLOEXEC));
  ASSERT_EQ(::ftruncate(file.get(), 4096), 0);
  const auto mapping = Mapping::map(file.get(), 8192, true);
  ASSERT_FALSE(mapping.ok());
  EXPECT_EQ(mapping.error().code, Code::kInternal);
}

}  // namespace
}  // namespace arenad::client
