// RemoteFrees: frees of other heaps' blocks, gathered and then published.
//
// Purpose: a remote free leaves a RETURNING word. The owner hears of the block by its returned bit.
// This class gathers such bits, up to 64 of one returned word, and sets them with one fetch_or.
// Invariants: each gathered bit stands for a block whose word this heap changed to RETURNING.
// Threads: the heap's owner. Crash: gathered bits are lost. The reaper finds the RETURNING words of
// the dead session and sets their bits.
#pragma once

#include <cstdint>
#include <vector>

#include "../base/export.h"
#include "../format/ids.h"
#include "gather.h"

namespace arenad {

class ArenaView;

class ARENAD_API RemoteFrees {
 public:
  explicit RemoteFrees(ArenaView& arena);

  // Adds a block whose word is RETURNING now. Publishes what is complete, and everything when much
  // has been gathered.
  void add(Slot slot) {
    const RemoteGather::Entry ready = gather_.add(slot);
    if (ready.bits != 0) publish_entry(ready);
    if (gather_.overdue()) [[unlikely]]
      publish();
  }
  // Publishes everything that is gathered.
  void publish();
  bool empty() const { return gather_.empty(); }
  // Blocks that were published to heap h, by h's id.
  const std::vector<std::uint64_t>& by_owner() const { return by_owner_; }

 private:
  void publish_entry(const RemoteGather::Entry& entry);

  ArenaView& arena_;
  RemoteGather gather_;
  std::vector<std::uint64_t> by_owner_;
};

}  // namespace arenad
