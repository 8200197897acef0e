#include "server/rpc/http.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <array>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <cerrno>
#include <iterator>
#include <list>
#include <optional>
#include <utility>

#include "server/rpc/http_hosts.h"

namespace arenad::server {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using Protocol = asio::generic::stream_protocol;

// A request has no body worth reading.
constexpr std::uint64_t kMostBodyBytes = 4096;

// The connection's own end as a numeric address. Empty for a Unix socket.
std::string own_address(int fd) {
  sockaddr_storage end{};
  socklen_t bytes = sizeof end;
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&end), &bytes) != 0) return {};
  if (end.ss_family == AF_INET)
    ::inet_ntop(AF_INET, &reinterpret_cast<sockaddr_in&>(end).sin_addr, text.data(), text.size());
  else if (end.ss_family == AF_INET6)
    ::inet_ntop(AF_INET6, &reinterpret_cast<sockaddr_in6&>(end).sin6_addr, text.data(),
                text.size());
  return text.data();
}

int family_of(int fd) {
  int family = AF_UNSPEC;
  socklen_t bytes = sizeof family;
  ::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &bytes);
  return family;
}

// Why a Unix socket cannot be made there; empty when it can. A socket of a dead daemon can be
// replaced. A file, or somebody's living socket, cannot.
std::string what_is_in_the_way(const std::string& path) {
  struct stat st;
  if (::lstat(path.c_str(), &st) != 0) return {};
  if (!S_ISSOCK(st.st_mode)) return "there is a file that is no socket";
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return {};  // the listener says so
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  const UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const bool dead =
      ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 &&
      errno == ECONNREFUSED;
  return dead ? "" : "another process listens there";
}

}  // namespace

struct HttpServer::Shared {
  Shared(asio::io_context& io, MetricsSource source, const HttpOptions& with)
      : io_context(io), metrics(std::move(source)), options(with), hosts([&] {
          std::vector<std::string> names = with.hosts;
          names.push_back(with.host);
          return names;
        }()) {}

  asio::io_context& io_context;
  const MetricsSource metrics;
  const HttpOptions options;
  const HttpHosts hosts;
  bool ready = false;
  std::string why_not_ready = "starting or draining";
  // In the order in which they began to wait for their client.
  std::list<Connection*> open;
  // Requests of /metrics: those that the source answers now, and those that came meanwhile.
  std::vector<std::shared_ptr<Connection>> being_answered, waiting;
};

