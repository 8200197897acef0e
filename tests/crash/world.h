// The stage of a crash test: one arena in files, one daemon process, some peer processes, and a
// director that kills and judges.
//
// Purpose: what all processes of a run share (anonymous shared memory made before the forks), and
//   the messages between a peer and the daemon. The daemon here is the allocator's owner side and
//   nothing else: grants, returns, ends sessions, opens the arena again after its own death. What
//   gRPC puts in between is tested elsewhere.
// Invariants: the director never touches the arena itself; a run is over when the daemon said what
//   verify() found.
// Threads: one a process. Crash: that is the test.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "allocator/arena/arena.h"
#include "allocator/base/crash_point.h"

namespace arenad::crash {

inline constexpr std::uint32_t kPeers = 3;
inline constexpr std::uint64_t kCapacity = 64u << 20;
inline constexpr std::uint16_t kFirstPeerHeapId = 32;
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
    kEndSession,
    kVerify,
    kTrim,
    kQuit,
    kAnswer,
    kRefused
  };
  std::uint32_t kind = 0;
  std::uint32_t sequence = 0;  // of the asker; the answer has it too
  std::uint16_t heap = 0;
  std::uint16_t session = 0;
  std::uint32_t slab = 0;
  std::uint32_t error = 0;
  RunShape run;
};

// Socket pairs made once a run: [0] the asker's end, [1] the daemon's, which a new daemon inherits.
struct Wire {
  int asker = -1, daemon = -1;
};

struct Stage {
  ArenaFiles files;
  Board* board = nullptr;
  Wire peers[kPeers];
  Wire director;
};

struct Arming {
  std::uint32_t role = kDirector;  // nobody
  std::string point;
  std::uint64_t nth = 0;
};

inline constexpr std::uint16_t session_of(std::uint32_t peer) {
  return static_cast<std::uint16_t>(10 + peer);
}
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
// not.
bool ask(int socket, Message& message, int timeout_ms, int attempts);

}  // namespace arenad::crash
