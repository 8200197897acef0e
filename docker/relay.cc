// arena-relay: passes blocks from one process to another. The two share nothing but the daemon's
// socket directory.
//
//   arena-relay produce [DIR] [MIB]   allocates and fills blocks, passes their refs on; ends when
//                                     the consumer has read all of them
//   arena-relay consume [DIR] [MIB]   takes blocks over, checks each word, frees; ends after MIB
//   arena-relay hold    [DIR] [MIB]   allocates that much, waits to be stopped or killed
//
// DIR is the socket directory (default /run/arenad). MIB is the amount in MiB (default 1024). The
// producer leaves a Unix socket for refs in DIR/clients. A ref is 64 bits, so any channel would do.
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <chrono>
#include <cstring>
#include <iostream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "arenad/arenad.h"

namespace {

using namespace arenad::client;
using arenad::Ref;

constexpr std::uint64_t kMiB = 1 << 20;
constexpr std::uint64_t kBlockBytes = 64 << 10;
constexpr std::uint32_t kBatch = 64;  // blocks whose refs go in one message
constexpr std::uint64_t kArenaBytes =
    64 * kMiB;  // far less than passes through, so the producer waits
constexpr std::uint32_t kPatienceMs = 60'000;  // the longest wait for a partner or for memory

using Batch = std::array<std::uint64_t, kBatch>;  // one message

struct Job {
  std::string directory = "/run/arenad";
  std::uint64_t bytes = 1024 * kMiB;
  std::uint64_t batches() const { return bytes / (kBlockBytes * kBatch); }
  std::string meeting_place() const { return directory + "/clients/relay.sock"; }
};

[[noreturn]] void fail(const std::string& what) {
  std::cerr << "arena-relay: " << what << std::endl;
  std::exit(1);
}

template <class T>
T must(Answer<T> answer, std::string_view what) {
  if (!answer) fail(std::string(what) + ": " + answer.error().text());
  return std::move(*answer);
}

// The word at `index` of block number `block`. All words of all blocks differ, so a wrong block is
// found.
std::uint64_t word_of(std::uint64_t block, std::uint64_t index) {
  std::uint64_t x = (block << 20 | index) * 0x9E3779B97F4A7C15u;
  return x ^ x >> 29;
}

// --- the channel for refs: one stream between producer and consumer

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) fail("path too long for a socket: " + path);
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

int accept_consumer(const std::string& path) {
  ::unlink(path.c_str());
  const int listener = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_un address = address_of(path);
  ::umask(0);  // the consumer is another user
  if (::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listener, 1) != 0)
    fail("cannot listen at " + path + ": " + std::strerror(errno));
  const timeval patience{kPatienceMs / 1000, 0};
  ::setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  const int stream = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
  if (stream < 0) fail("no consumer came: " + std::string(std::strerror(errno)));
  ::close(listener);
  ::unlink(path.c_str());
  return stream;
}

