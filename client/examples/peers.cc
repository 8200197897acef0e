// Two processes that hand blocks over at the speed of memory. Both are peers of one arena.
//
//   arena-peers [DIR]
//
// DIR is the daemon's socket directory. The default is $ARENAD_SOCKET, or /run/arenad.
// The producer allocates blocks, numbers them, and sends their refs (64 bits each) through a pipe.
// The consumer takes each block over, compares the number, and frees the block. Neither calls the
// daemon for a block; the program prints how many calls there were. Exit 0 when every block arrived
// with its number and nothing is left in the arena.
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <iostream>
#include <string>
#include <string_view>

#include "arenad/arenad.h"

namespace {

using namespace arenad::client;

constexpr std::string_view kArena = "peers-example";
constexpr std::uint64_t kBlocks = 1 << 20;
using Batch = std::array<Ref, 512>;  // 4 KiB: a pipe writes so much in one piece

[[noreturn]] void fail(const std::string& what) {
  std::cerr << "arena-peers: " << what << std::endl;
  std::_Exit(1);
}

template <class T>
T must(Answer<T> answer) {
  if (!answer) fail(answer.error().text());
  return std::move(*answer);
}

void produce(const Client& client, int pipe) {
  Session session = must(Session::open(client, {.name = "producer"}));
  const ArenaHandle arena = must(session.attach(kArena, AttachMode::kPeer));
  const std::uint64_t calls_before = client.calls_made();
  const auto begin = std::chrono::steady_clock::now();
  for (std::uint64_t n = 0; n < kBlocks;) {
    Batch refs;
    for (Ref& ref : refs) {
      Block block = must(arena.allocate(256));
      std::memcpy(block.data(), &n, sizeof n);
      ++n;
      // The consumer frees the block. Until the consumer takes it over, this session holds it.
      ref = block.release();
    }
    if (::write(pipe, refs.data(), sizeof refs) != sizeof refs) fail("the consumer is gone");
  }
  ::close(pipe);
  int status = 0;
  // Wait for the consumer: this session's blocks go with the session.
  if (::wait(&status) < 0) fail("no consumer to wait for");
  if (status != 0) fail("the consumer failed");
  const auto ns =
      std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - begin).count();
  std::cout << kBlocks << " blocks from process to process, " << ns / kBlocks << " ns each, "
            << client.calls_made() - calls_before << " calls of the producer" << std::endl;
}

void consume(const Client& client, int pipe) {
  Session session = must(Session::open(client, {.name = "consumer"}));
  const ArenaHandle arena = must(session.attach(kArena, AttachMode::kPeer));
  Batch refs;
  for (std::uint64_t n = 0; n < kBlocks;) {
    for (std::size_t have = 0; have < sizeof refs;) {
      const ssize_t got =
          ::read(pipe, reinterpret_cast<char*>(refs.data()) + have, sizeof refs - have);
      if (got <= 0) fail("the producer is gone");
      have += static_cast<std::size_t>(got);
    }
    for (const Ref ref : refs) {
      // From here on this session holds the block, and the producer may die. The Block frees it at
      // the end of the scope.
      const Block block = must(arena.take(ref));
      std::uint64_t number = 0;
      std::memcpy(&number, block.data(), sizeof number);
      if (number != n++) fail("block " + std::to_string(n - 1) + " says " + std::to_string(number));
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::array<int, 2> ends{};
  if (::pipe(ends.data()) != 0) fail("no pipe");
  // Fork before the first connect: the library and gRPC do not work in a child of a process that
  // has connected.
  const pid_t child = ::fork();
  if (child < 0) fail("no process");
  const Client client = must(Client::connect(argc > 1 ? argv[1] : "", {.wait_ready_ms = 5000}));
  if (child == 0) {
    ::close(ends[1]);
    // The producer creates the arena.
    for (Answer<ArenaInfo> arena = client.get_arena(kArena); !arena;
         arena = client.get_arena(kArena)) {
      if (arena.error().reason != Error::kUnknownArena) fail(arena.error().text());
      ::usleep(1000);
    }
    consume(client, ends[0]);
    return 0;
  }
  ::close(ends[0]);
  must(client.create_arena(kArena, {.capacity_bytes = 64 << 20}));
  produce(client, ends[1]);
  const AuditReport audit = must(Admin(client).audit(kArena));
  std::cout << "audit: " << (audit.exact ? "exact" : "NOT EXACT") << ", " << audit.arenas.at(0).held
            << " blocks held" << std::endl;
  const Status deleted = client.delete_arena(kArena);
  if (!deleted.ok()) fail(deleted.text());
  return audit.exact && audit.arenas.at(0).held == 0 ? 0 : 1;
}
