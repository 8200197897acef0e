#include "server/core/control/commit_threads.h"

#include <utility>

namespace arenad::server {

CommitThreads::Worker& CommitThreads::worker_of(const std::shared_ptr<ArenaState>& arena) {
  std::unique_ptr<Worker>& worker = workers_[arena.get()];
  if (worker == nullptr) {
    worker = std::make_unique<Worker>();
    worker->arena = arena;
    worker->thread = std::thread([this, w = worker.get()] { work(*w); });
  }
  return *worker;
}

void CommitThreads::run(const std::shared_ptr<ArenaState>& arena, Piece piece) {
  const std::lock_guard lock(mutex_);
  if (stopped_) return;
  Worker& worker = worker_of(arena);
  worker.pieces.push_back(std::move(piece));
  worker.changed.notify_one();
}

void CommitThreads::bury(std::shared_ptr<ArenaState> arena, Piece gone) {
  const std::lock_guard lock(mutex_);
  if (stopped_) return;
  Worker& worker = worker_of(arena);
  arena->arena->stop_commits();
  worker.last = true;
  worker.gone = std::move(gone);
  worker.changed.notify_one();
  arena.reset();  // under the mutex, so that the worker lets go later than this thread
}

void CommitThreads::work(Worker& self) {
  std::shared_ptr<ArenaState> arena;
  std::vector<std::unique_ptr<Worker>> ended_before;
  Piece gone;
  {
    std::unique_lock lock(mutex_);
    for (;;) {
      self.changed.wait(lock, [&] { return stopped_ || self.last || !self.pieces.empty(); });
      if (stopped_ || self.pieces.empty()) break;
      Piece piece = std::move(self.pieces.front());
      self.pieces.pop_front();
      lock.unlock();
      piece();
      piece = nullptr;  // what it holds goes here, not under the mutex
      lock.lock();
    }
    arena = std::move(self.arena);
    if (!stopped_) {
      ended_before.swap(over_);
      gone = std::move(self.gone);
      const auto place = workers_.find(arena.get());
      over_.push_back(std::move(place->second));
      workers_.erase(place);
    }
  }
  arena.reset();  // the last owner unmaps
  if (gone) gone();
  for (const auto& worker : ended_before) worker->thread.join();
}

void CommitThreads::stop() {
  std::map<const ArenaState*, std::unique_ptr<Worker>> workers;
  std::vector<std::unique_ptr<Worker>> over;
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    workers.swap(workers_);
    over.swap(over_);
    for (const auto& [state, worker] : workers) {
      if (worker->arena != nullptr) worker->arena->arena->stop_commits();
      worker->changed.notify_one();
    }
  }
  for (const auto& [state, worker] : workers) worker->thread.join();
  for (const auto& worker : over) worker->thread.join();
}

}  // namespace arenad::server
