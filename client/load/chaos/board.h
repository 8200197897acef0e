// Board: the memory that the processes of a chaos run share: mailboxes, progress and findings.
//
// Purpose: the driver maps the board before it forks the peers. A Seat is a place for one peer at a
//   time. When the driver kills a peer, another peer takes the seat.
// Invariants: a seat's peer writes the seat's posts. Whoever takes a post empties it. The driver
//   empties the posts of a dead peer. Post::who is written while ref is 0 and stays as long as ref
//   stays. So a taker whose exchange of ref succeeds has read both values correctly.
// Threads: any process changes ref and the counts of findings. Only the seat's peer (one thread)
//   changes the rest of its seat. The driver reads.
// Crash: each word is valid alone. When a taker is killed, its holder has forgotten the block, and
//   the taker's or giver's session gives the block back.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

namespace arenad::load::chaos {

inline constexpr std::uint32_t kMaxSeats = 64;
inline constexpr std::uint32_t kPosts = 64;
inline constexpr std::uint32_t kFindings = 64;

struct Post {
  std::atomic<std::uint64_t> ref;  // 0: empty
  std::atomic<std::uint64_t> who;  // the name in the stamp, and kShared
  static constexpr std::uint64_t kShared = 1;
};

struct alignas(128) Seat {
  std::atomic<std::uint64_t> operations;  // of all peers that sat here
  std::atomic<std::uint32_t> attached;    // how many peers have attached
  std::atomic<std::uint32_t> session;     // of the one that sits here
  Post posts[kPosts];
};

struct Board {
  std::atomic<std::uint32_t> stop;
  std::atomic<std::uint32_t> daemon_dies;  // 1: a call may fail because of it
  std::atomic<std::uint64_t> doubled;      // blocks that showed another holder's stamp
  std::atomic<std::uint64_t>
      damaged;  // wrong payload that no stamp explains, or a refusal that no death explains
  std::atomic<std::uint32_t> finding_count;
  char findings[kFindings][256];  // texts of the first findings
  Seat seats[kMaxSeats];

  void found(std::atomic<std::uint64_t>& kind, const std::string& what);
};

// Maps a fresh Board for this process and its children. Throws LoadError.
Board& make_board();

}  // namespace arenad::load::chaos
