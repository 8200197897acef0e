#include "server/core/control/session_traces.h"

namespace arenad::server {
SessionSet sessions_named_in(const Arena& arena) {
  SessionSet named;
  for (std::uint32_t id = 1; id < kSessionIdsEnd; ++id) {
    const SessionId session{static_cast<std::uint16_t>(id)};
    if (arena.ledger().attach_mode(session) != 0) named.insert(session);
  }
  for (std::uint32_t heap = 0; heap < arena.ledger().max_heaps(); ++heap)
    named.insert(arena.ledger().heap_owner(HeapId{static_cast<std::uint16_t>(heap)}));
  for (const auto& entry : arena.control().sharers().sessions)
    if (const std::uint32_t id = entry.load(std::memory_order_acquire); id < kSessionIdsEnd)
      named.insert(SessionId{static_cast<std::uint16_t>(id)});
  return named;
}

}  // namespace arenad::server
