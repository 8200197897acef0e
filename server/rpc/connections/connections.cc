#include "server/rpc/connections/connections.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/sockios.h>
#include <spdlog/spdlog.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "server/core/api/text.h"

namespace arenad::server {
namespace asio = boost::asio;

namespace {

constexpr auto kLookForFloods = std::chrono::milliseconds(50);
constexpr auto kLookAgain = std::chrono::milliseconds(10);  // when a connection has many bytes

std::uint64_t waiting_bytes(int socket) {
  int bytes = 0;
  return ::ioctl(socket, SIOCINQ, &bytes) == 0 ? static_cast<std::uint64_t>(bytes) : 0;
}

Failure no_descriptor() {
  return {Error::kMachineFull,
          "the daemon has no file descriptor left: raise its limit (LimitNOFILE of its unit, "
          "ulimit -n), or end clients"};
}

// As many as the daemon has descriptors for.
std::uint32_t most_connections() {
  rlimit descriptors{};
  ::getrlimit(RLIMIT_NOFILE, &descriptors);
  return static_cast<std::uint32_t>(
      std::min<rlim_t>(descriptors.rlim_cur / Connections::kDescriptorsOfOne, UINT32_MAX));
}

}  // namespace

// An epoll set of its own. Asio would wake for each request on each connection.
struct Connections::PollSet {
  explicit PollSet(asio::io_context& with) : io(with), ready(with), look_again(with) {}
  asio::io_context& io;
  asio::posix::stream_descriptor ready;  // the epoll set
  asio::steady_timer look_again;         // for floods
  // Lives as long as the Connections. What other threads post looks whether it does.
  std::shared_ptr<Connections*> self;
};

Connections::Connections(asio::io_context& io, bool root_is_admin, std::uint32_t max_of_user)
    : root_is_admin_(root_is_admin),
      max_of_user_(std::min(max_of_user, most_connections() / 2)),
      poll_set_(std::make_unique<PollSet>(io)),
      read_shares_([this](int number, const char* why) {
        asio::post(poll_set_->io, [self = std::weak_ptr(poll_set_->self), number, why] {
          if (const auto connections = self.lock()) (*connections)->cut(number, why);
        });
      }) {
  poll_set_->self = std::make_shared<Connections*>(this);
  const int fd = ::epoll_create1(EPOLL_CLOEXEC);
  if (fd < 0) return;  // every add() says so
  poll_set_->ready.assign(fd);
  wait();
  watch_floods(kLookForFloods);
}

Connections::~Connections() = default;

bool Connections::has_room() {
  std::array<UniqueFd, kDescriptorsOfOne> room;
  for (UniqueFd& fd : room) {
    fd = UniqueFd(::fcntl(poll_set_->ready.native_handle(), F_DUPFD_CLOEXEC, 0));
    if (!fd) return false;
  }
  return with_number_of_its_own(std::move(room[0])).ok();
}

// The kernel has given the lowest number that is free. When it rests, or the end of its connection
// was not seen yet, the connection gets another. Numbers are taken in turn, so that those that rest
// are seldom met.
Answer<UniqueFd> Connections::with_number_of_its_own(UniqueFd socket) {
  const auto taken = [this](int number) {
    return resting_.contains(number) || open_.contains(number);
  };
  if (!taken(socket.get())) return socket;
  for (int rounds = 0; rounds < 2;) {
    UniqueFd other(::fcntl(socket.get(), F_DUPFD_CLOEXEC, next_number_));
    if (!other) {  // the end of the range
      next_number_ = 0;
      ++rounds;
      continue;
    }
    next_number_ = other.get() + 1;
    if (!taken(other.get())) return other;
  }
  return no_descriptor();
}

bool Connections::watch(int fd, std::uint32_t events, std::uint64_t about) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = about;
  return ::epoll_ctl(poll_set_->ready.native_handle(), EPOLL_CTL_ADD, fd, &event) == 0;
}

Answer<Nothing> Connections::add(UniqueFd accepted, ShardLoop& loop, bool is_admin) {
  auto process = connected_process(accepted.get());
  if (!process.ok()) return process.error();
  if (!is_admin && barred_.barred(process->uid, std::chrono::steady_clock::now()))
    return Failure{Error::kNotPermitted, "the user is barred: a connection was cut"};
  process->is_admin = is_admin || (root_is_admin_ && process->uid == 0);
  if (Failure full = check_user(*process); full.error != Error::kNone) return full;
  auto numbered = with_number_of_its_own(std::move(accepted));
  if (!numbered.ok()) return numbered.error();
  UniqueFd socket = std::move(*numbered);
  const int number = socket.get();
  Connection connection{loop,
                        UniqueFd(::fcntl(number, F_DUPFD_CLOEXEC, 0)),
                        std::move(process->pidfd),
                        process->uid,
                        !process->is_admin,
                        {}};
  const auto about = static_cast<std::uint64_t>(number);
  // EPOLLHUP comes without being asked for.
  if (!connection.socket || !watch(connection.socket.get(), 0, about) ||
      (connection.pidfd && !watch(connection.pidfd.get(), EPOLLIN, about | kProcessBit)))
    return no_descriptor();
  if (connection.limited) ++of_user_[connection.uid];
  read_shares_.guard(number, connection.uid, loop.reads());
  open_.emplace(number, std::move(connection));
  loop.connect(std::move(socket), std::make_shared<const CallerProcess>(std::move(*process)));
  return Nothing{};
}

