// bench_rpc: calls per second against the daemon or the bare echo, N in flight over one channel a
// shard.
//
//   bench_rpc --call unary|exchange|echo --address TARGET [--address TARGET]... [--in-flight N]
//   [--blocks N] [--threads N]
//             [--method /service/Method] [--milliseconds N] [--warm-up-milliseconds N]
//
// Two threads (as many as --threads), one a core, share the channels; each turns one completion
// queue. The number in flight is spread evenly. Prints {"calls_per_s": ..., "blocks_per_s": ...,
// "calls": ..., "cpu_ns": ...}: a block is one that was allocated and freed; calls are all of the
// run, and cpu_ns what this process spent on them. A message of a stream is a call.
#include <unistd.h>
#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "arenad/v1/arenas.grpc.pb.h"
#include "arenad/v1/sessions.grpc.pb.h"
#include "client/load/kernels/measure.h"
#include "tests/bench/rpc_calls.h"

namespace {

using namespace arenad;

struct Options {
  std::string call;
  std::vector<std::string> addresses;
  std::string method = "/arenad.bench.Echo/Echo";
  std::uint32_t in_flight = 32;
  std::uint32_t blocks = 64;
  std::uint32_t threads = 2;
  load::MeasureFor times{std::chrono::milliseconds(300), std::chrono::milliseconds(1000),
                         std::chrono::milliseconds(50), false};
};

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; i += 2) {
    const std::string name = argv[i];
    if (i + 1 == argc) throw std::invalid_argument(name + " needs a value");
    const std::string value = argv[i + 1];
    const auto number = [&] {
      std::uint32_t n = 0;
      const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), n);
      if (error != std::errc{} || end != value.data() + value.size() || n == 0)
        throw std::invalid_argument(name + " takes a number above 0, not '" + value + "'");
      return n;
    };
    if (name == "--call")
      options.call = value;
    else if (name == "--address")
      options.addresses.push_back(value);
    else if (name == "--method")
      options.method = value;
    else if (name == "--in-flight")
      options.in_flight = number();
    else if (name == "--blocks")
      options.blocks = number();
    else if (name == "--threads")
      options.threads = number();
    else if (name == "--milliseconds")
      options.times.total = std::chrono::milliseconds(number());
    else if (name == "--warm-up-milliseconds")
      options.times.warm_up = std::chrono::milliseconds(number());
    else
      throw std::invalid_argument("unknown option '" + name + "'");
  }
  if (options.call != "unary" && options.call != "exchange" && options.call != "echo")
    throw std::invalid_argument("--call takes unary, exchange or echo");
  if (options.addresses.empty()) throw std::invalid_argument("--address is missing");
  return options;
}

std::shared_ptr<grpc::Channel> connect(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL,
                   1);  // channels to one address do not share a connection
  auto channel = grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
  if (!channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(10)))
    throw std::runtime_error("nobody answers at " + address);
  return channel;
}

// An arena of its own and a remote session in it, kept alive by its stream; both end with this
// object.
class RemoteSession {
 public:
  explicit RemoteSession(const std::string& address)
      : channel_(connect(address)),
        arenas_(channel_),
        sessions_(channel_),
        arena_name_("bench-" + std::to_string(getpid())) {
    v1::CreateArenaRequest create;
    create.set_name(arena_name_);
    create.set_capacity_bytes(std::uint64_t{256} << 20);
    v1::Arena arena;
    call("CreateArena", [&](auto* c) { return arenas_.CreateArena(c, create, &arena); });
    arena_id_ = arena.id();

    v1::OpenSessionRequest open;
    open.set_name("bench");
    v1::OpenSessionResponse opened;
    call("OpenSession", [&](auto* c) { return sessions_.OpenSession(c, open, &opened); });
    key_ = opened.session();

    stream_ = sessions_.KeepAlive(&stream_context_);
    v1::KeepAliveRequest alive;
    *alive.mutable_session() = key_;
    v1::KeepAliveEvent event;
    if (!stream_->Write(alive) || !stream_->Read(&event))
      throw std::runtime_error("KeepAlive was refused");

    v1::AttachArenaRequest attach;
    *attach.mutable_session() = key_;
    attach.set_arena(arena_name_);
    attach.set_mode(v1::ATTACH_MODE_REMOTE);
    v1::AttachArenaResponse attached;
    call("AttachArena", [&](auto* c) { return sessions_.AttachArena(c, attach, &attached); });
  }

