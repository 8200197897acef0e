// MemoryMarks: how many of a session's attachments map memory, and in how many of them the attach
// mark stands (attach_mark.h).
//
// Invariants: a mark that stands means that somebody has an arena's memory for the session, or may
//   still map it. None means that nobody has it.
// Threads: the control thread. Crash: reads only.
#pragma once

#include <cstdint>

#include "server/core/control/arena_registry.h"
#include "server/core/control/session_registry.h"

namespace arenad::server {

struct MemoryMarks {
  std::uint32_t mapped = 0;    // attachments as reader, writer or peer, to arenas that there are
  std::uint32_t standing = 0;  // those of them whose mark stands
  // Nobody has any of the memory, or can get it.
  bool all_gone() const { return mapped != 0 && standing == 0; }
};

MemoryMarks memory_marks(ArenaRegistry& arenas, SessionId session,
                         const std::map<ArenaId, AttachMode>& attached);

}  // namespace arenad::server
