// Sharers: which session each of the 40 bits of a SHARED word stands for.
//
// Purpose: a session claims a bit before its first share. The reaper gives the bit back after it
// has cleared the bit in all words.
// Invariants: a session has one bit, or two when two of its threads claimed at once. Either bit
// stands for the session. A word never has both.
// Threads: any. Crash: a bit that a dead session claimed stays claimed until the session is reaped.
#pragma once

#include <atomic>
#include <cstdint>

#include "../base/export.h"
#include "../format/control_layout.h"
#include "../format/ids.h"

namespace arenad {

class ARENAD_API Sharers {
 public:
  explicit Sharers(SharerTable& table) : table_(table) {}

  // The bits that stand for `session`; 0 when it has none.
  std::uint64_t bits_of(SessionId session) const;
  // The same, after a bit was claimed if the session had none. 0 when all bits are taken.
  std::uint64_t claim(SessionId session);
  // Calls f(session) for each bit that stands for a session. Peers can forge them.
  template <class F>
  void for_each(F&& f) const {
    for (const auto& entry : table_.sessions)
      // acquire: pairs with the CAS in claim.
      if (const std::uint32_t session = entry.load(std::memory_order_acquire); session != 0)
        f(SessionId{static_cast<std::uint16_t>(session)});
  }
  // Gives the bits of `session` back. No word has them any more.
  void release(SessionId session);

 private:
  SharerTable& table_;
};

}  // namespace arenad
