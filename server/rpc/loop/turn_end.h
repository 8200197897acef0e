// TurnEnd: work that waits until a shard has handled all events that were ready.
//
// Purpose: streams delay their writes to the end of the turn. So the answers to requests that
// arrived together leave in one system call.
// Invariants: a task is on the list at most once. A task may leave the list before it runs.
// Threads: the shard's own. Crash: nothing is shared.
#pragma once

#include <utility>
#include <vector>

namespace arenad::server {

class TurnEnd {
 public:
  class Task {
   public:
    virtual void turn_ends() = 0;

   protected:
    ~Task() = default;

   private:
    friend class TurnEnd;
    bool listed_ = false;
  };

  void add(Task& task) {
    if (std::exchange(task.listed_, true)) return;
    tasks_.push_back(&task);
  }
  // A task calls this before it is destroyed.
  void remove(Task& task) {
    if (!std::exchange(task.listed_, false)) return;
    for (Task*& t : tasks_)
      if (t == &task) t = nullptr;
  }
  // Runs all tasks. True when there was one.
  bool run() {
    if (tasks_.empty()) return false;
    for (std::size_t i = 0; i < tasks_.size(); ++i) {  // by index: a task may add others
      Task* const task = tasks_[i];
      if (task == nullptr) continue;
      task->listed_ = false;
      task->turn_ends();
    }
    tasks_.clear();
    return true;
  }

 private:
  std::vector<Task*> tasks_;
};

}  // namespace arenad::server
