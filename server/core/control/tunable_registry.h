// TunableRegistry: the knobs by name, as GetTunables, SetTunables and the config know them.
//
// Purpose: names, defaults, ranges and texts of the server's and the allocator's tunables; changes
// them all or none. Invariants: the kill switch HAKMEM_TINY_P0_DISABLE wins over p0_enable, whoever
// sets it. Threads: get and set by the control thread (and by Engine::start before it); the values
// are atomics that others read. Crash: private.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "server/core/api/api.h"
#include "server/core/shard/shared_state.h"

namespace arenad::server {

class TunableRegistry {
 public:
  explicit TunableRegistry(ServerTunables& server) : server_(server) {}

  std::vector<TunableFacts> get() const;
  // Errors: kInvalidOption, and nothing was changed.
  Answer<Nothing> set(const std::vector<std::pair<std::string, std::string>>& values);

 private:
  ServerTunables& server_;
};

}  // namespace arenad::server
