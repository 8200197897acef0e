// Board: the memory that the processes of a chaos run share: mailboxes, progress and findings.
//
// Purpose: the driver maps the board before it forks the peers. A Seat is a place for one peer at a
//   time. When the driver kills a peer, another peer takes the seat. A peer that becomes another
//   program (exec) maps the board again by its descriptor.
// Invariants: a seat's peer writes the seat's posts. Whoever takes a post empties it. The driver
//   empties the posts of a dead peer. Post::who is written while ref is 0 and stays as long as ref
//   stays. So a taker whose exchange of ref succeeds has read both values correctly. The driver
//   gives a seat an order only when the seat has none. The seat's peer removes the order when the
//   order is done.
// Threads: any process changes ref and the counts of findings. Only the seat's peer (one thread)
//   changes the rest of its seat. The driver reads.
// Crash: each word is valid alone. When a taker is killed, its holder has forgotten the block, and
//   the taker's or giver's session gives the block back.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

namespace arenad::load::chaos {

inline constexpr std::uint32_t kMaxSeats = 64;
inline constexpr std::uint32_t kPosts = 64;
inline constexpr std::uint32_t kFindings = 64;

// The arena in which peers hand blocks to each other, and the one that is deleted under its users.
inline constexpr const char* kMainArena = "chaos";
inline constexpr const char* kSideArena = "chaos-side";
inline constexpr std::uint64_t kSideArenaBytes = 64 << 20;

struct Post {
  std::atomic<std::uint64_t> ref;  // 0: empty
  std::atomic<std::uint64_t> who;  // the name in the stamp, and kShared
  static constexpr std::uint64_t kShared = 1;
};

// What the driver asks of the peer in a seat.
enum class Order : std::uint32_t {
  kNone,
  kExec,      // become another program, which takes the seat
  kClose,     // close the session while the daemon is away, and open another one
  kRecreate,  // delete the side arena under its users, and create it again
};
inline constexpr std::size_t kOrders = 4;

struct alignas(128) Seat {
  std::atomic<std::uint64_t> operations;     // of all peers that sat here
  std::atomic<std::uint32_t> attached;       // how many peers have attached
  std::atomic<std::uint32_t> session;        // of the one that sits here
  std::atomic<std::uint32_t> order_life;     // kExec: the new program's PeerPlace::life
  std::atomic<Order> order;                  // release by the driver, pairs with the peer's acquire
  std::atomic<std::uint64_t> done[kOrders];  // orders of each kind, by all peers that sat here
  Post posts[kPosts];

  void empty_posts() {
    for (Post& post : posts) post.ref.store(0, std::memory_order_release);
  }
};

struct Board {
  // Written before the first fork:
  int fd;                        // of this memory, in the driver and all peers
  std::uint32_t peers;           // seats in use
  std::uint32_t goes_away;       // 1: the daemon is killed or stopped, so a call may fail
  std::uint32_t small_timeouts;  // 1: the daemon is stopped for longer than a peer's calls last
  char sockets[128];             // the daemon's socket directory

  std::atomic<std::uint32_t> stop;
  std::atomic<std::uint32_t> deletions;  // of the side arena, also those that have only begun
  std::atomic<std::uint64_t> doubled;    // blocks that showed another holder's stamp
  std::atomic<std::uint64_t>
      damaged;  // wrong payload that no stamp explains, or a refusal that no death explains
  std::atomic<std::uint32_t> finding_count;
  char findings[kFindings][256];  // texts of the first findings
  Seat seats[kMaxSeats];

  void found(std::atomic<std::uint64_t>& kind, const std::string& what);
};

// Maps a fresh Board for this process and its children. Throws LoadError.
Board& make_board();
// Maps the Board of `fd`, which this program has inherited. Throws LoadError.
Board& open_board(int fd);

}  // namespace arenad::load::chaos
