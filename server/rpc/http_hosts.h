// HttpHosts: which Host headers the HTTP server answers.
//
// Purpose: a web page can make a browser send requests to a name that the page's owner lets point
//   to 127.0.0.1 (DNS rebinding). The Host header then has that name. So the server answers only
//   localhost, the loopback addresses, the address to which the client has connected, the address
//   of the configuration, and the names of `http_host`.
// Invariants: ports are not compared. Letters of names are the same in both cases.
// Threads: constant. Crash: nothing is shared.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace arenad::server {

class HttpHosts {
 public:
  // Names and addresses without port and brackets, besides those of loopback.
  explicit HttpHosts(std::vector<std::string> names);

  // `host`: the header's text. `connected_to`: the connection's own end as a numeric address.
  bool allows(std::string_view host, std::string_view connected_to) const;

 private:
  std::vector<std::string> names_;
};

}  // namespace arenad::server
