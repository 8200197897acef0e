// Engine: the whole daemon but gRPC. It owns the shards and the control plane.
//
// Purpose: one object to start and to stop. The threads of the shards belong to the caller (the
// gRPC loops, or a test's loops). Each thread calls run_inbox, end_turn and tick of its shard.
// Invariants: the order of life is: start(); set_waker() for each shard; the loops run;
// begin_drain() when the daemon is asked to end; stop() while the loops still run, because the
// control thread waits for their last answers; the loops end; the wakers end; the engine ends.
// Threads: start, set_waker, stop and destruction by one thread. begin_drain, shard and control by
// any thread.
// Crash: memfd arenas vanish with the daemon. The next daemon finds those of a state directory. The
// socket file stays, and the next daemon replaces it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/core/api/api.h"
#include "server/core/api/limits.h"
#include "server/core/api/log.h"
#include "server/core/shard/shared_state.h"

namespace arenad::server {

class Control;
class Shard;
class StateDirectory;

struct EngineOptions {
  std::uint32_t shards = 1;
  std::string directory;        // of the sockets; made with mode 0755 when there is none
  std::string state_directory;  // of arenas that outlive the daemon; empty: arenas are memfds
  std::string data_directory;   // of the arenas' payload, when that lies elsewhere (hugetlbfs)
  std::string host_root;        // in front of /proc and /sys/fs/cgroup; empty but in tests
  // Nodes with memory that this process may use. Empty: not known, the kernel judges requests.
  std::vector<unsigned> numa_nodes;
  Limits limits;
  bool root_is_admin = true;  // root in the daemon's user namespace is an administrator
  std::vector<std::pair<std::string, std::string>> tunables;  // by the names of GetTunables
  // Gets what an operator should know, one line at a time, on the control or the maintenance
  // thread. May be empty.
  Log log;
  // Runs once, on the control thread, when files of the state directory were removed under the
  // daemon. The daemon serves on. May be empty.
  std::function<void()> on_state_lost;
};

class Engine {
 public:
  // With a state directory, arenas, sessions and blocks of a former daemon are served again when
  // this call returns, and what belonged to the dead is given back. Errors: kInvalidOption
  // (options, directories, another daemon there), kInternal (no random numbers), kMachineFull,
  // kModeUnavailable (the state of another version).
  static Answer<std::unique_ptr<Engine>> start(EngineOptions options);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  std::uint32_t shard_count() const { return static_cast<std::uint32_t>(shards_.size()); }
  ShardApi& shard(ShardId shard);
  ControlApi& control();
  // The waker must stay valid until stop() has returned, the shard's loop has ended, and nullptr
  // was set here.
  void set_waker(ShardId shard, Waker* waker);
  const ServerTunables& tunables() const {
    return shared_.tunables;
  }  // atomics: spin_us is the loop's
  // As they are in force: what 0 left to the engine has the value that it chose.
  const Limits& limits() const { return limits_; }
  const std::string& handoff_path() const { return handoff_path_; }
  std::uint64_t uptime_ms() const;

  // From here on there are no new sessions and arenas, and KeepAlive streams are told so. `drained`
  // runs once, on the control thread, when the last session has ended or drain_deadline_ms is over.
  // `drained` must not call stop(). Later calls do nothing.
  void begin_drain(std::function<void()> drained);
  // Fails what is parked, refuses every later call with kDraining, and ends the engine's own
  // threads. The shards' loops must still run. Idempotent.
  void stop();

 private:
  Engine(EngineOptions options, StateDirectory state);

  void take_memory_limit(const EngineOptions& options);

  SharedState shared_;
  Limits limits_;
  const std::string handoff_path_;
  std::vector<std::unique_ptr<Shard>> shards_;
  std::unique_ptr<Control> control_;
};

}  // namespace arenad::server
