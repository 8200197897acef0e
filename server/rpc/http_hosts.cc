#include "server/rpc/http_hosts.h"

#include <algorithm>
#include <boost/asio/ip/address.hpp>
#include <cctype>

namespace arenad::server {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

// One form for each address: "0:0::1" is "::1". A name stays as it is, in small letters.
std::string one_form(std::string_view host) {
  boost::system::error_code no_address;
  const auto address = boost::asio::ip::make_address(std::string(host), no_address);
  return no_address ? lower(host) : address.to_string();
}

// The header without its port and brackets; empty when it has no such form.
std::string_view without_port(std::string_view host) {
  std::string_view port;
  if (host.starts_with('[')) {
    const std::size_t end = host.find(']');
    if (end == std::string_view::npos) return {};
    port = host.substr(end + 1);
    host = host.substr(1, end - 1);
  } else if (const std::size_t colon = host.find(':'); colon != std::string_view::npos) {
    port = host.substr(colon);
    host = host.substr(0, colon);
  }
  const bool good =
      port.empty() || (port.front() == ':' && port.find_first_not_of("0123456789", 1) == port.npos);
  return good ? host : std::string_view();
}

}  // namespace

HttpHosts::HttpHosts(std::vector<std::string> names) : names_(std::move(names)) {
  for (std::string& name : names_) name = one_form(name);
  names_.insert(names_.end(), {"localhost", "127.0.0.1", "::1"});
}

bool HttpHosts::allows(std::string_view host, std::string_view connected_to) const {
  const std::string_view bare = without_port(host);
  if (bare.empty()) return false;
  const std::string name = one_form(bare);
  return name == one_form(connected_to) ||
         std::find(names_.begin(), names_.end(), name) != names_.end();
}

}  // namespace arenad::server
