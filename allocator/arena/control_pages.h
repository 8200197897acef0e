// ControlPages: which pages of the control file the owner has committed.
//
// Purpose: the control file is sparse. A peer can write to all of it, so it can give memory to
//   pages that nobody needs. The owner knows which pages it has committed, and gives the others
//   back.
// Invariants: a page is added before it is committed, and stays. What is not added holds nothing
//   that anybody needs: it reads as zeros before and after.
// Threads: any, at once. The mutex is held while bits change, and while at most kChunkPages pages
//   are given back. A page that is added meanwhile is committed after that.
// Crash: private memory of the owner. The next owner keeps every page that has memory.
#pragma once

#include <cstdint>
#include <mutex>

#include "../base/zeroed_array.h"
#include "../format/memory_file.h"

namespace arenad {

class ControlPages {
 public:
  // The file outlives this object. Its first page is committed.
  explicit ControlPages(const MemoryFile& control);

  // The pages of this range are about to be committed.
  void add(std::uint64_t at, std::uint64_t bytes);
  // Recovery: every page that has memory is kept.
  void add_all_present();
  // The memory of pages that were not added.
  std::uint64_t touched_bytes() const;
  void give_back_touched();

 private:
  static constexpr std::uint64_t kChunkPages = 256;

  bool has(std::uint64_t page) const { return (bits_[page / 64] >> (page % 64) & 1) != 0; }
  void add_page(std::uint64_t page);
  // Calls f(first page, end page) for each stretch of the file that has memory.
  template <class F>
  void for_each_present(F&& f) const;
  void give_back(std::uint64_t page, std::uint64_t end);

  const MemoryFile& control_;
  mutable std::mutex mutex_;         // of the two below
  ZeroedArray<std::uint64_t> bits_;  // by page
  std::uint64_t count_ = 0;
};

}  // namespace arenad
