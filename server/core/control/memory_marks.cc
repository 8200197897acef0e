#include "server/core/control/memory_marks.h"

#include "server/core/state/attach_mark.h"

namespace arenad::server {

MemoryMarks memory_marks(ArenaRegistry& arenas, SessionId session,
                         const std::map<ArenaId, AttachMode>& attached) {
  MemoryMarks marks;
  for (const auto& [id, mode] : attached) {
    const ArenaRecord* const record = arenas.find(id);
    if (record == nullptr || mode < AttachMode::kReader) continue;
    marks.maps = true;
    marks.stands = has_attach_mark(record->state->arena->data_fd(), session);
    if (marks.stands) break;
  }
  return marks;
}

}  // namespace arenad::server
