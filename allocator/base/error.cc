#include "allocator/base/error.h"

#include <cstdio>
#include <cstdlib>
#include <iterator>

namespace arenad {
namespace {

struct Row {
  const char* name;
  int code;
  const char* advice;
};

// Canonical codes: 3 INVALID_ARGUMENT, 4 DEADLINE_EXCEEDED, 5 NOT_FOUND, 6 ALREADY_EXISTS, 7
// PERMISSION_DENIED, 8 RESOURCE_EXHAUSTED, 9 FAILED_PRECONDITION, 13 INTERNAL, 14 UNAVAILABLE, 16
// UNAUTHENTICATED.
constexpr Row kRows[] = {
    {"OK", 0, ""},
    {"INVALID_SIZE", 3, "ask for at least 1 byte and at most the arena's capacity"},
    {"INVALID_ALIGNMENT", 3,
     "use 0 or a power of two up to 4096 that the arena's layout allows (with debug flag Z or U: "
     "up to 16)"},
    {"INVALID_COUNT", 3, "split the call: at most 16384 blocks each, and at least one"},
    {"INVALID_NAME", 3, "use 1 to 64 characters of A-Z a-z 0-9 . _ -"},
    {"INVALID_CAPACITY", 3, "give a capacity of at least 1 byte and at most the daemon's limit"},
    {"INVALID_OPTION", 3, "see GetTunables (arenactl tune get) for names, units and ranges"},
    {"UNKNOWN_ARENA", 5, "create it first, or look its name up with ListArenas"},
    {"UNKNOWN_SESSION", 16,
     "open a session; one that has ended, with its process or its KeepAlive stream, stays ended"},
    {"ARENA_EXISTS", 6, "choose another name, or use the arena that is there"},
    {"ARENA_FULL", 8, "free blocks, ask for less, or wait with wait_ms"},
    {"MACHINE_FULL", 8,
     "no more memory can be committed: free memory on this host or in its cgroup, raise the limit "
     "that was hit, or make room in the tmpfs or hugetlbfs of the arena's directory"},
    {"QUOTA_SESSION", 8, "free some of what this session holds, or raise its limit"},
    {"QUOTA_DAEMON", 8, "close sessions or delete arenas, or raise the daemon's limit"},
    {"DOUBLE_FREE", 9, "drop the ref: the block is free already, or on its way back"},
    {"STALE_REF", 9, "drop the ref: its block was freed and its generation is over"},
    {"FOREIGN_REF", 3, "send refs only to the arena that they come from"},
    {"NOT_HOLDER", 7,
     "take the block over first (Acquire), have its holder share it (Share), or release your share "
     "of it (Release)"},
    {"NOT_ATTACHED", 9, "attach the session to the arena first (AttachArena)"},
    {"READ_ONLY", 7,
     "attach as writer, remote or peer to allocate and free, as peer to lease slabs"},
    {"BAD_TOKEN", 16,
     "get a new token from OpenSession or AttachArena: tokens work once and expire"},
    {"NOT_PERMITTED", 7, "ask its owner, or an administrator"},
    {"ARENA_BUSY", 9,
     "detach the sessions (DetachArena, ArenaHandle::detach in C++), close them, or delete with "
     "force"},
    {"QUARANTINED", 9,
     "the arena's control memory is inconsistent: free what you hold and use another arena"},
    {"DRAINING", 14, "the daemon is stopping: connect again when it is back"},
    {"WAIT_EXPIRED", 4, "no memory came free in time: wait longer, or ask for less"},
    {"MODE_UNAVAILABLE", 9, "attach as remote, reader, writer or peer"},
    {"INTERNAL", 13, "this is a bug in arenad: report the message"},
    {"SHARERS_FULL", 8,
     "40 sessions share blocks of this arena already: take blocks over instead, or end one of "
     "them"},
    {"FORKED", 9, "this process is a fork of the one that attached: open a session of its own"},
    {"STALE_EPOCH", 10, "resume the session's leases in this arena, then lease in the new epoch"},
    {"INVALID_TAG", 3, "use a tag of 0 to 16777215"},
    {"BLOCKS_HELD", 9, "free them, have others take them over, or give them up (give_up_blocks)"},
    {"EVICTED", 16,
     "open another session, and ask the administrator who ended this one: arenad's log has the "
     "uid"},
    {"QUOTA_USER", 8,
     "free blocks, close sessions, delete arenas, end waiting calls or read answers of this user, "
     "or raise the daemon's limit"},
};

const Row& row(Error e) {
  const auto i = static_cast<std::size_t>(e);
  return i < std::size(kRows) ? kRows[i] : kRows[static_cast<std::size_t>(Error::kInternal)];
}

}  // namespace

const char* error_name(Error e) { return row(e).name; }
int error_code(Error e) { return row(e).code; }
const char* error_advice(Error e) { return row(e).advice; }

void value_of_failed_result(Error error) noexcept {
  std::fprintf(stderr, "arenad: the program used the value of a failed Result: %s: %s\n",
               error_name(error), error_advice(error));
  std::abort();
}

void value_of_failed_result(const Failure& failure) noexcept {
  std::fprintf(stderr, "arenad: the program used the value of a failed Result: %s: %s\n",
               error_name(failure.error), failure.message.c_str());
  std::abort();
}

}  // namespace arenad
