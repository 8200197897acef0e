// HttpServer: /healthz, /readyz and /metrics.
//
// Purpose: answers probes and Prometheus. /healthz is 200 while the process answers. /readyz is 200
// while the daemon takes new sessions and has lost no file, else 503 with the reason. /metrics is
// the text that the source gives.
// Threads: all functions run on the io_context's one thread. The source may answer on any thread.
// Crash: nothing is shared.
#pragma once

#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "server/core/api/api.h"

namespace arenad::server {

class HttpServer {
 public:
  using MetricsSource = std::function<void(Done<std::string>)>;

  // Listens on host:port; port 0 takes any free port. Errors: kInvalidOption.
  static Answer<std::unique_ptr<HttpServer>> listen(boost::asio::io_context& io,
                                                    MetricsSource metrics, const std::string& host,
                                                    std::uint16_t port);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // Where the server listens: http://host:port
  const std::string& address() const;
  // `why_not` is the answer while the daemon is not ready.
  void set_ready(bool ready, std::string why_not);

 private:
  struct Shared;
  class Connection;
  explicit HttpServer(std::shared_ptr<Shared> shared);
  std::shared_ptr<Shared> shared_;  // connections keep it alive
};

}  // namespace arenad::server