Failure Connections::check_user(const CallerProcess& process) const {
  const auto of_user = of_user_.find(process.uid);
  if (process.is_admin || of_user == of_user_.end() || of_user->second < max_of_user_) return {};
  return refuse(Error::kQuotaUser,
                fmt::format("{} has {} connections, which is the limit (max_user_connections, and "
                            "half of what the daemon has file descriptors for)",
                            process.text(), of_user->second));
}

Answer<Nothing> Connections::add_tcp(UniqueFd accepted, ShardLoop& loop, ShardLoop::Tcp kind) {
  if (tcp_ >= kMostTcp)
    return Failure{Error::kQuotaDaemon, "there are " + std::to_string(kMostTcp) +
                                            " connections over TCP already: end some"};
  auto numbered = with_number_of_its_own(std::move(accepted));
  if (!numbered.ok()) return numbered.error();
  UniqueFd socket = std::move(*numbered);
  const int number = socket.get();
  Connection connection{loop,       UniqueFd(::fcntl(number, F_DUPFD_CLOEXEC, 0)),
                        UniqueFd(), Principal::kNoUser,
                        false,      {}};
  // The other end's close is no EPOLLHUP over TCP.
  if (!connection.socket ||
      !watch(connection.socket.get(), EPOLLRDHUP, static_cast<std::uint64_t>(number)))
    return no_descriptor();
  open_.emplace(number, std::move(connection));
  ++tcp_;
  loop.connect_tcp(std::move(socket), kind);
  return Nothing{};
}

void Connections::wait() {
  poll_set_->ready.async_wait(asio::posix::descriptor_base::wait_read,
                              [this](const boost::system::error_code& stopped) {
                                if (stopped) return;
                                look();
                                wait();
                              });
}

void Connections::look() {
  std::array<epoll_event, 64> events;
  const int epoll = poll_set_->ready.native_handle();
  for (;;) {
    const int n = ::epoll_wait(epoll, events.data(), static_cast<int>(events.size()), 0);
    for (int i = 0; i < n; ++i) {
      const std::uint64_t about = events[static_cast<std::size_t>(i)].data.u64;
      const auto found = open_.find(static_cast<int>(about & (kProcessBit - 1)));
      if (found == open_.end()) continue;
      if ((about & kProcessBit) == 0) {
        hung_up(found->first);
        continue;
      }
      // The process has ended. A forked child may have the connection still. The hang-up follows,
      // here and in gRPC.
      found->second.pidfd = UniqueFd();
      ::shutdown(found->second.socket.get(), SHUT_RDWR);
    }
    if (n < static_cast<int>(events.size())) return;
  }
}

void Connections::cut(int number, const char* why) {
  const auto found = open_.find(number);
  if (found == open_.end()) return;
  if (said_.allow()) {
    const bool tcp = found->second.uid == Principal::kNoUser;
    const std::string who = tcp ? "over TCP" : fmt::format("of uid {}", found->second.uid);
    spdlog::warn(
        "a connection {} is cut, because {}{}", who, why,
        tcp ? "" : fmt::format("; its user gets none for {} s", BarredUsers::kBar.count()));
  }
  barred_.bar(found->second.uid, std::chrono::steady_clock::now());
  const int socket = found->second.socket.get();
  ::shutdown(socket, SHUT_RDWR);  // the hang-up follows
  // gRPC would read all that is there.
  std::array<char, 64 << 10> dropped;
  while (::recv(socket, dropped.data(), dropped.size(), MSG_DONTWAIT) > 0) {}
}

void Connections::end_all() {
  for (const auto& [number, connection] : open_) ::shutdown(connection.socket.get(), SHUT_RDWR);
}

void Connections::watch_floods(std::chrono::milliseconds pause) {
  poll_set_->look_again.expires_after(pause);
  poll_set_->look_again.async_wait([this](const boost::system::error_code& stopped) {
    if (stopped) return;
    bool many_bytes = false;
    std::map<std::uint32_t, int> looks;  // by user
    for (auto& [number, connection] : open_) {
      connection.signs.look(connection.loop.steps(), waiting_bytes(connection.socket.get()));
      looks[connection.uid] += connection.signs.looks();
      many_bytes = many_bytes || connection.signs.many_bytes();
    }
    for (auto& [number, connection] : open_)
      if (connection.signs.looks() != 0 && looks[connection.uid] >= FloodSigns::kLooks)
        cut(number, "it sends faster than its shard can read, and keeps the shard from others");
    watch_floods(many_bytes ? kLookAgain : kLookForFloods);
  });
}

void Connections::hung_up(int number) {
  const auto found = open_.find(number);
  ShardLoop& loop = found->second.loop;
  read_shares_.unguard(number);
  if (found->second.uid == Principal::kNoUser) --tcp_;
  // By hand: as long as gRPC has the connection open, the set would not forget it.
  ::epoll_ctl(poll_set_->ready.native_handle(), EPOLL_CTL_DEL, found->second.socket.get(), nullptr);
  if (found->second.limited) {
    const auto of_user = of_user_.find(found->second.uid);
    if (--of_user->second == 0) of_user_.erase(of_user);
  }
  open_.erase(found);
  resting_.insert(number);
  loop.disconnected(number, [&io = poll_set_->io, self = std::weak_ptr(poll_set_->self), number] {
    asio::post(io, [self, number] {
      if (const auto connections = self.lock()) (*connections)->resting_.erase(number);
    });
  });
}

}  // namespace arenad::server
