#include "server/rpc/http.h"

#include <fmt/format.h>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <chrono>
#include <optional>

namespace arenad::server {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using tcp = asio::ip::tcp;

// A client that sends nothing for this long is gone. A request has no body worth reading.
constexpr auto kIdleTimeout = std::chrono::seconds(30);
constexpr std::uint64_t kMostBodyBytes = 4096;

}  // namespace

struct HttpServer::Shared : std::enable_shared_from_this<Shared> {
  Shared(asio::io_context& io, MetricsSource source)
      : io_context(io), acceptor(io), metrics(std::move(source)) {}
  void accept();

  asio::io_context& io_context;
  tcp::acceptor acceptor;
  MetricsSource metrics;
  std::string address;
  bool ready = false;
  std::string why_not_ready = "starting or draining";
};

// One connection: reads a request and answers it, again and again while the client wants to.
class HttpServer::Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(std::shared_ptr<Shared> shared, tcp::socket socket)
      : shared_(std::move(shared)), stream_(std::move(socket)) {}

  void read() {
    parser_.emplace();
    parser_->body_limit(kMostBodyBytes);
    stream_.expires_after(kIdleTimeout);
    http::async_read(stream_, buffer_, *parser_,
                     [self = shared_from_this()](beast::error_code error, std::size_t) {
                       if (!error) self->serve();
                     });
  }

 private:
  void serve() {
    const auto& request = parser_->get();
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
    shared_->metrics([self = shared_from_this()](Answer<std::string> text) {
      asio::post(self->shared_->io_context, [self, text = std::move(text)] {
        if (text.ok())
          self->answer(http::status::ok, *text, "text/plain; version=0.0.4; charset=utf-8");
        else
          self->answer(http::status::service_unavailable, text.error().message + "\n");
      });
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
    stream_.expires_after(kIdleTimeout);
    http::async_write(stream_, *response_,
                      [self = shared_from_this()](beast::error_code error, std::size_t) {
                        if (!error && self->response_->keep_alive()) self->read();
                      });
  }

  std::shared_ptr<Shared> shared_;
  beast::tcp_stream stream_;
  beast::flat_buffer buffer_{16 * 1024};
  std::optional<http::request_parser<http::string_body>> parser_;
  std::optional<http::response<http::string_body>> response_;
};

void HttpServer::Shared::accept() {
  acceptor.async_accept(
      [self = shared_from_this()](boost::system::error_code error, tcp::socket socket) {
        if (error == asio::error::operation_aborted) return;
        if (!error) std::make_shared<Connection>(self, std::move(socket))->read();
        self->accept();
      });
}

Answer<std::unique_ptr<HttpServer>> HttpServer::listen(asio::io_context& io, MetricsSource metrics,
                                                       const std::string& host,
                                                       std::uint16_t port) {
  auto shared = std::make_shared<Shared>(io, std::move(metrics));
  boost::system::error_code error;
  tcp::resolver resolver(io);
  const auto found = resolver.resolve(host, std::to_string(port), tcp::resolver::passive, error);
  if (!error) {
    const tcp::endpoint endpoint = *found.begin();
    shared->acceptor.open(endpoint.protocol(), error);
    if (!error) shared->acceptor.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) shared->acceptor.bind(endpoint, error);
    if (!error) shared->acceptor.listen(asio::socket_base::max_listen_connections, error);
  }
  if (error) {
    return Failure{Error::kInvalidOption,
                   fmt::format("cannot serve HTTP on {}:{}: {}: choose another address with "
                               "--http, or turn HTTP off with --http off",
                               host, port, error.message())};
  }
  const bool v6 = host.find(':') != std::string::npos;
  shared->address = fmt::format("http://{}{}{}:{}", v6 ? "[" : "", host, v6 ? "]" : "",
                                shared->acceptor.local_endpoint().port());
  shared->accept();
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(shared)));
}

HttpServer::HttpServer(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}
HttpServer::~HttpServer() {
  boost::system::error_code ignored;
  shared_->acceptor.close(ignored);
}
const std::string& HttpServer::address() const { return shared_->address; }
void HttpServer::set_ready(bool ready, std::string why_not) {
  shared_->ready = ready;
  shared_->why_not_ready = std::move(why_not);
}

}  // namespace arenad::server
