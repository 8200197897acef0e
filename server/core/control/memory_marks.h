// MemoryMarks: whether a session's attachments map memory, and whether the attach mark of one of
// them stands (attach_mark.h).
//
// Purpose: asked four times a second for each process that cannot be seen. One mark that stands is
// enough, so usually one attachment is looked at.
// Invariants: a mark that stands means that somebody has an arena's memory for the session, or may
//   still map it. None means that nobody has it.
// Threads: the control thread. Crash: reads only.
#pragma once

#include <map>

#include "server/core/control/arena_registry.h"
#include "server/core/control/session_registry.h"

namespace arenad::server {

struct MemoryMarks {
  bool maps = false;  // there is an attachment as reader, writer or peer to an arena that there is
  bool stands = false;  // the mark of one of those stands
  // Nobody has any of the memory, or can get it.
  bool all_gone() const { return maps && !stands; }
};

MemoryMarks memory_marks(ArenaRegistry& arenas, SessionId session,
                         const std::map<ArenaId, AttachMode>& attached);

}  // namespace arenad::server
