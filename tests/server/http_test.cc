// HTTP in process: which requests are answered, and what silent clients can keep.
#include "server/rpc/http.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <mutex>
#include <thread>
#include <utility>

#include "tests/support/eventually.h"
#include "tests/support/temporary_directory.h"

namespace arenad::server {
namespace {

using test::eventually;
using test::TemporaryDirectory;

// A client's connection.
class Http {
 public:
  explicit Http(const std::string& address) {
    constexpr std::string_view kUnix = "unix:";
    if (address.starts_with(kUnix)) {
      sockaddr_un to{};
      to.sun_family = AF_UNIX;
      address.copy(to.sun_path, sizeof to.sun_path - 1, kUnix.size());
      connect(AF_UNIX, reinterpret_cast<const sockaddr*>(&to), sizeof to);
    } else {
      sockaddr_in to{};
      to.sin_family = AF_INET;
      to.sin_port =
          htons(static_cast<std::uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
      to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      connect(AF_INET, reinterpret_cast<const sockaddr*>(&to), sizeof to);
    }
  }

  bool try_send(const std::string& text) {
    return ::send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL) ==
           static_cast<ssize_t>(text.size());
  }
  void send(const std::string& text) { EXPECT_TRUE(try_send(text)); }
  // What the server sends until it ends the connection.
  std::string rest() {
    std::string all;
    char buffer[4096];
    for (ssize_t got; (got = ::recv(fd_.get(), buffer, sizeof buffer, 0)) > 0;)
      all.append(buffer, static_cast<std::size_t>(got));
    return all;
  }
  std::string get(const std::string& path, const std::string& headers) {
    send("GET " + path + " HTTP/1.1\r\nConnection: close\r\n" + headers + "\r\n");
    return rest();
  }
  bool ended() {
    char byte;
    const ssize_t got = ::recv(fd_.get(), &byte, 1, MSG_DONTWAIT);
    return got == 0 || (got < 0 && errno != EAGAIN);
  }

 private:
  void connect(int family, const sockaddr* to, socklen_t bytes) {
    fd_ = UniqueFd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const timeval deadline{60, 0};
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof deadline);
    EXPECT_EQ(::connect(fd_.get(), to, bytes), 0);
  }
  UniqueFd fd_;
};

class HttpTest : public testing::Test {
 protected:
  ~HttpTest() override {
    boost::asio::post(io_, [this] { server_.reset(); });
    work_.reset();
    if (thread_.joinable()) thread_.join();
  }

  std::string serve(HttpOptions options) {
    if (options.path.empty()) options.host = "127.0.0.1";
    auto server = HttpServer::listen(
        io_,
        [this](Done<std::string> done) {
          ++asked_;
          std::lock_guard lock(mutex_);
          asks_.push_back(std::move(done));
          if (answer_at_once_) answer_asks();
        },
        options);
    EXPECT_TRUE(server.ok()) << server.error().message;
    server_ = std::move(*server);
    server_->set_ready(true, "");
    thread_ = std::thread([this] { io_.run(); });
    return server_->address();
  }
  void answer_later() { answer_at_once_ = false; }
  void answer_now() {
    std::lock_guard lock(mutex_);
    answer_asks();
  }
  int asked() const { return asked_; }

 private:
  void answer_asks() {
    for (const auto& done : std::exchange(asks_, {})) done(std::string("samples\n"));
  }

