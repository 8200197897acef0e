// PeerArena: a peer's view of an arena that a daemon owns.
//
// Purpose: maps the two files that the daemon handed over. Heaps of the peer work in it on slabs
// that its session has leased. It has no unit map and no ledger: what a run is, it reads from the
// slab's header.
// Invariants: the session's footprint is marked before a word of a foreign slab is changed.
// Threads: as ArenaView. Crash: the daemon reaps the session, in the slabs of its footprint.
#pragma once

#include <memory>

#include "../base/export.h"
#include "arena_view.h"

namespace arenad {

class ARENAD_API PeerArena final : public ArenaView {
 public:
  using Made = Result<std::unique_ptr<PeerArena>, Failure>;
  // Maps both files read-write. The descriptors belong to this function from the call on; the view
  // closes them. `session` is the session whose footprint the view marks. Errors: kInvalidOption
  // when these are not an arena's files, or have another layout version; kMachineFull.
  static Made attach(int data_fd, int control_fd, SessionId session);

  bool committed(SuperslabIndex i) const override {
    // acquire: pairs with the release in Committer::commit_superslabs.
    return control().superslab(i).committed.load(std::memory_order_acquire) != 0;
  }
  SlabShape shape_of(SlabIndex first) const override {
    // acquire: pairs with the release in prepare_run.
    return {control().slab(first).shape.load(std::memory_order_acquire)};
  }

 private:
  PeerArena(const ArenaConfig& config, MemoryFile data, MemoryFile control, SessionId session);
};

}  // namespace arenad
