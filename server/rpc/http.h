// HttpServer: /healthz, /readyz and /metrics.
//
// Purpose: answers probes and Prometheus. /healthz is 200 while the process answers. /readyz is 200
// while the daemon takes new sessions and has lost no file, else 503 with the reason. /metrics is
// the text that the source gives.
// Invariants:
// * There are at most `most_connections`. Another one takes the place of the connection that has
//   waited longest for its client.
// * A request that is not whole by its deadline ends its connection.
// * Over TCP a request is answered only for a host that http_hosts.h allows.
// * The source is asked once at a time. Requests that come meanwhile share the next text.
// Threads: all functions run on the io_context's one thread. The source may answer on any thread.
// Crash: nothing is shared.
#pragma once

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "server/core/api/api.h"
#include "server/rpc/connections/listener.h"

namespace arenad::server {

struct HttpOptions {
  std::string host;  // of TCP
  std::uint16_t port = 0;
  std::string path;  // of a Unix socket; empty: TCP
  Listener::Access access{0666, std::nullopt};
  std::vector<std::string> hosts;  // that a Host header may name, besides loopback and `host`
  std::size_t most_connections = 64;
  std::chrono::milliseconds request_deadline{10'000};
};

class HttpServer {
 public:
  using MetricsSource = std::function<void(Done<std::string>)>;

  // Port 0 takes any free port. A path at which another process listens, or that is no socket, is
  // refused. Errors: kInvalidOption.
  static Answer<std::unique_ptr<HttpServer>> listen(boost::asio::io_context& io,
                                                    MetricsSource metrics,
                                                    const HttpOptions& options);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // Where the server listens: http://host:port or unix:/path
  const std::string& address() const { return address_; }
  // `why_not` is the answer while the daemon is not ready.
  void set_ready(bool ready, std::string why_not);

 private:
  struct Shared;
  class Connection;
  HttpServer(std::shared_ptr<Shared> shared, std::unique_ptr<Listener> listener,
             std::string address);
  std::shared_ptr<Shared> shared_;  // connections keep it alive
  std::unique_ptr<Listener> listener_;
  std::string address_;
};

}  // namespace arenad::server
