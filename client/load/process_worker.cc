#include "client/load/process_worker.h"

#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <vector>

#include "client/load/link.h"
#include "client/load/peer_process.h"
#include "client/load/runner.h"

extern char** environ;

namespace arenad::load {
namespace {

// A message on the socket: this header, then `count` entries.
struct MessageHeader {
  std::uint64_t sent_ns;  // CLOCK_MONOTONIC, the same for all processes of the host
  std::uint32_t count;
  std::uint32_t size_bytes;
};
struct MessageEntry {
  std::uint64_t ref;
  std::uint64_t offset;
};

bool read_all(int fd, void* to, std::size_t n) {
  auto* p = static_cast<char*>(to);
  while (n != 0) {
    const ssize_t got = ::read(fd, p, n);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    p += got;
    n -= static_cast<std::size_t>(got);
  }
  return true;
}

void write_all(int fd, const void* from, std::size_t n) {
  const auto* p = static_cast<const char*>(from);
  while (n != 0) {
    const ssize_t put = ::send(fd, p, n, MSG_NOSIGNAL);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) throw LoadError(std::string("the peer process is gone: ") + std::strerror(errno));
    p += put;
    n -= static_cast<std::size_t>(put);
  }
}

class ProcessWorker {
 public:
  ProcessWorker(const Options& options, const Link& link, const ProcessRole& role, Track& track)
      : options_(options),
        link_(link),
        arena_(link.arena),
        role_(role),
        track_(track),
        window_(window_of(options)) {
    stream_ = or_throw(client::Exchange::open(arena_, {.own_connection = true}), "open a stream");
  }

  void run(const std::atomic<std::uint32_t>& stop) {
    bool sending = role_.out_fd >= 0, receiving = role_.in_fd >= 0;
    while (sending || receiving || outstanding_ != 0) {
      if (sending && stop.load(std::memory_order_relaxed) != 0) {
        ::shutdown(role_.out_fd, SHUT_WR);
        sending = false;
      }
      const bool may_send = sending && outstanding_ < window_;
      if (may_send) pass_on();
      // While there is room one look is enough. Else sleep until a message or an acknowledgement
      // comes.
      pollfd waits[2] = {{receiving ? role_.in_fd : -1, POLLIN, 0},
                         {outstanding_ != 0 ? role_.out_fd : -1, POLLIN, 0}};
      if (::poll(waits, 2, may_send ? 0 : 20) < 0 && errno != EINTR)
        throw std::system_error(errno, std::generic_category(), "poll");
      if (waits[1].revents != 0) take_acknowledgements();
      if (waits[0].revents != 0) receiving = take_in();
    }
    settle(0);
  }

 private:
  static std::uint64_t window_of(const Options& o) {
    const std::uint64_t message = o.batch * std::max<std::uint64_t>(o.size_bytes, 16);
    return std::clamp<std::uint64_t>(o.capacity_bytes / 8 / message, 1, 32);
  }

  void pass_on() {
    const std::uint64_t id =
        or_throw(stream_.allocate(options_.size_bytes, options_.batch), "allocate");
    do settle_one();
    while (reply_.id != id);
    buffer_.resize(sizeof(MessageHeader) + reply_.blocks.size() * sizeof(MessageEntry));
    const MessageHeader header{now_ns(), static_cast<std::uint32_t>(reply_.blocks.size()),
                               static_cast<std::uint32_t>(options_.size_bytes)};
    std::memcpy(buffer_.data(), &header, sizeof header);
    auto* entry = reinterpret_cast<MessageEntry*>(buffer_.data() + sizeof header);
    for (const auto& block : reply_.blocks) {
      stamp(arena_, block, options_.seed);
      *entry++ = {block.ref.value, block.offset_bytes};
    }
    ++outstanding_;
    write_all(role_.out_fd, buffer_.data(), buffer_.size());
  }

  // Receives one message: checks its stamps, frees its blocks, acknowledges. False at the end of
  // the input.
  bool take_in() {
    MessageHeader header;
    if (!read_all(role_.in_fd, &header, sizeof header)) return false;
    entries_.resize(header.count);
    if (!read_all(role_.in_fd, entries_.data(), entries_.size() * sizeof(MessageEntry)))
      return false;
    refs_.clear();
    for (const MessageEntry& e : entries_) {
      if (!stamped(arena_, e.ref, e.offset, header.size_bytes, options_.seed))
        track_.bad.fetch_add(1);
      refs_.push_back(Ref{e.ref});
    }
    const std::uint64_t id = or_throw(stream_.free(refs_), "free");
    do settle_one();
    while (reply_.id != id);
    track_.latency.record(now_ns() - header.sent_ns);
    track_.add(refs_.size());
    write_all(role_.in_fd, "", 1);
    return true;
  }

