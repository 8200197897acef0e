// CommitThreads: a thread for each arena, for what may block in the kernel.
//
// Purpose: memory is committed and given back under the lock of the file's inode. The kernel needs
//   half a second for a gigabyte, and a client that has the file can hold the lock for seconds. So
//   no shard, no control thread and no other arena waits for that.
// Invariants: the pieces of one arena run one after the other, in the order in which they came. An
//   arena without work has no thread, until its first piece.
// Threads: run and bury by any thread; stop by one. A piece must not call them for its own arena
//   after bury.
// Crash: private memory. What was being committed is in no ledger.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "server/core/shard/arena_state.h"

namespace arenad::server {

class CommitThreads {
 public:
  using Piece = std::function<void()>;

  CommitThreads() = default;
  ~CommitThreads() { stop(); }
  CommitThreads(const CommitThreads&) = delete;
  CommitThreads& operator=(const CommitThreads&) = delete;

  // After stop() a piece is dropped.
  void run(const std::shared_ptr<ArenaState>& arena, Piece piece);
  // The last piece: lets go of a deleted arena, because to unmap gigabytes takes a while. `gone`
  // runs afterwards on that thread, unless stop() came first.
  void bury(std::shared_ptr<ArenaState> arena, Piece gone);
  // Ends what runs, drops what waits, and joins. Idempotent.
  void stop();

 private:
  struct Worker {
    std::shared_ptr<ArenaState> arena;  // until the last piece
    std::deque<Piece> pieces;
    bool last = false;  // no piece comes after those that wait
    Piece gone;
    std::condition_variable changed;
    std::thread thread;
  };

  Worker& worker_of(const std::shared_ptr<ArenaState>& arena);
  void work(Worker& self);

  std::mutex mutex_;  // all of these
  std::map<const ArenaState*, std::unique_ptr<Worker>> workers_;
  // Their threads are ending. Each joins the ones before.
  std::vector<std::unique_ptr<Worker>> over_;
  bool stopped_ = false;
};

}  // namespace arenad::server
