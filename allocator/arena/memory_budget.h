// MemoryBudget: how much memory the arenas of one owner may have.
//
// Purpose: a Committer asks before it commits. So an arena can be refused memory before the machine
//   has none left. Without a budget only the kernel refuses.
// Invariants: each request() that is granted is followed by arrived() for the same bytes. Payload
//   counts from request() or adopt() until give_back(). Control memory is asked for, not counted.
// Threads: any, at once. Crash: private to the owner.
#pragma once

#include <cstdint>

#include "../base/error.h"
#include "../base/export.h"

namespace arenad {

class ARENAD_API MemoryBudget {
 public:
  enum class Use : std::uint8_t { kPayload, kControl };

  virtual ~MemoryBudget() = default;
  // Asks for memory in the file `fd`; -1: memory of this process. Errors: kMachineFull with the
  // limit that was hit and how much it leaves.
  virtual Failure request(Use use, std::uint64_t bytes, int fd) = 0;
  // The kernel was asked for these bytes, and it gave or refused them.
  virtual void arrived(std::uint64_t bytes) = 0;
  // The system has this payload of the file `fd` back, or it was granted and could not be
  // committed.
  virtual void give_back(std::uint64_t bytes, int fd) = 0;
  // Payload that an arena had before its owner opened it. It counts, whatever the limits are.
  virtual void adopt(std::uint64_t bytes) = 0;
};

}  // namespace arenad
