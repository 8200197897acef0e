// PeerClient: a peer process (core_client) and its session, with leases that the test gets for it
// from the engine.
//
// Threads: one test thread. Crash: kill() is the peer's death.
#pragma once

#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "tests/core/client_process.h"
#include "tests/core/daemon.h"

namespace arenad::server {

// "a=1 b=2,3" -> {{"a", "1"}, {"b", "2,3"}}
inline std::map<std::string, std::string> fields_of(const std::string& line) {
  std::map<std::string, std::string> fields;
  std::istringstream words(line);
  for (std::string word; words >> word;)
    if (const auto at = word.find('='); at != std::string::npos)
      fields[word.substr(0, at)] = word.substr(at + 1);
  return fields;
}

template <class Number>
std::vector<Number> numbers_of(const std::string& list) {
  std::vector<Number> numbers;
  std::istringstream items(list);
  for (std::string item; std::getline(items, item, ',');)
    numbers.push_back(static_cast<Number>(std::stoull(item)));
  return numbers;
}

class PeerClient {
 public:
  PeerClient(Daemon& of, const std::string& arena, const std::string& name = "peer",
             std::uint64_t limit_bytes = 0, const Caller& owner = daemon_itself(),
             std::uint64_t reserve_bytes = 0)
      : daemon(of), process(of.engine().handoff_path()) {
    const auto opened = daemon.open(name, limit_bytes, owner, reserve_bytes);
    EXPECT_TRUE(opened.ok()) << opened.error().message;
    key = opened->key;
    const auto attached = daemon.attach(key, arena, AttachMode::kPeer);
    EXPECT_TRUE(attached.ok()) << attached.error().message;
    arena_id = attached->arena.id;
    EXPECT_EQ(fields_of(process.hand_off(attached->handoff_token))["fds"], "2");
    const auto opened_heap = daemon.open_heap(0, key, arena_id);
    EXPECT_TRUE(opened_heap.ok()) << opened_heap.error().message;
    heap = *opened_heap;
    EXPECT_EQ(process.command("peer attach " + std::to_string(key.id.value) + " " +
                              std::to_string(heap.value)),
              "attached");
  }

  LeaseArgs lease_args(std::uint64_t size, std::uint32_t count) const {
    LeaseArgs args;
    args.session = key;
    args.arena_id = arena_id;
    args.heap_id = heap;
    args.size_class = Geometry().class_of(size);
    args.count = count;
    return args;
  }
  // Leases so many slabs for blocks of `size` and gives them to the process.
  std::vector<SlabIndex> lease(std::uint64_t size, std::uint32_t count, std::uint32_t shard = 0) {
    std::vector<SlabIndex> slabs;
    while (slabs.size() < count) {
      const auto got = daemon.lease(
          shard, lease_args(size, std::min<std::uint32_t>(
                                      count - static_cast<std::uint32_t>(slabs.size()), 512)));
      EXPECT_TRUE(got.ok()) << got.error().message;
      if (!got.ok()) break;
      give(size, got->slabs);
      slabs.insert(slabs.end(), got->slabs.begin(), got->slabs.end());
    }
    return slabs;
  }
  void give(std::uint64_t size, const std::vector<SlabIndex>& slabs) {
    std::string line = "peer give " + std::to_string(Geometry().class_of(size).value);
    for (const SlabIndex slab : slabs) line += " " + std::to_string(slab.value);
    EXPECT_NE(process.command(line).find("stock="), std::string::npos);
  }
  // Refs of the first 64; all of `count` must succeed.
  std::vector<std::uint64_t> allocate(std::uint64_t size, std::uint64_t count) {
    auto fields = fields_of(
        process.command("peer allocate " + std::to_string(size) + " " + std::to_string(count)));
    EXPECT_EQ(fields["got"], std::to_string(count)) << fields["error"];
    return numbers_of<std::uint64_t>(fields["refs"]);
  }
  // "free", "acquire", "share", "release", "unpublished": "done=N" or "done=N error=NAME".
  std::string on(const std::string& verb, const std::vector<std::uint64_t>& refs) {
    std::string line = "peer " + verb;
    for (const std::uint64_t ref : refs) line += " " + std::to_string(ref);
    return process.command(line);
  }
  // Writes into the block words that `holder` has the blocks.
  void forge(SessionKey holder, const std::vector<std::uint64_t>& refs) {
    EXPECT_EQ(on("forge " + std::to_string(holder.id.value), refs), "forged");
  }
  // What the heap has no use for, given back to the daemon.
  Answer<ReturnedSlabs> trim(std::uint32_t shard = 0) {
    std::vector<SlabIndex> slabs;
    for (const auto slab :
         numbers_of<std::uint32_t>(fields_of(process.command("peer trim"))["slabs"]))
      slabs.push_back({slab});
    return daemon.give_back(shard, key, arena_id, slabs);
  }

  Daemon& daemon;
  ClientProcess process;
  SessionKey key;
  ArenaId arena_id;
  HeapId heap;
};

}  // namespace arenad::server
