// Turn: the arenas in which a shard has worked since the end of its last turn.
//
// Purpose: frees of other heaps' blocks are gathered during a turn and published at its end, once
//   an arena. The same moment tells whether memory came back for somebody who waits.
// Invariants: an arena is in the list exactly when its in_turn is set.
// Threads: the shard's own. Crash: gathered frees are announced by the reaper.
#pragma once

#include <utility>
#include <vector>

#include "server/core/shard/shard_tables.h"

namespace arenad::server {

class Turn {
 public:
  void worked_in(ArenaSlot& slot) {
    if (slot.in_turn) return;
    slot.in_turn = true;
    slots_.push_back(&slot);
  }
  void freed_in(ArenaSlot& slot) {
    slot.freed = true;
    worked_in(slot);
  }
  // The arena is deleted.
  void forget(ArenaSlot& slot) { std::erase(slots_, &slot); }
  // Calls f(slot) for each arena in which the shard has worked in this turn. Only there its heaps
  // can have gathered frees.
  template <class F>
  void for_each(F&& f) const {
    for (ArenaSlot* slot : slots_) f(*slot);
  }

  // Publishes, then calls came_back(slot) for each arena in which blocks were freed.
  template <class F>
  void end(F&& came_back) {
    if (slots_.empty()) return;
    // A callback of came_back may work in arenas again: those stay for the next turn.
    std::vector<ArenaSlot*> ending;
    ending.swap(slots_);
    for (ArenaSlot* slot : ending) {
      slot->in_turn = false;
      if (slot->heap.has_unpublished()) slot->heap.publish();
      if (std::exchange(slot->freed, false)) came_back(*slot);
    }
    if (slots_.empty()) {  // keeps the vector's memory for the next turn
      ending.clear();
      slots_.swap(ending);
    }
  }

 private:
  std::vector<ArenaSlot*> slots_;
};

}  // namespace arenad::server
