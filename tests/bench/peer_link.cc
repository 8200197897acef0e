#include "tests/bench/peer_link.h"

#include <utility>
#include <vector>

namespace arenad::bench {

PeerOptions parse_peer_options(int argc, char** argv) {
  PeerOptions options;
  std::vector<char*> rest{argv[0]};
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (name == "--socket-dir" && i + 1 < argc)
      options.socket_dir = argv[++i];
    else if (name == "--daemon-pid" && i + 1 < argc)
      options.daemon_pid = std::stoi(argv[++i]);
    else
      rest.push_back(argv[i]);
  }
  options.common = parse_options(static_cast<int>(rest.size()), rest.data());
  if (options.socket_dir.empty())
    throw std::invalid_argument("--socket-dir is needed: that of a running arenad");
  return options;
}

PeerLink::PeerLink(const PeerOptions& options, const std::string& arena,
                   std::uint64_t capacity_bytes)
    : client_(
          must(client::Client::connect(options.socket_dir, {.wait_ready_ms = 10'000}), "connect")) {
  if (const auto made = client_.create_arena(arena, {.capacity_bytes = capacity_bytes});
      !made.ok() && made.error().reason != Error::kArenaExists)
    throw std::runtime_error("create the arena: " + made.error().text());
  session_ = must(client::Session::open(client_, {.name = "bench"}), "open a session");
  arena_ = must(session_.attach(arena, client::AttachMode::kPeer), "attach as peer");
}

void PeerLink::close() {
  const auto given_back = must(session_.close(), "close the session");
  if (given_back.blocks != 0)
    throw std::runtime_error(std::to_string(given_back.blocks) + " blocks were left held");
}

}  // namespace arenad::bench
