#include "allocator/arena/arena_recovery.h"

#include "allocator/arena/reaper.h"
#include "allocator/base/crash_point.h"
#include "allocator/base/format.h"

namespace arenad {

Failure ArenaRecovery::run() {
  for (const auto step : {&ArenaRecovery::read_ledger, &ArenaRecovery::restore_superslabs,
                          &ArenaRecovery::commit_words})
    if (Failure wrong = (this->*step)(); wrong.error != Error::kNone) return wrong;
  Reaper(arena_).announce_leases();
  return {};
}

Failure ArenaRecovery::check_run(SlabIndex first, RunRecord run) const {
  const std::uint32_t units = run.units(), in_superslab = first.value % kUnitsPerSuperslab;
  const bool in_one_superslab = units <= kUnitsPerSuperslab - in_superslab;
  const bool whole_superslabs =
      run.kind() == SlabKind::kSpan && in_superslab == 0 && units % kUnitsPerSuperslab == 0;
  const bool fits = units != 0 && units <= arena_.unit_count() - first.value &&
                    (in_one_superslab || whole_superslabs);
  const RunShape shape = arena_.geometry().run_shape(run.kind(), run.cls(), units);
  if (!fits || shape.kind == SlabKind::kNone)
    return {Error::kInvalidOption, fmt::format("ledger {} is damaged: the run at unit {}",
                                               files_.ledger_path, first.value)};
  for (std::uint32_t i = first.value + 1; i < first.value + units; ++i)
    if (arena_.ledger().run({i}))
      return {Error::kInvalidOption,
              fmt::format("ledger {} is damaged: runs overlap at unit {}", files_.ledger_path, i)};
  return {};
}

Failure ArenaRecovery::read_ledger() {
  taken_.assign(arena_.superslab_count(), 0);
  for (std::uint32_t u = 0; u < arena_.unit_count();) {
    const RunRecord run = arena_.ledger().run({u});
    if (!run) {
      ++u;
      continue;
    }
    if (Failure wrong = check_run({u}, run); wrong.error != Error::kNone) return wrong;
    for (std::uint32_t i = u; i < u + run.units(); ++i)
      taken_[superslab_of({i}).value] |= unit_bit_of({i});
    u += run.units();
  }
  return {};
}

Failure ArenaRecovery::restore_superslabs() {
  // A pinned arena keeps its memory whether there is a run or not: somebody may have the pages.
  const auto keeps_memory = [this](std::uint32_t s) {
    return taken_[s] != 0 || arena_.options().pinned;
  };
  std::uint32_t kept = 0;
  for (std::uint32_t s = 0; s < arena_.superslab_count(); ++s) {
    if (keeps_memory(s)) {
      ++kept;
      continue;
    }
    // Free as a whole. The daemon may have died while it committed the superslab, so give the
    // memory back in any case.
    if (arena_.control().superslab({s}).committed.load(std::memory_order_relaxed) != 0) {
      CRASH_POINT("open.decommit");
      arena_.control().superslab({s}).committed.store(0, std::memory_order_relaxed);
    }
    committer_.give_back_superslab({s});
  }
  // Those that keep their memory have it already, unless a client has punched holes. To commit
  // again costs little.
  bool has_data = committer_.adopt_superslabs(kept) == Error::kNone;
  for (std::uint32_t s = 0; s < arena_.superslab_count(); ++s) {
    if (!keeps_memory(s)) continue;
    Error e = has_data ? committer_.back_superslab({s}) : committer_.restore_superslab({s});
    if (e != Error::kNone && has_data) {
      has_data = false;
      e = committer_.restore_superslab({s});
    }
    if (e != Error::kNone) return no_memory(files_.control_path);
    arena_.units().restore({s}, ~taken_[s]);
  }
  if (!has_data)
    arena_.quarantine(fmt::format(
        "its data file has holes, and there is no memory to fill them: {}", committer_.refusal()));
  return {};
}

Failure ArenaRecovery::no_memory(const std::string& path) const {
  return {Error::kMachineFull, fmt::format("memory of {}: {}; {}", path, committer_.refusal(),
                                           error_advice(Error::kMachineFull))};
}

Failure ArenaRecovery::commit_words() {
  Failure full;
  arena_.for_each_run([&](SlabIndex first, RunRecord) {
    if (committer_.commit_run(first, arena_.run_at(first).capacity) != Error::kNone)
      full = no_memory(files_.control_path);
  });
  return full;
}

}  // namespace arenad