int find_producer(const std::string& path) {
  const int stream = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_un address = address_of(path);
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::milliseconds(kPatienceMs);
  while (::connect(stream, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    if (std::chrono::steady_clock::now() > give_up)
      fail("no producer at " + path + ": " + std::strerror(errno));
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return stream;
}

void send_all(int stream, const void* data, std::size_t bytes) {
  for (auto* p = static_cast<const char*>(data); bytes != 0;) {
    const ssize_t n = ::send(stream, p, bytes, MSG_NOSIGNAL);
    if (n <= 0) fail("the partner is gone: " + std::string(std::strerror(errno)));
    p += n;
    bytes -= static_cast<std::size_t>(n);
  }
}

void receive_all(int stream, void* data, std::size_t bytes) {
  for (auto* p = static_cast<char*>(data); bytes != 0;) {
    const ssize_t n = ::recv(stream, p, bytes, 0);
    if (n <= 0)
      fail("the partner is gone" +
           (n < 0 ? ": " + std::string(std::strerror(errno)) : std::string()));
    p += n;
    bytes -= static_cast<std::size_t>(n);
  }
}

// --- the three roles

struct Attached {
  Client client;
  Session session;
  ArenaHandle arena;
};

Attached attach(const Job& job, const char* session_name, const std::string& arena,
                std::uint64_t capacity_bytes) {
  Attached a;
  a.client = must(Client::connect(job.directory, {.wait_ready_ms = kPatienceMs}), "connect");
  ArenaOptions options;
  options.capacity_bytes = capacity_bytes;
  // The consumer is another user of another group, so the arena is open to everybody.
  options.set_access = true;
  options.access.mode = 0666;
  auto created = a.client.create_arena(arena, options);
  if (!created && created.error().reason != arenad::Error::kArenaExists)
    fail("create arena: " + created.error().text());
  a.session = must(Session::open(a.client, {.name = session_name}), "open session");
  a.arena = must(a.session.attach(arena, AttachMode::kWriter), "attach");
  return a;
}

void produce(const Job& job) {
  Attached a = attach(job, "producer", "relay", kArenaBytes);
  const int stream = accept_consumer(job.meeting_place());
  std::uint64_t block = 0;
  for (std::uint64_t batch = 0; batch < job.batches(); ++batch) {
    const auto blocks =
        must(a.arena.allocate_many(kBlockBytes, kBatch, {.wait_ms = kPatienceMs}), "allocate");
    Batch refs;
    for (std::uint32_t i = 0; i < kBatch; ++i, ++block) {
      auto* words =
          reinterpret_cast<std::uint64_t*>(a.arena.writable_data().data() + blocks[i].offset_bytes);
      for (std::uint64_t w = 0; w < kBlockBytes / 8; ++w) words[w] = word_of(block, w);
      refs[i] = blocks[i].ref.value;
    }
    send_all(stream, refs.data(), sizeof refs);
  }
  std::uint64_t consumed = 0;  // until then this session holds the blocks
  receive_all(stream, &consumed, sizeof consumed);
  if (consumed != block)
    fail("the consumer read " + std::to_string(consumed) + " blocks of " + std::to_string(block));
  must(a.session.close(), "close session");
  std::cout << "produced " << block << " blocks, " << block * kBlockBytes / kMiB << " MiB"
            << std::endl;
}

void consume(const Job& job) {
  Attached a = attach(job, "consumer", "relay", kArenaBytes);
  const int stream = find_producer(job.meeting_place());
  std::uint64_t block = 0;
  for (std::uint64_t batch = 0; batch < job.batches(); ++batch) {
    Batch numbers;
    receive_all(stream, numbers.data(), sizeof numbers);
    std::vector<Ref> refs;
    for (const std::uint64_t number : numbers) refs.push_back(Ref{number});
    // This session holds the blocks now. From here on the producer may die.
    if (const auto taken = must(a.arena.acquire(refs), "take over"); !taken.all())
      fail(taken.errors[0].status.text());
    for (const BlockInfo& info : must(a.arena.describe(refs), "describe")) {
      const auto* words =
          reinterpret_cast<const std::uint64_t*>(a.arena.data().data() + info.offset_bytes);
      for (std::uint64_t w = 0; w < kBlockBytes / 8; ++w)
        if (words[w] != word_of(block, w))
          fail("block " + std::to_string(block) + " has a wrong word at " + std::to_string(w));
      ++block;
    }
    if (const auto freed = must(a.arena.free(refs), "free"); !freed.all())
      fail(freed.errors[0].status.text());
  }
  must(a.session.close(), "close session");
  send_all(stream, &block, sizeof block);
  std::cout << "consumed " << block << " blocks, " << block * kBlockBytes / kMiB
            << " MiB, every word as written" << std::endl;
}

void hold(const Job& job) {
  Attached a = attach(job, "holder", "held", 1024 * kMiB);
  constexpr std::uint64_t kSmall = 4096;
  for (std::uint64_t left = job.bytes / kSmall; left != 0;) {
    const auto count = static_cast<std::uint32_t>(std::min<std::uint64_t>(left, kMaxBlocksPerCall));
    for (const AllocatedBlock& b : must(a.arena.allocate_many(kSmall, count), "allocate"))
      a.arena.writable_data()[b.offset_bytes] = std::byte{1};
    left -= count;
  }
  std::cout << "holding " << job.bytes / kMiB << " MiB" << std::endl;
  ::pause();
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view role = argc > 1 ? argv[1] : "";
  Job job;
  if (argc > 2) job.directory = argv[2];
  if (argc > 3) {
    const std::string_view mib = argv[3];
    if (std::from_chars(mib.data(), mib.data() + mib.size(), job.bytes).ptr !=
            mib.data() + mib.size() ||
        job.bytes == 0)
      fail("not a number of MiB: " + std::string(mib));
    job.bytes *= kMiB;
  }
  if (role == "produce")
    produce(job);
  else if (role == "consume")
    consume(job);
  else if (role == "hold")
    hold(job);
  else
    fail("say what to do: arena-relay produce|consume|hold [DIR] [MIB]");
}
