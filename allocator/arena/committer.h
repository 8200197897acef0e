// Committer: backs an arena's files with memory before anything there is used.
//
// Purpose: everything that may be written later is committed first, so a full machine is an error
// here and never a SIGBUS. Data comes and goes by superslab. Control pages come when first needed
// and stay. The owner's MemoryBudget is asked before the kernel. It is not asked for data on
// hugetlbfs: that memory was set aside when the pool was made.
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
#include <mutex>
#include <string>

#include "../base/error.h"
#include "../base/export.h"
#include "../base/zeroed_array.h"
#include "../format/control_layout.h"
#include "../format/ids.h"
#include "../format/memory_file.h"
#include "control_pages.h"
#include "huge_pages.h"
#include "memory_budget.h"

namespace arenad {

class ARENAD_API Committer {
 public:
  // All of them outlive the committer. `first_word` is the FREE word that blocks begin with; not 0.
  // With `huge_pages` the data is mapped.
  Committer(const MemoryFile& data, const MemoryFile& control, const ControlView& view,
            std::uint32_t unit_count, std::uint64_t first_word, MemoryBudget* budget = nullptr,
            bool huge_pages = false);
  // The data that is committed counts for the budget until here.
  ~Committer();
  Committer(const Committer&) = delete;
  Committer& operator=(const Committer&) = delete;

  // Data and headers of `count` superslabs. Errors: kMachineFull, then nothing was committed.
  Error commit_superslabs(SuperslabIndex first, std::uint32_t count);
  // Gives a superslab's data back to the system. Nothing of the superslab is in use.
  void decommit_superslab(SuperslabIndex i);
  // Recovery: gives back what a superslab without a run may have.
  void give_back_superslab(SuperslabIndex i);
  // Recovery: `count` superslabs keep their memory. Counts them, and asks for the data that
  // they lack. They lack none unless a client punched holes. Errors: kMachineFull; they count all
  // the same.
  Error adopt_superslabs(std::uint32_t count);
  // Recovery, after adopt_superslabs: backs what it asked for. Errors: kMachineFull.
  Error back_superslab(SuperslabIndex i);
  // The same without the data. Errors: kMachineFull.
  Error restore_superslab(SuperslabIndex i);
  // The control pages of a run of `capacity` blocks: its words, and returned bits that do not fit
  // into the header. Errors: kMachineFull.
  Error commit_run(SlabIndex first, std::uint32_t capacity);
  // A heap's entry and its pending words. Errors: kMachineFull.
  Error commit_heap(HeapId id);
  // A session's entry and, when `live`, its footprint. Errors: kMachineFull.
  Error commit_session(SessionId session, bool live);
  // The memory that the data file has. 0 on hugetlbfs, whose pages may be larger than superslabs.
  std::uint64_t data_bytes() const;
  const HugePages& huge_pages() const { return huge_; }
  // The memory of control pages that were never committed, and what gives that back.
  std::uint64_t touched_control_bytes() const { return control_pages_.touched_bytes(); }
  void give_back_touched_control() { control_pages_.give_back_touched(); }
  // Recovery: control pages that have memory count as committed.
  void adopt_control() { control_pages_.add_all_present(); }
  // The memory of data that is not committed.
  void give_back_data(SuperslabIndex first, std::uint32_t count);
  // Locks the whole data file, which is mapped and committed, into memory. Errors: kMachineFull.
  Error lock_data();
  // Commits of data that are under way end soon, and later ones at once, with kMachineFull. So do
  // locks.
  void stop() { stopped_.store(true, std::memory_order_relaxed); }
  // Why the last commit failed: the limit that was hit, or the kernel's words. Empty before.
  std::string refusal() const;

 private:
  Error commit_data(std::uint64_t at, std::uint64_t bytes);
  Error back(std::uint64_t at, std::uint64_t bytes);  // with errno; some may be backed then
  void unback(std::uint64_t at, std::uint64_t bytes);
  Error commit_control(std::uint64_t at, std::uint64_t bytes);
  Error commit_headers(SuperslabIndex first, std::uint32_t count);
  void say_committed(SuperslabIndex first, std::uint32_t count);
  void no_longer_counts(std::uint64_t bytes);
  Error refused(std::string why);
  void begin_words(std::uint32_t group, std::uint32_t first_page, std::uint32_t end_page);

  const MemoryFile& data_;
  const MemoryFile& control_;
  const ControlView& view_;
  ControlPages control_pages_;
  const std::uint64_t first_word_;   // FREE, of the first generation
  MemoryBudget* const budget_;       // may be null
  MemoryBudget* const data_budget_;  // the same, or null for data on hugetlbfs
  HugePages huge_;
  std::atomic<bool> stopped_{false};  // relaxed: no memory hangs on it
  // Bytes of data that count for data_budget_. Relaxed: only the destructor reads it.
  std::atomic<std::uint64_t> counted_{0};
  mutable std::mutex refusal_mutex_;  // only a commit that failed takes it
  std::string refusal_;
  // Committed word pages by group of eight units. Only grows: its CAS pairs with the acquire load
  // that lets a heap use the pages.
  ZeroedArray<std::atomic<std::uint8_t>> word_pages_;
};

}  // namespace arenad
