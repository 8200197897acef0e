#include "server/rpc/daemon.h"

#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <chrono>
#include <csignal>
#include <future>
#include <string_view>
#include <thread>
#include <utility>

#include "allocator/base/format.h"
#include "allocator/base/log.h"
#include "allocator/base/tunables.h"
#include "arenad/version.h"
#include "server/core/api/clock.h"
#include "server/core/api/text.h"
#include "server/core/control/engine.h"
#include "server/rpc/connections/connections.h"
#include "server/rpc/connections/listener.h"
#include "server/rpc/http.h"
#include "server/rpc/instance_lock.h"
#include "server/rpc/loop/shard_loop.h"
#include "server/rpc/machine/machine.h"
#include "server/rpc/metrics.h"
#include "server/rpc/services/services.h"
#include "server/rpc/tls/tls_credentials.h"

namespace arenad::server {
namespace {

namespace asio = boost::asio;

// How long a call may still run when the daemon has drained and ends.
constexpr std::chrono::milliseconds kCallGrace{250};

constexpr std::string_view kUnixScheme = "unix:";

// Who may enter the directory may call. What they may do then is decided call by call.
constexpr Listener::Access kEverybody{0666, std::nullopt};

std::string unix_address(const std::string& directory, const std::string& name) {
  return std::string(kUnixScheme) + directory + "/" + name;
}

ShardId shard_id(std::size_t index) { return {static_cast<std::uint16_t>(index)}; }

spdlog::level::level_enum spdlog_level(LogLevel level) {
  switch (level) {
    case LogLevel::kInfo: return spdlog::level::info;
    case LogLevel::kWarning: return spdlog::level::warn;
    case LogLevel::kError: break;
  }
  return spdlog::level::err;
}

class Daemon {
 public:
  Daemon(const Config& config, LoadConfig load) : config_(config), load_(std::move(load)) {}

  // Errors: what keeps the daemon from serving.
  Answer<Nothing> start() {
    auto lock = lock_socket_directory(config_.socket_dir);
    if (!lock.ok()) return lock.error();
    lock_ = std::move(*lock);
    if (auto started = start_engine(); !started.ok()) return started;
    if (auto started = start_loops(); !started.ok()) return started;
    if (auto made = make_arenas(); !made.ok()) return made;
    return start_http();
  }

  // Returns when a signal has stopped the daemon.
  void serve() {
    wait_for_signal();
    wait_for_request();
    serving_ = true;
    tell_readiness();
    sd_notify(0, "READY=1");
    spdlog::info("ready: {} shards, common address {}", loops_.size(), topology_.common_address);
    io_.run();
  }

  void stop() {
    listeners_.clear();
    if (engine_ != nullptr) engine_->stop();
    stop_loops();
    for (std::uint32_t i = 0; i < loops_.size(); ++i) engine_->set_waker(shard_id(i), nullptr);
    http_.reset();
    loops_.clear();
    engine_.reset();
  }

 private:
  // At once: each may take the whole grace time.
  void stop_loops() {
    std::vector<std::future<void>> stopped;
    for (const auto& loop : loops_)
      stopped.push_back(std::async(std::launch::async, [&loop] {
        loop->stop(static_cast<std::uint64_t>(kCallGrace.count()));
      }));
    // gRPC tells the calls that are left, and closes no connection while a write is under way. A
    // client that does not read would hold the daemon for as long as it lives.
    const auto told = std::chrono::steady_clock::now() + 2 * kCallGrace;
    for (const auto& one : stopped) one.wait_until(told);
    connections_.end_all();
    for (auto& one : stopped) one.get();
  }

