// SlabSource: where a heap gets runs of 64 KiB units from, and gives them back to.
//
// Purpose: a heap of the daemon or of an embedder takes runs from the arena. A heap of a peer takes
// them from what its session has leased.
// Invariants: a run that take() returned belongs to the caller alone until give_back(). Its header
// names `heap`, its control memory is committed, nothing was carved, and no returned bit of an
// earlier life is left.
// Threads: any heap's thread, at once. take() may block where it must ask somebody else.
// Crash: the run stays with whoever it was granted to. Recovery finds it in the ledger.
#pragma once

#include <cstdint>

#include "../base/error.h"
#include "../format/geometry.h"
#include "../format/ids.h"

namespace arenad {

class SlabSource {
 public:
  virtual ~SlabSource() = default;
  // Errors: kArenaFull, kMachineFull, kQuarantined; in a peer kLeaseNeeded, in the daemon
  // kCommitNeeded.
  virtual Result<SlabIndex> take(HeapId heap, const RunShape& shape, SuperslabIndex hint) = 0;
  // Nothing of the run is out any more.
  virtual void give_back(HeapId heap, SlabIndex first, std::uint32_t units) = 0;
};

}  // namespace arenad
