// Payments: what the blocks of a heap cost whom, since the heap's owner last asked.
//
// Purpose: a heap that serves other processes knows privately of each block who pays for it
//   (AwayBlocks). When a block leaves the heap its stride is charged to the payer, and credited
//   when the block comes home. This class gathers these sums, so that the shared account is not
//   touched for each block.
// Invariants: a sum says what has changed since it was taken. The sum of all that was ever taken
//   for a payer is what is away for that payer now.
// Threads: the heap's owner. Crash: private; see SlabState.
#pragma once

#include <cstdint>
#include <map>

#include "../format/ids.h"

namespace arenad {

class SessionSet;

// Who pays for the blocks of an adopted run that stay out.
struct PaidBy {
  SessionId session;
  // Of these sessions, the one that the block word names pays. `session` pays when it names none.
  // For the return of a daemon, which has nothing but the words.
  const SessionSet* named_in_words = nullptr;
};

class Payments {
 public:
  // `bytes` more for the payer, or fewer when negative.
  void add(SessionId payer, std::int64_t bytes) {
    if (payer != payer_) [[unlikely]]
      turn_to(payer);
    bytes_ += bytes;
  }
  // Calls f(payer, bytes) for what was added since the last take.
  template <class F>
  void take(F&& f) {
    turn_to(payer_);
    for (const auto& [payer, bytes] : earlier_) f(payer, bytes);
    earlier_.clear();
  }

 private:
  void turn_to(SessionId payer) {
    if (bytes_ != 0) earlier_[payer_] += bytes_;
    bytes_ = 0;
    payer_ = payer;
  }

  SessionId payer_;  // of bytes_: neighbours in a call mostly have one payer
  std::int64_t bytes_ = 0;
  std::map<SessionId, std::int64_t> earlier_;
};

}  // namespace arenad