  Answer<Nothing> start_engine() {
    EngineOptions options;
    options.shards = config_.shards != 0 ? config_.shards : default_shards(machine_);
    options.numa_nodes = machine_.numa_nodes;
    options.directory = config_.socket_dir;
    options.state_directory = config_.state_dir;
    options.data_directory = config_.data_dir;
    options.limits = config_.limits;
    options.root_is_admin = config_.root_is_admin;
    options.tunables = config_.tunables;
    options.log = [](LogLevel level, const std::string& line) {
      spdlog::log(spdlog_level(level), "{}", line);
    };
    options.on_state_lost = [this] {
      asio::post(io_, [this] {
        state_lost_ = true;
        tell_readiness();
      });
    };
    auto engine = Engine::start(std::move(options));
    if (!engine.ok()) return engine.error();
    engine_ = std::move(*engine);
    return Nothing{};
  }

  Answer<Nothing> start_loops() {
    topology_.version = arenad::kVersion;
    topology_.build_type = ARENAD_BUILD_TYPE;
    topology_.common_address = unix_address(config_.socket_dir, "arenad.sock");
    topology_.handoff_path = engine_->handoff_path();
    topology_.started_ns = now_ns();
    std::shared_ptr<grpc::ServerCredentials> tls;
    if (config_.listen) {
      auto credentials = tls_credentials(config_.tls);
      if (!credentials.ok()) return credentials.error();
      tls = std::move(*credentials);
    }
    if (!machine_.fallback.empty()) spdlog::warn("{}", machine_.fallback);
    spdlog::info("{}", places_text(machine_, engine_->shard_count()));
    for (std::uint32_t i = 0; i < engine_->shard_count(); ++i) {
      const Machine::Place& place = place_of_shard(machine_, i);
      topology_.shards.push_back(
          {unix_address(config_.socket_dir, "shard-" + std::to_string(i) + ".sock"), place.cpu,
           place.numa_node});
    }
    for (std::uint32_t i = 0; i < engine_->shard_count(); ++i)
      loops_.push_back(std::make_unique<ShardLoop>(
          engine_->shard(shard_id(i)), engine_->tunables().spin_us,
          ShardLoopOptions{
              topology_.shards[i].cpu, tls, config_.tls_users,
              config_.limits.max_user_unanswered_bytes, [this](int number, const char* why) {
                asio::post(io_, [this, number, why] { connections_.cut(number, why); });
              }}));
    // Shard 0 comes last: a client that reaches its TCP address can then reach every shard.
    for (std::uint32_t i = engine_->shard_count(); i-- > 0;) {
      auto started = loops_[i]->start(make_services(engine_->control(), topology_));
      if (!started.ok()) return started;
      engine_->set_waker(shard_id(i), loops_[i].get());
    }
    for (std::uint32_t i = 0; i < engine_->shard_count(); ++i)
      if (auto listening = listen(topology_.shards[i].address, *loops_[i], kEverybody);
          !listening.ok())
        return listening;
    // Last, for the same reason.
    if (auto listening = listen(topology_.common_address, *loops_[0], kEverybody); !listening.ok())
      return listening;
    if (auto listening = listen(unix_address(config_.socket_dir, "admin.sock"), *loops_[0],
                                administrators(), true);
        !listening.ok())
      return listening;
    if (config_.listen) {
      if (auto listening = listen_tcp(*config_.listen, ShardLoop::Tcp::kTls); !listening.ok())
        return listening;
    }
    if (!config_.listen_plaintext) return Nothing{};
    return listen_tcp(*config_.listen_plaintext, ShardLoop::Tcp::kPlaintext);
  }

  Answer<Nothing> listen_tcp(const HostPort& at, ShardLoop::Tcp kind) {
    Listener::Host host;
    host.has_room = [this] { return connections_.has_room(); };
    host.take = [this, kind](UniqueFd socket) {
      const auto taken = connections_.add_tcp(std::move(socket), *loops_[0], kind);
      if (!taken.ok() && refusals_.allow())
        spdlog::warn("a connection over TCP is closed: {}", taken.error().message);
    };
    auto listener = Listener::open_tcp(io_, at.host, at.port, std::move(host));
    if (!listener.ok())
      return Failure{listener.error().error,
                     listener.error().message + ": see whether the port is free"};
    spdlog::info("serving {} on {}", kind == ShardLoop::Tcp::kTls ? "TLS" : "plain text",
                 (*listener)->address());
    listeners_.push_back(std::move(*listener));
    return Nothing{};
  }

