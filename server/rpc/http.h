// HttpServer: /healthz, /readyz and /metrics.
//
// Purpose: what probes and Prometheus ask. /healthz: 200 while the process answers. /readyz: 200
// while it takes new
//   sessions, else 503. /metrics: Prometheus text (metrics.h).
// Threads: everything on the io_context's one thread.
// Crash: nothing is shared.
#pragma once

#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <memory>
#include <string>

#include "server/core/api/api.h"

namespace arenad::server {

class HttpServer {
 public:
  // Listens on host:port (port 0: any). Errors: kInvalidOption.
  static Answer<std::unique_ptr<HttpServer>> listen(boost::asio::io_context& io,
                                                    ControlApi& control, const std::string& host,
                                                    std::uint16_t port);
  ~HttpServer();
  // Where it listens: http://host:port
  const std::string& address() const;
  void set_ready(bool ready);

 private:
  struct State;
  explicit HttpServer(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;  // connections hold on to it
};

}  // namespace arenad::server
