// Committer: backs an arena's files with memory before anything there is used.
//
// Purpose: everything that may be written later is committed first, so a full machine is an error
// here and never a SIGBUS. Data comes and goes by superslab. Control pages come when first needed
// and stay.
// Threads: any, at once; a range that two threads commit is committed. The owner only.
// Words: a fresh page of block words gets its first generation here, by a CAS from 0 for each word.
//   So it may come late or twice: a word that is in use is not 0, or it is a FREE word whose
//   generation has wrapped. Its owner reads it once more before it gives the block out, and nobody
//   else acts on a FREE word.
// Crash: a committed page stays committed. A superslab counts as committed when its header says so;
// recovery clears the header of a superslab that has no run.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "../base/error.h"
#include "../base/export.h"
#include "../format/control_layout.h"
#include "../format/ids.h"
#include "../format/memory_file.h"

namespace arenad {

class ARENAD_API Committer {
 public:
  // All of them outlive the committer. `first_word` is the FREE word that blocks begin with; not 0.
  Committer(const MemoryFile& data, const MemoryFile& control, const ControlView& view,
            std::uint32_t unit_count, std::uint64_t first_word);

  // Data and headers of `count` superslabs. Errors: kMachineFull, then nothing was committed.
  Error commit_superslabs(SuperslabIndex first, std::uint32_t count);
  // Gives a superslab's data back to the system. Nothing of the superslab is in use.
  void decommit_superslab(SuperslabIndex i);
  // The same for a superslab whose header says already that it has none.
  void give_back_superslab(SuperslabIndex i);
  // The control pages of a run of `capacity` blocks: its words, and returned bits that do not fit
  // into the header. Errors: kMachineFull.
  Error commit_run(SlabIndex first, std::uint32_t capacity);
  // A heap's entry and its pending words. When the machine is full, the first touch commits them.
  void commit_heap(HeapId id);
  // A session's entry and, when `live`, its footprint. Errors: kMachineFull when the entry has no
  // memory. When the footprint has none, the first touch commits it.
  Error commit_session(SessionId session, bool live);

 private:
  void begin_words(std::uint32_t group, std::uint32_t first_page, std::uint32_t end_page);

  const MemoryFile& data_;
  const MemoryFile& control_;
  const ControlView& view_;
  const std::uint64_t first_word_;  // FREE, of the first generation
  // Committed word pages by group of eight units. Only grows: its CAS pairs with the acquire load
  // that lets a heap use the pages.
  std::unique_ptr<std::atomic<std::uint8_t>[]> word_pages_;
};

}  // namespace arenad
