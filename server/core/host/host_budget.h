// HostBudget: the memory that all arenas of the daemon may have together.
//
// Purpose: before an arena commits memory, looks at max_total_bytes, at what the machine and its
//   cgroups can still give, and at the file system of the arena's files. So a full machine is an
//   answer to the caller, with the limit that was hit, and never the kernel's OOM killer. Sets
//   memory aside for sessions that reserve some (reserves.h).
// Invariants: a part of each limit of the host stays free, for the daemon itself and for others: a
//   sixteenth, at most 256 MiB. Memory that was granted and has not arrived counts as used. Small
//   requests may rest on what was read up to 10 ms before, together up to a quarter of the room
//   that was there. What is set aside for a session counts as used for all others, in each of the
//   limits. A request says by the Asking of its thread for which session it is.
// Threads: any, at once; take_limit by one thread, before others come. One mutex is held while
//   files are read, some 50 us, at most once in 10 ms unless memory is short. The other one, of the
//   sum, is held for some instructions for each reserve.
// Crash: private memory of the daemon. The next daemon counts what it finds.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "allocator/arena/memory_budget.h"
#include "allocator/base/error.h"
#include "allocator/base/unique_fd.h"
#include "server/core/host/host_memory.h"
#include "server/core/host/reserves.h"

namespace arenad::server {

class HostBudget final : public MemoryBudget {
 public:
  // A call of a session that has a reserve, while memory is committed for it. What the call costs
  // lies within the reserve, so max_total_bytes does not refuse it.
  class Draw {
   public:
    Draw(HostBudget& budget, Reserves::Drawer drawer, std::uint64_t bytes, std::uint32_t times)
        : budget_(budget), drawer_(drawer), bytes_(bytes), times_(times) {}
    ~Draw();
    Draw(const Draw&) = delete;
    Draw& operator=(const Draw&) = delete;

    std::uint32_t times() const { return times_; }
    // Memory was committed, or was refused. The session is charged for it next.
    void commits_over();

   private:
    friend HostBudget;
    HostBudget& budget_;
    const Reserves::Drawer drawer_;
    const std::uint64_t bytes_;
    const std::uint32_t times_;
    std::uint64_t committed_ = 0;  // by the budget's mutex for the sum
  };

  // While it lives, the requests of this thread are for this session.
  class Asking {
   public:
    explicit Asking(SessionId session, Draw* draw = nullptr);
    ~Asking();
    Asking(const Asking&) = delete;
    Asking& operator=(const Asking&) = delete;

   private:
    friend HostBudget;
    const SessionId session_;
    Draw* const draw_;
    const Asking* const before_;
  };

  // `unused_reserve` says how many bytes of its reserve a session is not charged for.
  explicit HostBudget(
      const std::string& host_root = "", std::function<std::uint64_t(SessionId)> unused_reserve =
                                             [](SessionId) { return std::uint64_t{0}; })
      : host_(host_root), reserves_(std::move(unused_reserve)) {}

  // Sets max_total_bytes; 0: a value of its own choice, 80 % of what the host can still give beside
  // what the arenas have already. `directory`: a file or directory where arenas lie, or -1. Says
  // what the value is and where it comes from.
  std::string take_limit(std::uint64_t max_total_bytes, int directory);
  // The limit that is in force; until take_limit there is none.
  std::uint64_t max_total_bytes() const { return most_.load(std::memory_order_relaxed); }
  // Payload that counts now.
  std::uint64_t total_bytes() const { return total_.load(std::memory_order_relaxed); }

  // Sets memory aside for a session, until end_reserve. Errors: kMachineFull with the limit that
  // does not leave as much; then nothing is set aside.
  Failure begin_reserve(SessionId session, std::uint64_t bytes);
  // The same for a session of a former daemon. It is not refused.
  void begin_reserve_again(SessionId session, std::uint64_t bytes);
  void end_reserve(SessionId session);
  // Of all sessions, used or not.
  std::uint64_t reserved_bytes() const;
  // What is set aside now.
  std::uint64_t set_aside_bytes() const;
  // Says so when reserves of a former daemon do not fit below the limit. Else empty.
  std::string reserved_beyond_limit() const;
  // A call of the session costs `bytes`, or `bytes` for each of several parts of which one is
  // enough. Answers a draw for as many parts as its reserve has left, or null.
  std::shared_ptr<Draw> draw(SessionId session, std::uint64_t bytes, std::uint32_t parts = 1);

  Failure request(Use use, std::uint64_t bytes, int fd) override;
  void arrived(std::uint64_t bytes) override;
  void give_back(std::uint64_t bytes, int fd) override;
  void adopt(std::uint64_t bytes) override;

 private:
  Failure ask_total(std::uint64_t bytes, int fd);
  Failure ask_files(std::uint64_t bytes, int fd) const;
  Failure ask_host(std::uint64_t bytes);
  // What the host can give at most beside `set_aside`; less than `bytes` is refused.
  Result<std::uint64_t, Failure> room_for(std::uint64_t bytes, std::uint64_t set_aside) const;
  Failure total_exhausted(std::uint64_t set_aside, std::uint64_t wanted) const;
  // For whom this thread asks, and what is set aside for others then.
  static SessionId asker();
  std::uint64_t set_aside_for_others() const;
  void uncount(std::uint64_t bytes, int fd);

  const HostMemory host_;
  // Relaxed, both: counts by themselves, no memory hangs on their order.
  std::atomic<std::uint64_t> most_{~std::uint64_t{0}};
  std::atomic<std::uint64_t> total_{0};  // payload; changed by whoever has sum_mutex_
  UniqueFd directory_;                   // where arenas lie, or none
  std::string origin_;                   // of most_, for messages: " (80 % of ...)"
  mutable std::mutex sum_mutex_;         // reserves_; taken last
  Reserves reserves_;
  std::mutex mutex_;              // the four below
  std::uint64_t on_the_way_ = 0;  // granted, not yet arrived
  std::uint64_t credit_ = 0;      // what may be granted without reading again, until when
  std::uint64_t credit_until_ns_ = 0;
  std::uint64_t credit_set_aside_ = 0;  // what was set aside when it was read
};

}  // namespace arenad::server
