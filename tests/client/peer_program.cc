// A peer in a process of its own. It reads one command a line on stdin, and answers one line.
// See peer_process.h.
//
//   client_peer SOCKET_DIR ARENA
//
//   command            answer
//   allocate SIZE TEXT the ref of a block that holds the text
//   many SIZE COUNT    ok, when COUNT blocks were allocated
//   read REF           the text in the block
//   take REF...        ok, or the first error; the same for free, share and release
//   sum OFFSET         the sum of a vector<int, ArenaAllocator<int>> that lies at the offset
//   churn              ok; from then on a thread allocates and frees without end
//   gather REF...      none: frees the blocks, and dies (SIGKILL) before it publishes the frees
#include <signal.h>
#include <unistd.h>

#include <cstring>
#include <iostream>
#include <numeric>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "arenad/arenad.h"

using namespace arenad::client;

namespace {

std::string word(const Answer<BatchAnswer>& answer) {
  if (!answer) return answer.error().text();
  return answer->all() ? "ok" : answer->errors[0].status.text();
}

void churn(const ArenaHandle& arena) {
  std::vector<Block> blocks(100);
  for (std::uint32_t i = 0;; ++i)
    if (auto block = arena.allocate(8 + i % 5000)) blocks[i % blocks.size()] = std::move(*block);
}

std::string obey(const ArenaHandle& arena, std::istringstream& line) {
  std::string verb;
  line >> verb;
  if (verb == "allocate") {
    std::uint64_t size = 0;
    std::string text;
    line >> size >> text;
    auto block = arena.allocate(size, {.tag = 77});
    if (!block) return block.error().text();
    std::strcpy(reinterpret_cast<char*>(block->data()), text.c_str());
    return std::to_string(block->release().value);
  }
  if (verb == "many") {
    std::uint64_t size = 0, count = 0;
    line >> size >> count;
    for (std::uint64_t i = 0; i < count; ++i)
      if (const auto got = arena.try_allocate(size, 78); !got) return error_name(got.error());
    return "ok";
  }
  if (verb == "churn") {
    std::thread(churn, arena).detach();
    return "ok";
  }
  if (verb == "sum") {
    std::uint64_t offset = 0;
    line >> offset;
    const auto& values = *reinterpret_cast<const std::vector<int, ArenaAllocator<int>>*>(
        arena.data().data() + offset);
    return std::to_string(std::accumulate(values.begin(), values.end(), 0));
  }
  std::vector<Ref> refs;
  for (std::uint64_t value = 0; line >> value;) refs.push_back({value});
  if (verb == "read") {
    const auto infos = arena.describe(refs);
    return infos ? reinterpret_cast<const char*>(arena.bytes(infos->at(0)).data())
                 : infos.error().text();
  }
  if (verb == "take") return word(arena.acquire(refs, 79));
  if (verb == "free") return word(arena.free(refs));
  if (verb == "share") return word(arena.share(refs));
  if (verb == "release") return word(arena.release(refs));
  if (verb == "gather") {
    (void)arena.free(refs);
    ::kill(::getpid(), SIGKILL);
  }
  return "no such verb: " + verb;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const auto client = Client::connect(argv[1], {.wait_ready_ms = 10'000});
  auto session =
      client ? Session::open(*client, {.name = "peer-process"}) : Answer<Session>(client.error());
  const auto arena =
      session ? session->attach(argv[2], AttachMode::kPeer) : Answer<ArenaHandle>(session.error());
  std::cout << (arena ? "session " + std::to_string(session->id().value) : arena.error().text())
            << std::endl;
  for (std::string text; std::getline(std::cin, text);) {
    std::istringstream line(text);
    std::cout << obey(*arena, line) << std::endl;
  }
}