  void take_acknowledgements() {
    char bytes[64];
    const ssize_t got = ::read(role_.out_fd, bytes, sizeof bytes);
    if (got == 0 || (got < 0 && errno != EINTR))
      throw LoadError("the peer process ended before it freed what it was passed");
    if (got > 0) outstanding_ -= static_cast<std::uint64_t>(got);
  }

  void settle_one() {
    or_throw(stream_.receive(reply_), "receive");
    link_.count_calls(track_);
    or_throw(reply_.status, "call");
    if (!reply_.batch.all() && reply_.call == client::ExchangeCall::kFree)
      throw LoadError("free: " + reply_.batch.errors.front().status.text());
  }
  void settle(std::size_t left) {
    while (stream_.unreceived() > left) settle_one();
  }

  const Options& options_;
  const Link& link_;
  const client::ArenaHandle& arena_;
  const ProcessRole& role_;
  Track& track_;
  const std::uint64_t window_;
  std::uint64_t outstanding_ = 0;  // messages passed on and not acknowledged
  client::Exchange stream_;
  client::ExchangeReply reply_;
  std::vector<char> buffer_;
  std::vector<MessageEntry> entries_;
  std::vector<Ref> refs_;
};

constexpr int kWorkerArguments = 18;

}  // namespace

int start_worker(const Options& o, const std::string& arena, const ProcessRole& role) {
  std::string shards;
  for (const std::uint32_t s : o.shards) shards += (shards.empty() ? "" : ",") + std::to_string(s);
  std::vector<std::string> words{"arena-load",
                                 "worker",
                                 std::to_string(role.index),
                                 std::to_string(role.tracks_fd),
                                 std::to_string(role.in_fd),
                                 std::to_string(role.out_fd),
                                 o.socket,
                                 arena,
                                 shards,
                                 std::to_string(o.size_bytes),
                                 std::to_string(o.batch),
                                 std::to_string(o.capacity_bytes),
                                 std::to_string(o.seed),
                                 std::to_string(role.rings_fd),
                                 std::to_string(role.workers),
                                 std::to_string(role.in_ring),
                                 std::to_string(role.out_ring),
                                 std::to_string(role.frames)};
  std::vector<char*> argv;
  for (std::string& w : words) argv.push_back(w.data());
  argv.push_back(nullptr);
  // The child keeps its own sockets and the tracks. All other descriptors are CLOEXEC.
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  for (const int fd : {role.in_fd, role.out_fd, role.tracks_fd, role.rings_fd})
    if (fd >= 0)
      ::posix_spawn_file_actions_adddup2(&actions, fd,
                                         fd);  // the same number: clears CLOEXEC in the child
  pid_t pid = -1;
  const int error = ::posix_spawn(&pid, "/proc/self/exe", &actions, nullptr, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0)
    throw std::system_error(error, std::generic_category(), "starting a worker process");
  return pid;
}

int worker_main(int argc, char** argv) {
  if (argc != kWorkerArguments) return kExitUsage;
  ::signal(SIGINT, SIG_IGN);  // the parent handles ^C and ends the run in order
  ProcessRole role;
  Options o;
  role.index = static_cast<std::uint32_t>(std::stoul(argv[2]));
  role.tracks_fd = std::stoi(argv[3]);
  role.in_fd = std::stoi(argv[4]);
  role.out_fd = std::stoi(argv[5]);
  o.socket = argv[6];
  const std::string arena = argv[7];
  for (const char* p = argv[8]; *p != 0;) {
    char* end;
    o.shards.push_back(static_cast<std::uint32_t>(std::strtoul(p, &end, 10)));
    p = *end == ',' ? end + 1 : end;
  }
  o.size_bytes = std::stoull(argv[9]);
  o.batch = static_cast<std::uint32_t>(std::stoul(argv[10]));
  o.capacity_bytes = std::stoull(argv[11]);
  o.seed = std::stoull(argv[12]);
  role.rings_fd = std::stoi(argv[13]);
  role.workers = static_cast<std::uint32_t>(std::stoul(argv[14]));
  role.in_ring = std::stoi(argv[15]);
  role.out_ring = std::stoi(argv[16]);
  role.frames = static_cast<std::uint32_t>(std::stoul(argv[17]));
  if (role.rings_fd >= 0) o.mode = Mode::kPeer;

  Tracks tracks = Tracks::attach(role.tracks_fd);
  Track& track = tracks->tracks[role.index];
  try {
    Link link = Link::open(o, arena, "arena-load-process", role.index, track);
    if (o.mode == Mode::kPeer) {
      run_peer_process(o, link,
                       {role.index, role.workers, role.in_ring, role.out_ring, role.frames},
                       role.rings_fd, track, *tracks);
    } else {
      ProcessWorker worker(o, link, role, track);
      if (wait_for_start(*tracks, track)) worker.run(tracks->stop);
    }
    link.close(track);
    return kExitOk;
  } catch (const std::exception& e) {
    track.fail(e.what());
    return kExitRefused;
  }
}

}  // namespace arenad::load
