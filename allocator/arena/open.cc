// Arena::open: finds an arena again that a daemon left behind.
//
// The ledger says which runs there are; whatever it does not name is free, and its memory goes back
// to the system unless its superslab has a run. Who adopts a run looks at its words; what living
// peers lease is theirs, but for the frees of the daemon that died: they may be RETURNING without a
// bit, so every block that is on its way to a peer is announced again.
#include <algorithm>
#include <cstddef>
#include <cstring>
#include <vector>

#include "allocator/arena/arena.h"
#include "allocator/base/crash_point.h"

namespace arenad {

Arena::Made Arena::open(const ArenaFiles& files, Ledger ledger, bool map_data) {
  const LedgerHeader& kept = ledger.header();
  ArenaConfig o;
  o.id = {static_cast<std::uint16_t>(kept.arena_id)};
  o.name.assign(kept.name, strnlen(kept.name, kMaxNameBytes));
  o.capacity_bytes = kept.capacity_bytes;
  o.layout = {kept.header_bytes, kept.canary_bytes, kept.stride_align};
  o.holder_only = kept.holder_only != 0;
  o.max_heaps = kept.max_heaps;
  o.map_data = map_data;
  const bool known_layout = o.layout == Layout::plain() || o.layout == Layout::canaried() ||
                            o.layout == Layout::headered();
  if (o.id.value == 0 || o.id.value > kMaxArenaId || !known_layout)
    return Failure{Error::kInvalidOption, "ledger " + files.ledger_path + " is damaged"};

  std::unique_ptr<Arena> arena(new Arena(o));
  auto control = MemoryFile::open(files.control_path,
                                  ControlView::file_bytes(o.capacity_bytes, o.max_heaps), true);
  if (!control) return control.error();
  auto data = MemoryFile::open(files.data_path, o.capacity_bytes, map_data);
  if (!data) return data.error();
  arena->control_ = std::move(*control);
  arena->data_ = std::move(*data);
  arena->ledger_ = std::move(ledger);
  arena->view_ = ControlView(arena->control_.base(), o.capacity_bytes, o.max_heaps);
  const ArenaHeader wanted{kControlMagic,         kLayoutVersion,        o.id.value,
                           o.capacity_bytes,      o.layout.header_bytes, o.layout.canary_bytes,
                           o.layout.stride_align, o.max_heaps,           o.holder_only ? 1u : 0u};
  if (std::memcmp(&arena->view_.header(), &wanted,
                  offsetof(ArenaHeader, holder_only) + sizeof wanted.holder_only) != 0)
    return Failure{Error::kInvalidOption,
                   "control file " + files.control_path + " does not begin as its ledger says"};

  std::vector<std::uint32_t> taken(arena->superslab_count());
  for (std::uint32_t u = 0; u < arena->unit_count();) {
    const RunRecord run = arena->ledger_.run({u});
    if (!run) {
      ++u;
      continue;
    }
    const bool span = run.kind() == SlabKind::kSpan;
    const std::uint32_t units = run.units(), in_superslab = u % kUnitsPerSuperslab;
    const bool fits = units != 0 && units <= arena->unit_count() - u &&
                      (units <= kUnitsPerSuperslab - in_superslab ||
                       (span && in_superslab == 0 && units % kUnitsPerSuperslab == 0));
    const bool known = span ? run.cls() == kSpanClass
                            : run.kind() == SlabKind::kSlab &&
                                  run.cls() < arena->geometry_.class_count() &&
                                  arena->geometry_.size_class(run.cls()).slab_units == units;
    if (!fits || !known)
      return Failure{
          Error::kInvalidOption,
          "ledger " + files.ledger_path + " is damaged: the run at unit " + std::to_string(u)};
    for (std::uint32_t i = u + 1; i < u + units; ++i)
      if (arena->ledger_.run({i}))
        return Failure{Error::kInvalidOption, "ledger " + files.ledger_path +
                                                  " is damaged: runs overlap at unit " +
                                                  std::to_string(i)};
    for (std::uint32_t i = u; i < u + units; ++i)
      taken[i / kUnitsPerSuperslab] |= std::uint32_t{1} << (i % kUnitsPerSuperslab);
    u += units;
  }
  arena->init_units();
  for (std::uint32_t s = 0; s < arena->superslab_count(); ++s) {
    if (taken[s] == 0) {
      // Free as a whole. Committed or not, or half committed when the daemon died: it starts
      // afresh.
      if (arena->view_.superslab({s}).committed.load(std::memory_order_relaxed) != 0) {
        CRASH_POINT("open.decommit");
        arena->view_.superslab({s}).committed.store(0, std::memory_order_relaxed);
      }
      arena->data_.give_back(s * kSuperslabBytes, kSuperslabBytes);
      continue;
    }
    // Backed already, but for a run that was granted in the daemon's last instant; again costs
    // little.
    if (const Error e = arena->commit_superslabs({s}, 1); e != Error::kNone)
      return Failure{e, "memory of " + files.data_path + "; " + error_advice(e)};
    arena->units_.restore({s}, ~taken[s]);
  }
  // A run that was only just granted may lack the pages of its words.
  Failure full;
  arena->for_each_run([&](SlabIndex first, RunRecord run) {
    const std::uint32_t capacity =
        run.kind() == SlabKind::kSpan ? 1 : arena->geometry_.size_class(run.cls()).capacity;
    if (const Error e = arena->commit_control(first, capacity); e != Error::kNone)
      full = {e, "memory of " + files.control_path + "; " + error_advice(e)};
  });
  if (full.error != Error::kNone) return full;
  arena->announce_leases();
  return arena;
}

}  // namespace arenad