// One connection: reads a request and answers it, again and again while the client wants to.
class HttpServer::Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(std::shared_ptr<Shared> shared, UniqueFd socket)
      : shared_(std::move(shared)),
        own_address_(own_address(socket.get())),
        stream_(Protocol::socket(shared_->io_context, Protocol(family_of(socket.get()), 0),
                                 socket.get())) {
    socket.release();
    shared_->open.push_back(this);
    place_ = std::prev(shared_->open.end());
  }
  ~Connection() { leave(); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void read() {
    parser_.emplace();
    parser_->body_limit(kMostBodyBytes);
    wait_for_client();
    http::async_read(stream_, buffer_, *parser_,
                     [self = shared_from_this()](beast::error_code error, std::size_t) {
                       self->silent_ = false;
                       if (!error) self->serve();
                     });
  }

  void answer(http::status status, const std::string& body,
              const char* type = "text/plain; charset=utf-8") {
    const auto& request = parser_->get();
    response_.emplace(status, request.version());
    response_->set(http::field::content_type, type);
    response_->keep_alive(request.keep_alive());
    response_->content_length(body.size());
    if (request.method() != http::verb::head) response_->body() = body;
    wait_for_client();
    http::async_write(stream_, *response_,
                      [self = shared_from_this()](beast::error_code error, std::size_t) {
                        self->silent_ = false;
                        if (!error && self->response_->keep_alive()) self->read();
                      });
  }

  bool silent() const { return silent_; }
  void close() {
    leave();
    stream_.close();
  }

 private:
  // The deadline is for the whole request, or the whole answer, and not for each byte.
  void wait_for_client() {
    silent_ = true;
    if (listed_) shared_->open.splice(shared_->open.end(), shared_->open, place_);
    stream_.expires_after(shared_->options.request_deadline);
  }

  void leave() {
    if (std::exchange(listed_, false)) shared_->open.erase(place_);
  }

  void serve() {
    const auto& request = parser_->get();
    if (const bool tcp = !own_address_.empty(); tcp && !host_is_good(request)) {
      return answer(http::status::misdirected_request,
                    "arenad does not serve the host that the request names: see http_host\n");
    }
    const std::string_view target(request.target().data(), request.target().size());
    const std::string_view path = target.substr(0, target.find('?'));
    if (request.method() != http::verb::get && request.method() != http::verb::head)
      return answer(http::status::method_not_allowed, "GET and HEAD only\n");
    if (path == "/healthz") return answer(http::status::ok, "ok\n");
    if (path == "/readyz") {
      return shared_->ready ? answer(http::status::ok, "ready\n")
                            : answer(http::status::service_unavailable,
                                     fmt::format("not ready: {}\n", shared_->why_not_ready));
    }
    if (path != "/metrics")
      return answer(http::status::not_found, "arenad serves /healthz, /readyz and /metrics\n");
    shared_->waiting.push_back(shared_from_this());
    if (shared_->being_answered.empty()) ask_metrics(shared_);
  }

  // No browser leaves the header out. HTTP/1.0 allows that, and 1.1 does not.
  bool host_is_good(const http::request<http::string_body>& request) const {
    const auto hosts = request.equal_range(http::field::host);
    if (hosts.first == hosts.second) return request.version() == 10;
    if (std::next(hosts.first) != hosts.second) return false;
    const auto value = hosts.first->value();
    return shared_->hosts.allows({value.data(), value.size()}, own_address_);
  }

  static void ask_metrics(const std::shared_ptr<Shared>& shared) {
    shared->being_answered = std::exchange(shared->waiting, {});
    shared->metrics([shared](Answer<std::string> text) {
      asio::post(shared->io_context, [shared, text = std::move(text)] {
        for (const auto& connection : std::exchange(shared->being_answered, {})) {
          if (text.ok())
            connection->answer(http::status::ok, *text, "text/plain; version=0.0.4; charset=utf-8");
          else
            connection->answer(http::status::service_unavailable, text.error().message + "\n");
        }
        if (!shared->waiting.empty()) ask_metrics(shared);
      });
    });
  }

  std::shared_ptr<Shared> shared_;
  const std::string own_address_;
  beast::basic_stream<Protocol> stream_;
  std::list<Connection*>::iterator place_;
  bool listed_ = true;
  bool silent_ = false;  // waits for the client, to send a request or to take an answer
  beast::flat_buffer buffer_{16 * 1024};
  std::optional<http::request_parser<http::string_body>> parser_;
  std::optional<http::response<http::string_body>> response_;
};

Answer<std::unique_ptr<HttpServer>> HttpServer::listen(asio::io_context& io, MetricsSource metrics,
                                                       const HttpOptions& options) {
  const auto failed = [&options](const std::string& what) {
    return Failure{
        Error::kInvalidOption,
        fmt::format(
            "cannot serve HTTP on {}: {}: choose another address with --http, or turn "
            "HTTP off with --http off",
            options.path.empty() ? fmt::format("{}:{}", options.host, options.port) : options.path,
            what)};
  };
  if (!options.path.empty()) {
    if (const std::string what = what_is_in_the_way(options.path); !what.empty())
      return failed(what);
  }
  auto shared = std::make_shared<Shared>(io, std::move(metrics), options);
  Listener::Host host;
  host.has_room = [] { return true; };
  host.take = [shared](UniqueFd socket) {
    if (shared->open.size() >= shared->options.most_connections) {
      auto oldest = shared->open.begin();
      while (oldest != shared->open.end() && !(*oldest)->silent()) ++oldest;
      // When none is silent, all wait for the metrics.
      (*(oldest == shared->open.end() ? shared->open.begin() : oldest))->close();
    }
    std::make_shared<Connection>(shared, std::move(socket))->read();
  };
  auto listener = options.path.empty()
                      ? Listener::open_tcp(io, options.host, options.port, std::move(host))
                      : Listener::open(io, options.path, options.access, std::move(host));
  if (!listener.ok()) return failed(listener.error().message);
  std::string address = (options.path.empty() ? "http://" : "unix:") + (*listener)->address();
  return std::unique_ptr<HttpServer>(
      new HttpServer(std::move(shared), std::move(*listener), std::move(address)));
}

HttpServer::HttpServer(std::shared_ptr<Shared> shared, std::unique_ptr<Listener> listener,
                       std::string address)
    : shared_(std::move(shared)), listener_(std::move(listener)), address_(std::move(address)) {}
HttpServer::~HttpServer() {
  shared_->waiting.clear();
  shared_->being_answered.clear();
  while (!shared_->open.empty()) shared_->open.front()->close();
}
void HttpServer::set_ready(bool ready, std::string why_not) {
  shared_->ready = ready;
  shared_->why_not_ready = std::move(why_not);
}

}  // namespace arenad::server
