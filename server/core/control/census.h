// Census: who holds what in an arena, counted from the block words on a thread of its own.
//
// Purpose: where peers work, blocks change hands without a call. So no counter says who holds what
// there, but the block words do. To read all words of a gigabyte takes tens of milliseconds.
// Neither a shard nor the control thread should spend that time.
// Invariants: a count begins after it was asked for. Requests that come during a count share the
// next one. Of control memory nothing is believed but the words, and, within the bounds of a run,
// how far the run was carved.
// Threads: start, stop and count by the owner of the control thread. `done` runs on the census
// thread.
// Crash: reads only.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "allocator/format/block_word.h"
#include "allocator/heap/class_usage.h"
#include "server/core/shard/shard_tables.h"
#include "server/core/shard/shared_state.h"

namespace arenad::server {

struct ArenaCensus {
  HeldShare held;  // held and shared blocks, each once
  // A shared block counts for each sharer, with label 0.
  std::map<Holder, HeldShare> by_holder;
  std::map<SessionId, HeldShare> leases;  // by session: runs, and bytes of them
  // Of all leased runs. A FREE block of them counts as `cached`: a peer has it.
  std::vector<ClassUsage> leased;

  HeldShare lease_sum() const;
  HeldShare held_by(SessionId session) const;
  HeldShare leased_by(SessionId session) const;
  std::map<SessionId, HeldShare> by_session() const;
};

ArenaCensus take_census(const Arena& arena);

// By arena id.
using CensusResult = std::map<ArenaId, std::shared_ptr<const ArenaCensus>>;

class Census {
 public:
  using Done = std::function<void(CensusResult)>;
  ~Census() { stop(); }
  void start();
  // Answers what is asked already, then ends. Idempotent.
  void stop();
  void count(std::vector<std::shared_ptr<ArenaState>> arenas, Done done);

 private:
  struct Request {
    std::vector<std::shared_ptr<ArenaState>> arenas;
    Done done;
  };
  void run();

  std::mutex mutex_;  // of the two below; taken by control and census thread only
  std::condition_variable asked_;
  std::vector<Request> requests_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace arenad::server