  Answer<Nothing> listen(const std::string& address, ShardLoop& loop, Listener::Access access,
                         bool is_admin = false) {
    Listener::Host host;
    host.has_room = [this] { return connections_.has_room(); };
    host.take = [this, &loop, address, is_admin](UniqueFd socket) {
      const auto taken = connections_.add(std::move(socket), loop, is_admin);
      if (!taken.ok() && taken.error().error != Error::kNotPermitted && refusals_.allow())
        spdlog::warn("a connection to {} is closed: {}", address, taken.error().message);
    };
    auto listener =
        Listener::open(io_, address.substr(kUnixScheme.size()), access, std::move(host));
    if (!listener.ok())
      return Failure{listener.error().error,
                     listener.error().message + ": choose another socket_dir"};
    listeners_.push_back(std::move(*listener));
    return Nothing{};
  }

  Listener::Access administrators() const {
    return {config_.admin_gid ? 0660u : 0600u, config_.admin_gid};
  }

  Answer<Nothing> make_arenas() {
    for (const Config::ArenaAtStart& arena : config_.arenas) {
      std::promise<Answer<ArenaFacts>> promise;
      CreateArenaArgs args;
      args.name = arena.name;
      args.capacity_bytes = arena.capacity_bytes;
      args.pinned = arena.pinned;
      args.lock = arena.lock;
      args.zero = arena.zero;
      args.scrub = arena.scrub;
      args.huge_pages = arena.huge_pages;
      args.numa = arena.numa;
      args.debug = arena.debug;
      args.access.mode = arena.mode;
      args.access.gid = arena.gid.value_or(::getegid());
      args.has_access = true;
      engine_->control().create_arena(
          daemon_itself(), std::move(args),
          [&promise](Answer<ArenaFacts> made) { promise.set_value(std::move(made)); });
      const Answer<ArenaFacts> made = promise.get_future().get();
      if (!made.ok() && made.error().error == Error::kArenaExists && was_kept(arena)) continue;
      if (!made.ok()) return made.error();
      spdlog::info("arena {}: {}", made->name, bytes_text(made->capacity_bytes));
    }
    return Nothing{};
  }

  // True when the state directory has the arena from an earlier daemon. Its capacity stays.
  bool was_kept(const Config::ArenaAtStart& wanted) {
    std::promise<Answer<ArenaFacts>> promise;
    engine_->control().get_arena(
        daemon_itself(), wanted.name,
        [&promise](Answer<ArenaFacts> arena) { promise.set_value(std::move(arena)); });
    const Answer<ArenaFacts> arena = promise.get_future().get();
    if (!arena.ok()) return false;
    if (arena->capacity_bytes < wanted.capacity_bytes) {
      spdlog::warn(
          "arena {} exists with {}, the configuration asks for {}: delete the arena to change its "
          "capacity",
          wanted.name, bytes_text(arena->capacity_bytes), bytes_text(wanted.capacity_bytes));
    }
    if (wanted.pinned != arena->pinned || wanted.zero != arena->zero ||
        wanted.scrub != arena->scrub || wanted.huge_pages != arena->huge_pages ||
        wanted.numa != arena->numa || wanted.debug != arena->debug)
      spdlog::warn(
          "arena {} exists with other options than the configuration asks for: delete the arena to "
          "change them ('arenactl arena get {}' shows them)",
          wanted.name, wanted.name);
    return true;
  }

