// Event: what a shard's completion queue brings back.
//
// Purpose: every tag on a shard's queue is an Event*. Step makes an Event of a member function, for
// objects that have several operations under way at once.
// Invariants: an Event keeps its address until its completion has come.
// Threads: complete() runs on the thread of the queue. Crash: nothing is shared.
#pragma once

namespace arenad::server {

class Event {
 public:
  // `ok` as gRPC defines it for the operation.
  virtual void complete(bool ok) = 0;

 protected:
  ~Event() = default;
};

template <class Owner, void (Owner::*Member)(bool)>
class Step final : public Event {
 public:
  explicit Step(Owner& owner) : owner_(owner) {}
  Step(const Step&) = delete;
  Step& operator=(const Step&) = delete;
  void complete(bool ok) override { (owner_.*Member)(ok); }
  void* tag() { return static_cast<Event*>(this); }

 private:
  Owner& owner_;
};

}  // namespace arenad::server
