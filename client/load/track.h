// Track: what one worker (a thread or a process) has done so far. Tracks: those of a workload, in
// memory that processes share.
//
// Invariants: no pointers; zeroed memory is the start. `failed` is stored last, with release, after
//   `failure` was written. It pairs with the runner's acquire load.
// Threads: a track has one writer, the worker. The runner reads at the same time.
// Crash: what a killed worker had counted stays readable.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "client/load/histogram.h"

namespace arenad::load {

inline constexpr std::uint32_t kMaxWorkers = 64;

struct alignas(128) Track {
  std::atomic<std::uint64_t> operations;  // blocks that were allocated and freed
  std::atomic<std::uint64_t> bad;         // blocks without their stamp
  std::atomic<std::uint64_t>
      left_held;                     // blocks that the worker's session still held when it closed
  std::atomic<std::uint64_t> calls;  // gRPC messages that the worker's client has sent so far
  std::atomic<std::uint32_t> ready;
  std::atomic<std::uint32_t> session;  // session id, 0 without one
  std::atomic<std::uint32_t> failed;
  char failure[512];
  Histogram latency;  // of a call or message, ns

  void add(std::uint64_t n) {
    operations.store(operations.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  void fail(const std::string& why);
  std::string failure_text() const {
    return failed.load(std::memory_order_acquire) != 0 ? failure : "";
  }
};

struct Shared {
  std::atomic<std::uint32_t> go;  // workers wait for it, so that all start together
  std::atomic<std::uint32_t> stop;
  Track tracks[kMaxWorkers];
};

// Makes a memfd with one Shared and maps it. Worker processes inherit `fd` (no CLOEXEC) and map it
// with `attach`.
class Tracks {
 public:
  Tracks();
  static Tracks attach(int fd);
  Tracks(Tracks&& o) noexcept;
  Tracks& operator=(Tracks&&) = delete;
  ~Tracks();
  int fd() const { return fd_; }
  Shared& operator*() const { return *shared_; }
  Shared* operator->() const { return shared_; }

 private:
  explicit Tracks(int fd);
  int fd_ = -1;
  Shared* shared_ = nullptr;
};

}  // namespace arenad::load
