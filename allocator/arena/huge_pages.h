// HugePages: backs the data of an arena by huge pages of 2 MiB, where the kernel can.
//
// Purpose: fallocate takes small pages for a memfd, unless the whole system is set up for more. So
// each superslab gets one small page, and then the kernel is asked to make a huge page of the
// superslab (MADV_COLLAPSE, Linux 6.1). The commit after that finds nothing to do, or fills what is
// missing by small pages. So a superslab without a huge page is slower, and no error.
// Invariants: without the option `huge_pages` nothing is done and nothing is counted. What counts
// is what the kernel answered at the commit. The kernel may split a huge page later, when it swaps.
// Threads: any, at once. A range is committed and given back by one thread at a time.
// Crash: private memory. What a range has stays with the file; the owner gives back what it does
// not commit.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "../base/export.h"
#include "../base/zeroed_array.h"
#include "../format/memory_file.h"

namespace arenad {

// Which page of 4 KiB a superslab gets first, so that superslab i lies on the i-th node in turn.
// The kernel interleaves by page, and puts a huge page where the pages lie that it collapses.
constexpr std::uint64_t first_page_of(std::uint64_t superslab, std::uint64_t nodes) {
  constexpr std::uint64_t kPagesOfSuperslab = 512;
  const std::uint64_t step = (nodes - (kPagesOfSuperslab - 1) % nodes) % nodes;
  return superslab % nodes * step % nodes;
}

class ARENAD_API HugePages {
 public:
  // `data` outlives this object, and is mapped when `wanted`. `on_hugetlbfs`: all of its pages are
  // huge already.
  HugePages(const MemoryFile& data, bool wanted, bool on_hugetlbfs);
  HugePages(const HugePages&) = delete;
  HugePages& operator=(const HugePages&) = delete;

  // Before a commit of whole superslabs, which were granted by the budget.
  void make(std::uint64_t at, std::uint64_t bytes);
  // The range was given back to the system.
  void gone(std::uint64_t at, std::uint64_t bytes);
  // In superslabs that have a huge page.
  std::uint64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }
  // Why a superslab has no huge page, or will have none. Empty when none was refused yet.
  std::string refusal() const;

 private:
  bool begin(std::uint64_t at, std::uint64_t end) const;
  void set(std::uint64_t at, bool huge);

  const MemoryFile& data_;
  const bool wanted_;
  const bool on_hugetlbfs_;
  std::uint64_t nodes_ = 1;  // over which the data is interleaved
  // All relaxed: they are for those who ask, and no memory hangs on them.
  std::atomic<std::uint64_t> bytes_{0};
  std::atomic<int> last_errno_{0};
  ZeroedArray<std::atomic<std::uint8_t>> huge_;  // by superslab
};

}  // namespace arenad
