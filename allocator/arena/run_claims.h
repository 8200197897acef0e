// RunClaims: runs that one thread claims and commits, so that a heap's thread need not.
//
// Purpose: to commit a large run takes seconds. A heap's thread that must not wait asks for a claim
//   (Arena::claim, on a thread that may wait), and tries again when the claim is there.
// Invariants: a claimed run belongs to nobody else. It is not counted as taken, so an audit sees
//   only runs that heaps have. Each claim is taken by a grant of the same size, or dropped.
// Threads: any, at once. The mutex is held for a few instructions. A grant takes it only while
//   there are claims.
// Crash: private memory. A claimed run is in no ledger, so recovery finds it free.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "../base/error.h"
#include "../base/export.h"
#include "../format/geometry.h"
#include "../format/ids.h"
#include "unit_map.h"

namespace arenad {

// Runs of one shape.
struct RunWish {
  RunShape shape;
  std::uint32_t count = 1;
};

class ARENAD_API RunClaims {
 public:
  struct Outcome {
    std::uint64_t ticket = 0;    // for drop()
    std::uint32_t runs = 0;      // how many were claimed
    Error error = Error::kNone;  // why not all: kArenaFull, kMachineFull
  };

  explicit RunClaims(UnitMap& units) : units_(units) {}

  // Claims and commits. Blocks as long as the kernel needs.
  Outcome claim(std::span<const RunWish> wishes);
  // A claimed run of that shape, which the caller has from here on. Usually there is none.
  std::optional<SlabIndex> take(const RunShape& shape);
  // Gives back the claims of that ticket that nobody took.
  void drop(std::uint64_t ticket);

 private:
  struct Claim {
    std::uint64_t ticket;
    SlabIndex first;
    std::uint32_t units;
    bool whole_superslabs;
  };

  UnitMap& units_;
  std::mutex mutex_;  // the two below
  std::vector<Claim> claims_;
  std::uint64_t last_ticket_ = 0;
  // Relaxed: who misses a claim that was just made asks for one, and drop() gives this one back.
  std::atomic<std::uint32_t> count_{0};
};

}  // namespace arenad
