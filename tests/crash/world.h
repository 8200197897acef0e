// The stage of a crash test: one arena in files, one daemon process, some peer processes, and a
// director that kills and judges.
//
// Purpose: what all processes of a run share (anonymous shared memory made before the forks), and
//   the messages between a peer and the daemon. The daemon has the lease calls of a real shard
//   (server/core/shard), attaches and detaches peers, ends sessions, and opens the arena again
//   after its own death. The peers have the real account of leases (client/lib/lease_account.h).
//   What gRPC puts in between is tested elsewhere.
// Order: each method of a peer has a socket pair of its own. The daemon serves the sockets in
//   random order, and lets messages lie. So calls of one method arrive in order, and calls of
//   different methods do not, as with gRPC.
// Invariants: the director never touches the arena itself; a run is over when the daemon said what
//   verify() found.
// Threads: one a process. Crash: that is the test.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <bitset>
#include <cstdint>
#include <string>
#include <vector>

#include "allocator/arena/arena.h"
#include "allocator/base/crash_point.h"

namespace arenad::crash {

inline constexpr std::uint32_t kPeers = 3;
inline constexpr std::uint64_t kCapacity = 64u << 20;
inline constexpr std::uint32_t kUnits = kCapacity >> 16;
inline constexpr std::uint16_t kFirstPeerHeapId = 256;  // server/core/api/limits.h
inline constexpr std::uint32_t kMaxHeaps = 320;
inline constexpr std::size_t kMailboxes = 192;

// Who counts what under which number.
enum Role : std::uint32_t { kDaemon = 0, kRecovery = 1, kPeer0 = 2, kDirector = 7 };
const char* role_name(std::uint32_t role);

// Refs on their way between peers, and how far everybody is.
struct Board {
  std::atomic<std::uint64_t> mail[kMailboxes];         // a ref, or 0
  std::atomic<std::uint64_t> shared_mail[kMailboxes];  // refs of shared blocks
  std::atomic<std::uint64_t> operations[kPeers];
  std::atomic<std::uint64_t> broken_stamps;  // a block that two held at once
  std::atomic<std::uint64_t> overtaken;      // calls that waited while a later call was served
  std::atomic<std::uint64_t> stale;          // calls of an epoch that was over
  std::atomic<std::uint64_t> resumes;        // that were answered in full
  std::atomic<std::uint64_t> detaches;       // that the daemon has made
  std::atomic<std::uint64_t> closes;         // sessions that their peers closed
  std::atomic<std::uint32_t> attachments[kPeers];  // the number of a peer's last attachment
  std::atomic<std::uint32_t>
      stop;  // 1: peers publish, and from then on only drain; 2: they end as they are
  std::atomic<std::uint32_t> published[kPeers];
  std::atomic<std::uint64_t> returning;    // of left_blocks
  std::atomic<std::uint64_t> mismatches;   // of the daemon's last verify
  std::atomic<std::uint64_t> left_blocks;  // held, shared or returning
  std::atomic<std::uint64_t> left_units;   // taken
  std::atomic<std::uint32_t> leased_slabs;
  char findings[2000];
  Hits hits;
};

// One message, either way.
struct Message {
  enum Kind : std::uint32_t {
    kLease,
    kReturn,
    kResume,
    kAttach,
    kDetach,
    kClose,
    kEndSession,
    kVerify,
    kTrim,
    kQuit,
    kAnswer,
    kRefused
  };
  std::uint32_t kind = 0;
  std::uint32_t sequence = 0;  // of the asker's process; the answer has it too
  std::uint16_t heap = 0;      // 0: none. (The peers' begin at kFirstPeerHeapId.)
  std::uint16_t session = 0;
  std::uint64_t epoch = 0;
  std::uint32_t number = 0;  // kAttach: of the peer's attachments
  std::uint32_t slab = 0;    // kResume: the part's first unit
  std::uint32_t end = 0;     // kResume: the part's end
  std::uint32_t error = 0;
  RunShape run;
  std::bitset<kUnits> runs;  // kResume: what the peer knows, by first unit
};

// The calls of a peer that may overtake each other.
enum Method : std::uint32_t {
  kLeaseSlabs,
  kReturnSlabs,
  kResumeLeases,
  kAttachArena,
  kDetachArena,
  kCloseSession,
  kMethods
};

// Socket pairs made once a run: [0] the asker's end, [1] the daemon's, which a new daemon inherits.
struct Wire {
  int asker = -1, daemon = -1;
};

struct Stage {
  ArenaFiles files;
  Board* board = nullptr;
  Wire peers[kPeers][kMethods];
  Wire director;
};

struct Arming {
  std::uint32_t role = kDirector;  // nobody
  std::string point;
  std::uint64_t nth = 0;
  // All peers' returns stand still between their steps, for the length of a resume.
  bool hold_returns = false;
};

inline constexpr std::uint16_t session_of(std::uint32_t peer) {
  return static_cast<std::uint16_t>(10 + peer);
}
inline constexpr std::uint32_t peer_of(std::uint16_t session) { return session - session_of(0); }
inline constexpr std::uint16_t heap_of(std::uint32_t peer) {
  return static_cast<std::uint16_t>(kFirstPeerHeapId + peer);
}

// The daemon's life; `dead`: sessions whose process died while there was no daemon. Never returns.
[[noreturn]] void run_daemon(const Stage& stage, bool again, const std::vector<std::uint16_t>& dead,
                             const Arming& arming, int data_fd_out);
// A peer's life: random operations until board.stop. Never returns.
[[noreturn]] void run_peer(const Stage& stage, std::uint32_t peer, std::uint32_t seed,
                           std::uint64_t operations, const Arming& arming);

// Answers within `timeout_ms`, asking again when the daemon was killed meanwhile; false when it did
// not. A call that was given up may be served later. One thread at a time for each socket.
bool ask(int socket, Message& message, int timeout_ms, int attempts);

}  // namespace arenad::crash
