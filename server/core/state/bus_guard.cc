#include "server/core/state/bus_guard.h"

#include <linux/magic.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <mutex>

#include "allocator/format/ids.h"

namespace arenad::server {
namespace {

constexpr int kPlaces = 3 * (kMaxArenaId + 64);  // deleted arenas are unmapped a little later

// `end` is 0 while a place is free, and kTaken while the place is being filled in. `end` is written
// last (release) and cleared first. Partner: the acquire load in the signal handler.
struct Place {
  std::atomic<std::uintptr_t> end{0};
  std::atomic<std::uintptr_t> begin{0};
  std::atomic<int> fd{-1};
  std::atomic<std::uint64_t> page{0};
  std::atomic<std::atomic<bool>*> damaged{nullptr};
};
constexpr std::uintptr_t kTaken = 1;

Place places[kPlaces];
struct sigaction before;

// Puts zero pages in place of those that the file of `place` has lost; the page at `address` is
// replaced in any case. Calls only what a signal handler may call.
bool replace(const Place& place, std::uintptr_t address, std::uintptr_t end) {
  const std::uintptr_t begin = place.begin.load(std::memory_order_relaxed);
  const std::uint64_t page = place.page.load(std::memory_order_relaxed);
  std::uintptr_t from = begin + (address - begin) / page * page, to = from + page;
  struct stat st;
  if (const int fd = place.fd.load(std::memory_order_relaxed); fd >= 0 && ::fstat(fd, &st) == 0) {
    const std::uintptr_t kept =
        begin + (static_cast<std::uint64_t>(st.st_size) + page - 1) / page * page;
    // The file was cut short: all of the rest is replaced, so that a million lost pages are one
    // mapping. Else this page alone has no memory.
    if (kept <= from) {
      from = kept;
      to = end;
    }
  }
  void* const p =
      // NOLINTNEXTLINE(performance-no-int-to-ptr): a fault's address
      ::mmap(reinterpret_cast<void*>(from), std::min(to, end) - from, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  return p != MAP_FAILED;
}

void on_sigbus(int, siginfo_t* info, void*) {
  const int kept_errno = errno;
  const auto address = reinterpret_cast<std::uintptr_t>(info->si_addr);
  // The address of a signal that a process sent means nothing.
  for (int i = 0; info->si_code > 0 && i < kPlaces; ++i) {
    Place& place = places[i];
    const std::uintptr_t end = place.end.load(std::memory_order_acquire);
    if (address >= end || address < place.begin.load(std::memory_order_relaxed)) continue;
    std::atomic<bool>* const damaged = place.damaged.load(std::memory_order_relaxed);
    if (place.end.load(std::memory_order_acquire) != end)
      continue;  // somebody else's by now, and then not this mapping's
    damaged->store(true, std::memory_order_release);
    if (!replace(place, address, end)) break;
    errno = kept_errno;
    return;
  }
  // No guarded mapping: the touch is made again, and ends as it would have without this handler. A
  // signal that was sent is sent again.
  ::sigaction(SIGBUS, &before, nullptr);
  if (info->si_code <= 0) ::raise(SIGBUS);
  errno = kept_errno;
}

void install() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action {};
    action.sa_sigaction = on_sigbus;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    ::sigemptyset(&action.sa_mask);
    ::sigaction(SIGBUS, &action, &before);
  });
}

// The page size of a mapped file. On hugetlbfs a page is 2 MiB, and is replaced only as a whole.
std::uint64_t page_of(int fd) {
  struct statfs fs;
  if (fd >= 0 && ::fstatfs(fd, &fs) == 0 && fs.f_type == HUGETLBFS_MAGIC)
    return static_cast<std::uint64_t>(fs.f_bsize);
  return static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace

BusGuard::BusGuard(const void* base, std::uint64_t bytes, int fd, std::atomic<bool>& damaged) {
  install();
  for (int i = 0; i < kPlaces; ++i) {
    std::uintptr_t free = 0;
    if (!places[i].end.compare_exchange_strong(free, kTaken, std::memory_order_acq_rel)) continue;
    places[i].begin.store(reinterpret_cast<std::uintptr_t>(base), std::memory_order_relaxed);
    places[i].fd.store(fd, std::memory_order_relaxed);
    places[i].page.store(page_of(fd), std::memory_order_relaxed);
    places[i].damaged.store(&damaged, std::memory_order_relaxed);
    places[i].end.store(reinterpret_cast<std::uintptr_t>(base) + bytes, std::memory_order_release);
    place_ = i;
    return;
  }
}

BusGuard::~BusGuard() {
  if (place_ >= 0) places[place_].end.store(0, std::memory_order_release);
}

}  // namespace arenad::server
