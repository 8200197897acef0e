// TurnEnd: work that waits until a shard has looked at all events that were ready.
//
// Purpose: streams put their writes off to the end of the turn, so that answers to requests that
// arrived together leave
//   in one system call.
// Invariants: a task is on the list at most once; it may leave the list at any time before it runs.
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
  // Before a task is destroyed.
  void remove(Task& task) {
    if (!std::exchange(task.listed_, false)) return;
    for (Task*& t : tasks_)
      if (t == &task) t = nullptr;
  }
  // True when there was anything to do.
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