  // Ends the session; throws when it still held something. Not a destructor's work: after a failed
  // run the end of the stream ends the session.
  void close() {
    v1::CloseSessionRequest close;
    *close.mutable_session() = key_;
    v1::CloseSessionResponse closed;
    call("CloseSession", [&](auto* c) { return sessions_.CloseSession(c, close, &closed); });
    v1::DeleteArenaRequest remove;
    remove.set_name(arena_name_);
    v1::DeleteArenaResponse removed;
    call("DeleteArena", [&](auto* c) { return arenas_.DeleteArena(c, remove, &removed); });
    if (closed.blocks_given_back() != 0)
      throw std::runtime_error("the session still held " +
                               std::to_string(closed.blocks_given_back()) + " blocks at its end");
  }
  ~RemoteSession() {
    stream_context_.TryCancel();
    if (stream_) stream_->Finish();
  }
  RemoteSession(const RemoteSession&) = delete;
  RemoteSession& operator=(const RemoteSession&) = delete;

  const v1::SessionKey& key() const { return key_; }
  std::uint32_t arena_id() const { return arena_id_; }

 private:
  template <class F>
  void call(const char* name, F&& f) {
    grpc::ClientContext context;
    bench::require(f(&context), name);
  }

  std::shared_ptr<grpc::Channel> channel_;
  v1::Arenas::Stub arenas_;
  v1::Sessions::Stub sessions_;
  std::string arena_name_;
  std::uint32_t arena_id_ = 0;
  v1::SessionKey key_;
  grpc::ClientContext stream_context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::KeepAliveRequest, v1::KeepAliveEvent>> stream_;
};

// One thread: its part of the channels and of the calls in flight, until stop.
void turn(const Options& options, std::size_t thread, const std::vector<bench::Target>& targets,
          load::Progress& progress, const load::Stop& stop) {
  bench::Loop loop(progress, stop);
  std::vector<std::unique_ptr<bench::Completion>> slots;
  std::vector<std::unique_ptr<bench::ExchangeSlots>> streams;
  for (std::size_t t = thread; t < targets.size(); t += options.threads) {
    const auto count = static_cast<std::uint32_t>(options.in_flight / targets.size() +
                                                  (t < options.in_flight % targets.size() ? 1 : 0));
    if (count == 0) continue;
    if (options.call == "exchange") {
      streams.push_back(
          std::make_unique<bench::ExchangeSlots>(loop, targets[t], count, options.blocks));
      continue;
    }
    for (std::uint32_t i = 0; i < count; ++i) {
      if (options.call == "echo")
        slots.push_back(std::make_unique<bench::EchoSlot>(loop, targets[t], options.method));
      else
        slots.push_back(std::make_unique<bench::BlockSlot>(loop, targets[t]));
    }
  }
  void* tag = nullptr;
  bool ok = false;
  try {
    while (loop.live > 0 && loop.queue.Next(&tag, &ok))
      static_cast<bench::Completion*>(tag)->completed(ok);
  } catch (const std::exception& e) {
    // Calls in flight still point at the slots, so there is no way back from here.
    std::fprintf(stderr, "bench_rpc: %s\n", e.what());
    std::_Exit(1);
  }
}

int run(const Options& options) {
  const std::vector<int> cores = load::allowed_cores();
  std::unique_ptr<RemoteSession> session;
  if (options.call != "echo") session = std::make_unique<RemoteSession>(options.addresses.front());
  // A thread without a shard of its own takes one that another has too, by a channel of its own.
  std::vector<bench::Target> targets;
  const std::size_t channels = std::max<std::size_t>(options.addresses.size(), options.threads);
  for (std::size_t i = 0; i < channels; ++i) {
    targets.push_back({connect(options.addresses[i % options.addresses.size()]), {}, 0});
    if (session) {
      targets.back().session = session->key();
      targets.back().arena_id = session->arena_id();
    }
  }

  load::Stop stop;
  std::vector<load::Progress> progress(options.threads);
  std::vector<load::ThreadBody> bodies;
  for (std::size_t i = 0; i < options.threads; ++i)
    bodies.push_back(
        {cores[i % cores.size()], [&, i] { turn(options, i, targets, progress[i], stop); }});
  const auto cpu_before = load::thread_time(CLOCK_PROCESS_CPUTIME_ID);
  const double ns = load::measure_threads(bodies, progress, stop, options.times);
  const auto cpu = load::thread_time(CLOCK_PROCESS_CPUTIME_ID) - cpu_before;
  if (session) session->close();

  const double per_s = ns > 0 ? 1e9 / ns : 0;
  const bool exchange = options.call == "exchange";  // there progress counts blocks
  double total = 0;
  for (const load::Progress& p : progress) total += static_cast<double>(p.get());
  std::printf(
      "{\"calls_per_s\": %.1f, \"blocks_per_s\": %.1f, \"calls\": %.0f, \"cpu_ns\": %lld}\n",
      exchange ? 2 * per_s / options.blocks : per_s, exchange ? per_s : per_s / 2,
      exchange ? 2 * total / options.blocks : total, static_cast<long long>(cpu.count()));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(parse(argc, argv));
  } catch (const std::invalid_argument& e) {
    std::fprintf(stderr, "bench_rpc: %s\n", e.what());
    return 2;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "bench_rpc: %s\n", e.what());
    return 1;
  }
}