  boost::asio::io_context io_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{
      io_.get_executor()};
  std::unique_ptr<HttpServer> server_;
  std::thread thread_;
  std::atomic<int> asked_{0};
  std::mutex mutex_;
  std::vector<Done<std::string>> asks_;
  bool answer_at_once_ = true;
};

TEST_F(HttpTest, HostThatThePageOfSomebodyElseNamesIsRefused) {
  const std::string address = serve({});
  const std::string refused = Http(address).get("/metrics", "Host: evil.example\r\n");
  EXPECT_NE(refused.find("421 "), std::string::npos) << refused;
  EXPECT_EQ(refused.find("samples"), std::string::npos) << refused;
  EXPECT_EQ(asked(), 0);
  EXPECT_NE(Http(address).get("/metrics", "").find("421 "), std::string::npos) << "HTTP/1.1 has it";
  EXPECT_NE(Http(address).get("/healthz", "Host: localhost\r\nHost: evil\r\n").find("421 "),
            std::string::npos);
  for (const char* host : {"localhost", "127.0.0.1:7480", "[::1]"})
    EXPECT_NE(Http(address).get("/metrics", "Host: " + std::string(host) + "\r\n").find("samples"),
              std::string::npos)
        << host;
}

TEST_F(HttpTest, NamesOfTheConfigurationAreServed) {
  HttpOptions options;
  options.hosts = {"node7.example"};
  const std::string address = serve(options);
  EXPECT_NE(Http(address).get("/readyz", "Host: node7.example:7480\r\n").find("200 OK"),
            std::string::npos);
}

TEST_F(HttpTest, UnixSocketHasItsModeAndNoHostToCheck) {
  const TemporaryDirectory directory;
  HttpOptions options;
  options.path = directory.path() + "/http.sock";
  options.access = {0640, std::nullopt};
  const std::string address = serve(options);
  EXPECT_EQ(address, "unix:" + options.path);
  struct stat st {};
  ASSERT_EQ(::stat(options.path.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0640u);
  EXPECT_NE(Http(address).get("/metrics", "Host: anything\r\n").find("samples"), std::string::npos);

  boost::asio::io_context io;
  const auto second = HttpServer::listen(io, {}, options);
  ASSERT_FALSE(second.ok());
  EXPECT_NE(second.error().message.find("another process listens there"), std::string::npos);
}

TEST_F(HttpTest, FileThatIsNoSocketStays) {
  const TemporaryDirectory directory;
  HttpOptions options;
  options.path = directory.file("precious", "data");
  boost::asio::io_context io;
  const auto server = HttpServer::listen(io, {}, options);
  ASSERT_FALSE(server.ok());
  EXPECT_NE(server.error().message.find("no socket"), std::string::npos) << server.error().message;
  EXPECT_EQ(test::text_of_file(options.path), "data");
}

TEST_F(HttpTest, AnotherConnectionTakesThePlaceOfTheOldestSilentOne) {
  HttpOptions options;
  options.most_connections = 3;
  options.request_deadline = std::chrono::hours(1);
  const std::string address = serve(options);
  Http first(address), second(address), third(address);
  // Half a request is silence, too.
  first.send("GET /healthz HTTP/1.1\r\n");
  EXPECT_NE(Http(address).get("/healthz", "Host: localhost\r\n").find("200 OK"), std::string::npos);
  EXPECT_TRUE(eventually([&] { return first.ended(); }));
  EXPECT_FALSE(second.ended());
  EXPECT_FALSE(third.ended());
}

TEST_F(HttpTest, RequestThatIsNotWholeByItsDeadlineEndsItsConnection) {
  HttpOptions options;
  options.request_deadline = std::chrono::milliseconds(200);
  const std::string address = serve(options);
  Http drip(address), silent(address);
  // A byte from time to time does not help.
  EXPECT_TRUE(eventually([&] {
    drip.try_send("G");
    return drip.ended();
  }));
  EXPECT_TRUE(eventually([&] { return silent.ended(); }));
}

TEST_F(HttpTest, RequestsOfMetricsShareAnAnswer) {
  answer_later();
  const std::string address = serve({});
  const std::string request = "GET /metrics HTTP/1.0\r\n\r\n";
  Http first(address);
  first.send(request);
  ASSERT_TRUE(eventually([&] { return asked() == 1; }));
  Http second(address), third(address);
  second.send(request);
  third.send(request);
  // Both are served by now: their connections are taken in order.
  EXPECT_NE(Http(address).get("/healthz", "Host: localhost\r\n").find("200"), std::string::npos);
  EXPECT_EQ(asked(), 1);
  answer_now();
  EXPECT_NE(first.rest().find("samples"), std::string::npos);
  ASSERT_TRUE(eventually([&] { return asked() == 2; }));
  answer_now();
  EXPECT_NE(second.rest().find("samples"), std::string::npos);
  EXPECT_NE(third.rest().find("samples"), std::string::npos);
  EXPECT_EQ(asked(), 2);
}

}  // namespace
}  // namespace arenad::server
