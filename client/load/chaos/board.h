// Board: what the processes of a chaos run share: mailboxes, progress, and what was found.
//
// Purpose: shared memory, mapped before the peers are forked. A Seat is a place for one peer at a
// time: killed ones are replaced. Invariants: a seat's posts are written by its peer and emptied by
// whoever takes them, or by the driver when the peer is dead.
//   Post::who is written while ref is 0 and stays as long as ref does, so a taker whose exchange of
//   ref succeeds has read both right.
// Threads: ref and finding counts by anybody; the rest of a seat by its peer (one thread); the
// driver reads. Crash: every word stands alone; a post whose taker was killed is a block that its
// holder has forgotten and its session gives back.
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
  std::atomic<std::uint64_t> who;  // the stamp's, and kShared
  static constexpr std::uint64_t kShared = 1;
};

struct alignas(128) Seat {
  std::atomic<std::uint64_t> operations;  // of all peers that sat here
  std::atomic<std::uint32_t> attached;    // how many peers got as far as that
  std::atomic<std::uint32_t> session;     // of the one that sits here
  Post posts[kPosts];
};

struct Board {
  std::atomic<std::uint32_t> stop;
  std::atomic<std::uint32_t> daemon_dies;  // 1: calls may fail for that
  std::atomic<std::uint64_t> doubled;      // blocks that showed the stamp of another holder
  std::atomic<std::uint64_t>
      damaged;  // payload that nobody's stamp explains, refusals that no death explains
  std::atomic<std::uint32_t> finding_count;
  char findings[kFindings][256];  // the first ones, in words
  Seat seats[kMaxSeats];

  void found(std::atomic<std::uint64_t>& kind, const std::string& what);
};

// Maps a fresh Board for this process and those it forks, until they end. Throws LoadError.
Board& make_board();

}  // namespace arenad::load::chaos
