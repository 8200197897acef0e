#include "allocator/arena/peer_arena.h"

#include <sys/stat.h>
#include <unistd.h>

#include "allocator/arena/footprint.h"
#include "allocator/base/format.h"

namespace arenad {
namespace {

Failure unusable(std::string why) { return {Error::kInvalidOption, std::move(why)}; }

// Whether an arena can be like this. The header comes from shared memory.
bool possible(const ArenaConfig& c) {
  return c.id.value != 0 && c.id.value <= kMaxArenaId && c.capacity_bytes != 0 &&
         c.capacity_bytes <= kMaxArenaBytes && c.capacity_bytes % kSuperslabBytes == 0 &&
         c.max_heaps != 0 && c.max_heaps <= kMaxHeaps && c.layout.fits(c.debug);
}

}  // namespace

PeerArena::PeerArena(const ArenaConfig& config, MemoryFile data, MemoryFile control_memory,
                     SessionId session)
    : ArenaView(config, std::move(data), std::move(control_memory)) {
  set_footprint_marker({control().footprint(session), footprint_shift(unit_count())});
}

PeerArena::Made PeerArena::attach(int data_fd, int control_fd, SessionId session) {
  auto data = MemoryFile::hold(data_fd), control_memory = MemoryFile::hold(control_fd);
  struct stat st;
  ArenaHeader h{};
  if (session == kNoSession || ::fstat(control_fd, &st) != 0 ||
      ::pread(control_fd, &h, sizeof h, 0) != sizeof h || h.magic != kControlMagic)
    return unusable("the second descriptor is not an arena's control file");
  if (h.version != kLayoutVersion)
    return unusable(
        fmt::format("the arena has layout version {}, this library knows {}: use daemon "
                    "and library of one version",
                    h.version, kLayoutVersion));
  ArenaConfig config;
  config.id = {static_cast<std::uint16_t>(h.arena_id)};
  config.capacity_bytes = h.capacity_bytes;
  config.layout = {h.header_bytes, h.trailer_bytes, h.stride_align};
  set_options(config, h.options);
  config.max_heaps = h.max_heaps;
  if (!possible(config) || !possible_options(h.options))
    return unusable("the control file's header is damaged");
  if (auto e = data.map_whole(config.capacity_bytes); e.error != Error::kNone) return e;
  if (auto e = control_memory.map_whole(
          ControlView::file_bytes(config.capacity_bytes, config.max_heaps));
      e.error != Error::kNone)
    return e;
  return std::unique_ptr<PeerArena>(
      new PeerArena(config, std::move(data), std::move(control_memory), session));
}

}  // namespace arenad
