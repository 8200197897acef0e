// TunableRegistry: reads and changes tunables by name, as GetTunables and SetTunables do.
//
// Purpose: the table in server/core/api/tunables.h says what there is; this class applies it. A
// change of several tunables is made whole or not at all.
// Invariants: the kill switch HAKMEM_TINY_P0_DISABLE wins over p0_enable, whoever sets p0_enable.
// Threads: get and set by the control thread, and by Engine::start before that thread runs. The
// values are atomics that others read.
// Crash: private memory of the daemon.
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
