// Former: what a daemon that is gone has left in its state directory.
//
// Purpose: two arenas in files, as bytes that can be written again for each run: `pool`, in which
// sessions hold and share blocks and a peer has leases, and `other`, without leases.
// Threads: one. Crash: nothing is shared.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "allocator/arena/arena.h"
#include "server/core/state/state_directory.h"

namespace arenad::fuzz {

inline constexpr std::uint32_t kFormerHeaps = 64;
inline constexpr SessionId kLiving{1}, kDead{2}, kPeer{5};

// The bytes of a file, without the pages that are zero.
class FileImage {
 public:
  explicit FileImage(const std::string& path);
  void write(const std::string& path) const;  // as a new file

  std::uint64_t bytes() const { return bytes_; }
  // Where the pages begin, by a number below count().
  std::uint64_t page_at(std::size_t i) const { return pages_[i].first; }
  std::size_t count() const { return pages_.size(); }
  // Whether a mapping of such a file has the same in these pages.
  bool is_same(const std::byte* mapped) const;

 private:
  using Page = std::array<std::uint8_t, kPage>;
  std::uint64_t bytes_ = 0;
  std::vector<std::pair<std::uint64_t, Page>> pages_;
};

struct ArenaImage {
  explicit ArenaImage(const ArenaFiles& files)
      : ledger(files.ledger_path), control(files.control_path), data(files.data_path) {}
  void write(const ArenaFiles& files) const {
    ledger.write(files.ledger_path);
    control.write(files.control_path);
    data.write(files.data_path);
  }
  FileImage ledger, control, data;
};

server::StateDirectory open_directory(const std::string& path);

class Former {
 public:
  explicit Former(Layout layout);  // of pool
  const ArenaImage& pool() const { return *pool_; }
  const ArenaImage& other() const { return *other_; }

 private:
  std::unique_ptr<ArenaImage> pool_, other_;
};

}  // namespace arenad::fuzz