  Answer<Nothing> start_http() {
    if (!config_.http && config_.http_path.empty()) return Nothing{};
    HttpOptions options;
    if (config_.http) {
      options.host = config_.http->host;
      options.port = config_.http->port;
    }
    options.path = config_.http_path;
    options.access = config_.metrics_name_arenas ? administrators() : kEverybody;
    options.hosts = config_.http_hosts;
    auto http = HttpServer::listen(
        io_,
        [this](Done<std::string> done) {
          collect_metrics(engine_->control(), engine_->limits(), config_.metrics_name_arenas,
                          std::move(done));
        },
        options);
    if (http.ok()) {
      http_ = std::move(*http);
      spdlog::info("HTTP on {}", http_->address());
    } else if (config_.http_by_default) {
      spdlog::warn("no HTTP: {}", http.error().message);
    } else {
      return http.error();
    }
    return Nothing{};
  }

  void tell_readiness() {
    if (!http_) return;
    if (!serving_ || draining_)
      http_->set_ready(false, "starting or draining");
    else if (state_lost_)
      http_->set_ready(false, "files of the state directory were removed, see the log");
    else
      http_->set_ready(true, "");
  }

  void wait_for_signal() {
    signals_.async_wait([this](const boost::system::error_code& error, int signal) {
      if (error) return;
      if (!draining_) {
        spdlog::info("signal {}: draining; a second signal ends the daemon at once", signal);
        draining_ = true;
        sd_notify(0, "STOPPING=1");
        tell_readiness();
        engine_->begin_drain([this] { asio::post(io_, [this] { io_.stop(); }); });
        for (const auto& loop : loops_) loop->announce_drain();
        return wait_for_signal();
      }
      spdlog::warn("signal {} while draining: ending at once", signal);
      io_.stop();
    });
  }

  // Signals that do not end the daemon.
  void wait_for_request() {
    requests_.async_wait([this](const boost::system::error_code& error, int signal) {
      if (error) return;
      if (signal == SIGHUP)
        reload(config_, load_, engine_->control());
      else
        spdlog::info("signal {} has no meaning for arenad: nothing is done", signal);
      wait_for_request();
    });
  }

  const Config& config_;
  const LoadConfig load_;
  FileLock lock_;
  asio::io_context io_{1};
  asio::signal_set signals_{io_, SIGTERM, SIGINT};
  asio::signal_set requests_{io_, SIGHUP, SIGUSR1, SIGUSR2};
  const Machine machine_ = this_machine();
  std::unique_ptr<Engine> engine_;
  TopologyFacts topology_;
  Connections connections_{io_, config_.root_is_admin, config_.limits.max_user_connections};
  std::vector<std::unique_ptr<ShardLoop>> loops_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::unique_ptr<HttpServer> http_;
  RateLimit refusals_{20};  // of connections: lines of the log a second
  bool serving_ = false, draining_ = false;
  bool state_lost_ = false;
};

// The soft limit is low on most systems, for programs that call select(2). Connections get numbers
// in turn (connections.h), and the kernel has 8 bytes for each number below the highest. So a hard
// limit of a billion, as containers often have, is not taken whole.
void raise_descriptors() {
  constexpr rlim_t kMost = 1 << 18;
  rlimit descriptors{};
  if (::getrlimit(RLIMIT_NOFILE, &descriptors) != 0) return;
  descriptors.rlim_cur = std::max(descriptors.rlim_cur, std::min(descriptors.rlim_max, kMost));
  ::setrlimit(RLIMIT_NOFILE, &descriptors);
}

}  // namespace

int run_daemon(const Config& config, LoadConfig load) {
  ::signal(SIGPIPE, SIG_IGN);
  raise_descriptors();
  tunables().guards_private = config.guards_private;
  Daemon daemon(config, std::move(load));
  int code = 0;
  if (const auto started = daemon.start(); started.ok()) {
    daemon.serve();
  } else {
    spdlog::error("{}", started.error().message);
    code = 1;
  }
  daemon.stop();
  if (code == 0) spdlog::info("stopped");
  return code;
}

}  // namespace arenad::server
