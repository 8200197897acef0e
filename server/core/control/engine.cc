#include "server/core/control/engine.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include "allocator/base/format.h"
#include "allocator/base/unique_fd.h"
#include "server/core/api/random.h"
#include "server/core/api/text.h"
#include "server/core/control/control.h"
#include "server/core/control/tunable_registry.h"
#include "server/core/shard/shard.h"

namespace arenad::server {
namespace {

Failure check_options(const EngineOptions& options) {
  const auto bad = [](std::string message) {
    return Failure{Error::kInvalidOption, std::move(message)};
  };
  if (options.shards == 0 || options.shards > kMaxShards) {
    return bad(fmt::format("{} shards: give 1 to {}", options.shards, kMaxShards));
  }
  if (options.directory.empty()) return bad("no socket directory: give one");
  if (std::string wrong = check_limits(options.limits); !wrong.empty())
    return bad(std::move(wrong));
  if (::mkdir(options.directory.c_str(), 0755) != 0 && errno != EEXIST) {
    return bad(fmt::format("socket directory {}: {}: make it, or choose another", options.directory,
                           std::strerror(errno)));
  }
  return {};
}

}  // namespace

Engine::Engine(EngineOptions options, StateDirectory state)
    : shared_(options.limits.max_session_bytes, options.host_root),
      limits_(options.limits),
      handoff_path_(options.directory + "/handoff.sock") {
  shared_.root_is_admin = options.root_is_admin;
  shared_.numa_nodes = MachineNodes(options.numa_nodes);
  shared_.max_user_heaps = options.limits.max_user_heaps;
  shared_.max_user_sharers = options.limits.max_user_sharers;
  shared_.max_user_waiting_calls = options.limits.max_user_waiting_calls;
  for (std::uint32_t i = 0; i < options.shards; ++i) {
    const ShardId id{static_cast<std::uint16_t>(i)};
    shards_.push_back(std::make_unique<Shard>(id, options.shards, shared_));
  }
  control_ =
      std::make_unique<Control>(shards_, shared_, options.limits, handoff_path_, std::move(state),
                                std::move(options.log), std::move(options.on_state_lost));
  shared_.control = control_.get();
}

Engine::~Engine() { stop(); }

Answer<std::unique_ptr<Engine>> Engine::start(EngineOptions options) {
  if (Failure failure = check_options(options); failure.error != Error::kNone) return failure;
  if (!random_works())
    return refuse(Error::kInternal,
                  "getrandom does not work: is it forbidden by a seccomp filter?");
  const auto tunables = options.tunables;
  if (!options.log) options.log = [](LogLevel, const std::string&) {};
  StateDirectory state;
  if (!options.state_directory.empty()) {
    auto opened =
        StateDirectory::open(options.state_directory, options.data_directory, options.log);
    if (!opened.ok()) return opened.error();
    state = std::move(*opened);
  } else if (!options.data_directory.empty()) {
    return Failure{Error::kInvalidOption,
                   "a data directory needs a state directory: set state_dir, too, or neither"};
  }
  std::unique_ptr<Engine> engine(new Engine(options, std::move(state)));
  if (auto set = TunableRegistry(engine->shared_.tunables).set(tunables); !set.ok())
    return set.error();
  // After the recovery, so that what was there before counts and is not refused.
  if (auto started = engine->control_->start(); !started.ok()) return started.error();
  engine->take_memory_limit(options);
  return engine;
}

void Engine::take_memory_limit(const EngineOptions& options) {
  const std::string& where =
      options.data_directory.empty() ? options.state_directory : options.data_directory;
  const UniqueFd directory(
      where.empty() ? -1 : ::open(where.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const std::string said =
      shared_.memory.take_limit(options.limits.max_total_bytes, directory.get());
  limits_.max_total_bytes = shared_.memory.max_total_bytes();
  options.log(LogLevel::kInfo, said);
  if (const std::string more = shared_.memory.reserved_beyond_limit(); !more.empty())
    options.log(LogLevel::kWarning, more);
  if (limits_.max_user_bytes == 0) limits_.max_user_bytes = limits_.max_total_bytes / 2;
  shared_.account.set_user_limit(limits_.max_user_bytes);
}

ShardApi& Engine::shard(ShardId shard) { return *shards_[shard.value]; }
ControlApi& Engine::control() { return *control_; }
void Engine::set_waker(ShardId shard, Waker* waker) { shards_[shard.value]->set_waker(waker); }
std::uint64_t Engine::uptime_ms() const { return control_->uptime_ms(); }
void Engine::begin_drain(std::function<void()> drained) {
  control_->begin_drain(std::move(drained));
}
void Engine::stop() { control_->stop(); }

}  // namespace arenad::server
