#include "allocator/base/crash_point.h"

#if ARENAD_CRASH_POINTS

#include <signal.h>
#include <unistd.h>

#include <cstring>

namespace arenad::crash {
namespace {

Hits* shared = nullptr;
std::uint32_t my_role = 0;
std::uint32_t armed = kMaxPoints;
std::atomic<std::uint64_t> hits_left{0};
// Written before the process has a second thread, as `armed` is.
std::uint32_t held_at = kMaxPoints;
void (*hold)() = nullptr;
void (*at_each)() = nullptr;
Hits before_count_in;  // points that were passed, and got their number, before count_in

std::uint64_t hash_of(const char* name) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (; *name != 0; ++name) hash = (hash ^ static_cast<unsigned char>(*name)) * 0x100000001b3;
  return hash;
}

}  // namespace

void count_in(Hits* hits, std::uint32_t role) {
  shared = hits;
  my_role = role;
}

// A point's number follows from its name alone, so that every process finds the same one.
std::uint32_t index_of(const char* name) {
  Hits& table = shared != nullptr ? *shared : before_count_in;
  const std::uint64_t hash = hash_of(name);
  for (std::uint32_t i = hash % kMaxPoints;; i = (i + 1) % kMaxPoints) {
    std::uint64_t nobody = 0;
    if (table.points[i].name_hash.compare_exchange_strong(nobody, hash))
      std::strncpy(table.points[i].name, name, sizeof table.points[i].name - 1);
    else if (nobody != hash)
      continue;
    return i;
  }
}

void arm(const char* name, std::uint64_t nth) {
  hits_left = nth;
  armed = index_of(name);
}

void hold_at(const char* name, void (*hold_there)()) {
  hold = hold_there;
  held_at = index_of(name);
}

void call_at_each(void (*function)()) { at_each = function; }

void hit(std::uint32_t index) {
  if (at_each != nullptr) at_each();
  if (shared != nullptr)
    shared->points[index].by_role[my_role].fetch_add(1, std::memory_order_relaxed);
  if (index == held_at) hold();
  if (index != armed || hits_left.fetch_sub(1, std::memory_order_relaxed) != 1) return;
  ::kill(::getpid(), SIGKILL);
}

}  // namespace arenad::crash

#endif
