// SlabChecks: what debug flag F compares at each allocation and each free of a heap.
//
// Purpose: finds a slab whose header in shared memory is not as the heap left it, and a heap whose
//   private state contradicts itself. A heap without F trusts both between two audits. Besides, a
//   heap with F works as one that serves others, so it knows of each block whether it is away.
// Threads: the heap's owner. Nobody else may write what is read here. Crash: reads only.
#pragma once

#include "../arena/arena_view.h"
#include "../arena/block_debug.h"
#include "../base/export.h"
#include "slab.h"

namespace arenad {

// What is wrong with a slab of heap `id`; null when nothing is.
ARENAD_API const char* slab_fault(const ArenaView& arena, HeapId id, const SlabState& slab);
// Whether nothing is wrong, or F is off. Otherwise reports the fault of the slab of `ref`, and
// quarantines the arena. `what` was done with the block: "freed".
bool slab_passes(ArenaView& arena, const BlockDebug& debug, HeapId id, const SlabState& slab,
                 Ref ref, const char* what);

}  // namespace arenad
