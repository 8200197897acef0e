// HostBudget: the memory that all arenas of the daemon may have together.
//
// Purpose: before an arena commits memory, looks at max_total_bytes, at what the machine and its
//   cgroups can still give, and at the file system of the arena's files. So a full machine is an
//   answer to the caller, with the limit that was hit, and never the kernel's OOM killer.
// Invariants: a part of each limit of the host stays free, for the daemon itself and for others: a
//   sixteenth, at most 256 MiB. Memory that was granted and has not arrived counts as used. Small
//   requests may rest on what was read up to 10 ms before, together up to a quarter of the room
//   that was there.
// Threads: any, at once; take_limit by one thread, before others come. The mutex is held while
//   files are read, some 50 us, at most once in 10 ms unless memory is short.
// Crash: private memory of the daemon. The next daemon counts what it finds.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "allocator/arena/memory_budget.h"
#include "server/core/host/host_memory.h"

namespace arenad::server {

class HostBudget final : public MemoryBudget {
 public:
  explicit HostBudget(const std::string& host_root = "") : host_(host_root) {}

  // Sets max_total_bytes; 0: a value of its own choice, 80 % of what the host can still give beside
  // what the arenas have already. `directory`: a file or directory where arenas lie, or -1. Says
  // what the value is and where it comes from.
  std::string take_limit(std::uint64_t max_total_bytes, int directory);
  // The limit that is in force; until take_limit there is none.
  std::uint64_t max_total_bytes() const { return most_.load(std::memory_order_relaxed); }
  // Payload that counts now.
  std::uint64_t total_bytes() const { return total_.load(std::memory_order_relaxed); }

  Failure request(Use use, std::uint64_t bytes, int fd) override;
  void arrived(std::uint64_t bytes) override;
  void give_back(std::uint64_t bytes) override;
  void adopt(std::uint64_t bytes) override;

 private:
  Failure ask_total(std::uint64_t bytes);
  Failure ask_host(std::uint64_t bytes);

  const HostMemory host_;
  // Relaxed, both: counts by themselves, no memory hangs on their order.
  std::atomic<std::uint64_t> most_{~std::uint64_t{0}};
  std::atomic<std::uint64_t> total_{0};  // payload
  std::mutex mutex_;                     // the four below
  std::string origin_;                   // of most_, for messages: " (80 % of ...)"
  std::uint64_t on_the_way_ = 0;         // granted, not yet arrived
  std::uint64_t credit_ = 0;             // what may be granted without reading again, until when
  std::uint64_t credit_until_ns_ = 0;
};

}  // namespace arenad::server
