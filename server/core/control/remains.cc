#include "server/core/control/remains.h"

#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <chrono>
#include <utility>

#include "allocator/base/format.h"
#include "server/core/state/file_users.h"

namespace arenad::server {
namespace {

// A look is a few system calls for each deleted arena that somebody has.
constexpr std::chrono::milliseconds kLookEvery{250};
// The log says that there are users after so many looks. Before that it may be a thread of the
// daemon that has not let go.
constexpr std::uint32_t kLooksBeforeTold = 4;

// What the file takes of the machine's memory.
std::uint64_t memory_of(const UniqueFd& fd) {
  struct statfs system {};
  struct stat status {};
  if (!fd || ::fstatfs(fd.get(), &system) != 0 || ::fstat(fd.get(), &status) != 0) return 0;
  if (system.f_type == HUGETLBFS_MAGIC) return 0;
  return static_cast<std::uint64_t>(status.st_blocks) * 512;
}

}  // namespace

void Remains::bury(std::uint32_t owner_uid, std::shared_ptr<ArenaState> arena) {
  const Arena& of = *arena->arena;
  auto kept = std::make_shared<Kept>(Kept{of.options().name, owner_uid, watch_users(of.data_fd()),
                                          watch_users(of.control_fd()), 0, 0});
  core_.commits.bury(std::move(arena), [this, kept] {
    core_.thread.post([this, kept] {
      kept_.push_back(std::move(*kept));
      look();
      if (!kept_.empty() && !std::exchange(looking_, true)) core_.thread.run(keep_looking());
    });
  });
}

Task<> Remains::keep_looking() {
  while (!kept_.empty()) {
    auto rested = core_.thread.sleep(kLookEvery);
    co_await rested;
    look();
  }
  looking_ = false;
}

void Remains::look() {
  kept_.remove_if([this](Kept& kept) { return !is_kept(kept); });
}

bool Remains::is_kept(Kept& kept) {
  for (UniqueFd* const file : {&kept.data, &kept.control})
    if (*file && !has_other_users(*file)) *file = UniqueFd();
  recount(kept);
  if (kept.data || kept.control) {
    if (kept.looks++ == 0) core_.arenas.remains_began(kept.owner_uid);
    if (kept.looks != kLooksBeforeTold) return true;
    core_.log(LogLevel::kInfo,
              fmt::format("arena '{}' was deleted, and clients have its memory still: {} count "
                          "until they unmap it",
                          kept.name, bytes_text(kept.counted_bytes)));
    return true;
  }
  if (kept.looks >= kLooksBeforeTold)
    core_.log(LogLevel::kInfo,
              fmt::format("the memory of the deleted arena '{}' is gone", kept.name));
  if (kept.looks != 0) core_.arenas.remains_ended(kept.owner_uid);
  return false;
}

void Remains::recount(Kept& kept) {
  const std::uint64_t bytes = memory_of(kept.data) + memory_of(kept.control);
  if (bytes > kept.counted_bytes) core_.shared.memory.adopt(bytes - kept.counted_bytes);
  if (bytes < kept.counted_bytes) core_.shared.memory.give_back(kept.counted_bytes - bytes, -1);
  kept.counted_bytes = bytes;
}

}  // namespace arenad::server
