#include "server/core/shard/arena_state.h"

#include <utility>

namespace arenad::server {

ArenaFileWatch::ArenaFileWatch(const Arena& arena)
    : control_(arena.control().base(), arena.control_bytes(), arena.control_fd(), lost_),
      ledger_(arena.ledger().base(), arena.ledger().bytes(), -1, lost_) {
  if (arena.data() != nullptr)
    data_.emplace(arena.data(), arena.capacity_bytes(), arena.data_fd(), lost_);
}

ArenaState::ArenaState(std::unique_ptr<Arena> a, bool in_files) : arena(std::move(a)) {
  if (in_files) files.emplace(*arena);
}

void ArenaState::check_files() {
  if (files && files->take_loss())
    arena->quarantine("one of its files was cut short or lost its memory while it was in use");
}

}  // namespace arenad::server
