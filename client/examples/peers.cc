// Two processes that hand each other blocks at the speed of memory: a producer and a consumer, both
// peers of one arena.
//
//   arena-peers [DIR]    DIR is the daemon's socket directory; default $ARENAD_SOCKET, else
//   /run/arenad
//
// The producer allocates blocks, numbers them and sends their refs (64 bits each) through a pipe;
// the consumer takes each block over, looks at the number and frees it. Neither calls the daemon
// for a block: the program says how many calls there were. Exit 0 when every block arrived with its
// number and nothing is left in the arena.
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
using arenad::Ref;

constexpr std::string_view kArena = "peers-example";
constexpr std::uint64_t kBlocks = 1 << 20;
using Batch = std::array<Ref, 512>;  // 4 KiB: a pipe takes that whole

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
      ref = block.release();  // from here on it is the consumer's to free, or, until it takes it
                              // over, the session's
    }
    if (::write(pipe, refs.data(), sizeof refs) != sizeof refs) fail("the consumer is gone");
  }
  ::close(pipe);
  int status = 0;
  ::wait(&status);  // the consumer: a session's blocks go with it
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
      const Block block =
          must(arena.take(ref));  // ours now: the producer may die. Freed at the end of its scope
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
  const pid_t child =
      ::fork();  // before anything connects: gRPC and arenad's library do not live on in a child
  if (child < 0) fail("no process");
  const Client client = must(Client::connect(argc > 1 ? argv[1] : "", {.wait_ready_ms = 5000}));
  if (child == 0) {
    ::close(ends[1]);
    while (client.get_arena(kArena).ok() == false) ::usleep(1000);  // the producer makes it
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
  return audit.exact && audit.arenas.at(0).held == 0 && deleted.ok() ? 0 : 1;
}
