// What every test program of the package does with a daemon: threads allocate as peers, other
// threads take the blocks over, and nothing is left.
//
// Purpose: one piece of work for programs that link the client in different ways.
// Threads: starts its own and joins them.
#pragma once

#include <arenad/arenad.h>

#include <cstdint>
#include <cstring>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

// Returns 0 when every block arrived with its content.
inline int exchange_blocks(const std::string& directory, const std::string& arena_name) {
  using namespace arenad::client;
  constexpr std::uint64_t kBlocks = 1000;
  const auto fail = [](const Status& why) {
    std::cerr << why.text() << '\n';
    return 1;
  };

  auto client = Client::connect(directory);
  if (!client) return fail(client.error());
  ArenaOptions options;
  options.capacity_bytes = 64 << 20;
  const auto made = client->create_arena(arena_name, options);
  if (!made) return fail(made.error());
  auto giver = Session::open(*client, {.name = "giver"});
  if (!giver) return fail(giver.error());
  auto taker = Session::open(*client, {.name = "taker"});
  if (!taker) return fail(taker.error());
  auto giving = giver->attach(arena_name, AttachMode::kPeer);
  if (!giving) return fail(giving.error());
  auto taking = taker->attach(arena_name, AttachMode::kPeer);
  if (!taking) return fail(taking.error());

  int wrong = 0;
  std::vector<Ref> refs;
  std::thread give([&] {
    for (std::uint64_t n = 0; n < kBlocks; ++n) {
      auto block = giving->allocate(64 + n);
      if (!block) {
        wrong += fail(block.error());
        return;
      }
      std::memcpy(block->data(), &n, sizeof n);
      refs.push_back(block->release());
    }
  });
  give.join();
  std::thread take([&] {
    for (std::uint64_t n = 0; n < refs.size(); ++n) {
      auto block = taking->take(refs[n]);
      if (!block) {
        wrong += fail(block.error());
        return;
      }
      if (std::memcmp(block->data(), &n, sizeof n) != 0) ++wrong;
    }
  });
  take.join();
  if (wrong == 0) std::cout << refs.size() << " blocks went from thread to thread\n";
  return wrong == 0 && refs.size() == kBlocks ? 0 : 1;
}
