#include "server/rpc/connections/read_shares.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <span>
#include <string_view>

#include "allocator/base/zeroed_array.h"

namespace arenad::server {
namespace {

constinit thread_local ShardReads* reads_here = nullptr;

// gRPC reads into at most four pieces.
constexpr std::size_t kMostPieces = 8;

}  // namespace

void count_polls_of_this_thread(ShardReads* reads) { reads_here = reads; }

// What is left of a user's share. gRPC may read two connections of a user at once, on two threads.
// Then a share may be given twice, so relaxed is enough.
struct ReadShares::Share {
  Share(ShardReads& of_shard, std::uint32_t of_user) : shard(of_shard), uid(of_user) {}

  void renew() {
    const std::uint64_t now = shard.polls.load(std::memory_order_relaxed);
    if (poll.exchange(now, std::memory_order_relaxed) == now) return;
    if (shard.uid.exchange(uid, std::memory_order_relaxed) != uid)
      shard.mixed_at.store(now, std::memory_order_relaxed);
    const bool alone = now - shard.mixed_at.load(std::memory_order_relaxed) > kAlonePolls;
    bytes.store(alone ? kBytesAlone : kBytes, std::memory_order_relaxed);
    calls.store(alone ? kCallsAlone : kCalls, std::memory_order_relaxed);
  }

  ShardReads& shard;
  const std::uint32_t uid;
  std::atomic<std::uint64_t> poll{~std::uint64_t{0}};  // of the shard, when the share was new
  std::atomic<std::int64_t> bytes{0}, calls{0};
};

class ReadShares::Guard {
 public:
  Guard(const ReadShares& owner, int number, std::shared_ptr<Share> share)
      : owner_(owner), number_(number), share_(std::move(share)) {}

  // How many bytes may be read now.
  std::size_t room() {
    share_->renew();
    const std::int64_t bytes = share_->bytes.load(std::memory_order_relaxed);
    const std::int64_t calls = share_->calls.load(std::memory_order_relaxed);
    if (bytes <= 0 || calls <= 0) return 0;
    // As dense with calls as what came last.
    return static_cast<std::size_t>(std::min(bytes, calls * bytes_of_call_));
  }

  void has_read(std::span<const iovec> pieces, std::size_t bytes) {
    std::uint32_t calls = 0;
    for (std::size_t left = bytes; const iovec& piece : pieces) {
      const std::size_t n = std::min(left, piece.iov_len);
      calls += frames_.read({static_cast<const std::byte*>(piece.iov_base), n});
      left -= n;
    }
    const auto read = static_cast<std::int64_t>(bytes);
    share_->bytes.fetch_sub(read, std::memory_order_relaxed);
    share_->calls.fetch_sub(calls, std::memory_order_relaxed);
    bytes_of_call_ = calls == 0 ? kBytes : std::max<std::int64_t>(read / calls, 1);
    if (!frames_.has_agreed() && frames_.calls() > kMostCallsBeforeSettings &&
        !std::exchange(cut_, true))
      owner_.cut_(number_, "it makes calls and does not agree to the daemon's settings");
  }

 private:
  const ReadShares& owner_;
  const int number_;
  const std::shared_ptr<Share> share_;
  FrameCounter frames_;
  std::int64_t bytes_of_call_ = 128;  // as the last read had it; before that a guess
  bool cut_ = false;
};

// What recvmsg knows: the guard of each descriptor, or null.
struct ReadHook {
  using Guard = ReadShares::Guard;
  static constexpr int kMost = 1 << 20;  // descriptors; those above are not guarded
  static ZeroedArray<std::atomic<Guard*>>& guards() {
    static auto& all = *new ZeroedArray<std::atomic<Guard*>>(kMost);  // lives as long as sockets do
    return all;
  }
  static ssize_t receive(int fd, msghdr* message, int flags) {
    const auto raw = [&](msghdr* m) { return ::syscall(SYS_recvmsg, fd, m, flags); };
    if (fd < 0 || fd >= kMost || flags != 0 || message->msg_iovlen > kMostPieces)
      return raw(message);
    // acquire: pairs with the release in guard().
    Guard* const guard = guards()[static_cast<std::size_t>(fd)].load(std::memory_order_acquire);
    if (guard == nullptr) return raw(message);
    std::size_t room = guard->room();
    if (room == 0) {
      errno = EAGAIN;
      return -1;
    }
    std::array<iovec, kMostPieces> pieces;
    msghdr part = *message;
    part.msg_iov = pieces.data();
    part.msg_iovlen = 0;
    for (std::size_t i = 0; i < message->msg_iovlen && room != 0; ++i) {
      iovec piece = message->msg_iov[i];
      piece.iov_len = std::min(piece.iov_len, room);
      room -= piece.iov_len;
      pieces[part.msg_iovlen++] = piece;
    }
    const ssize_t n = raw(&part);
    if (n > 0) guard->has_read({pieces.data(), part.msg_iovlen}, static_cast<std::size_t>(n));
    message->msg_namelen = part.msg_namelen;
    message->msg_controllen = part.msg_controllen;
    message->msg_flags = part.msg_flags;
    return n;
  }
};

ReadShares::~ReadShares() {
  for (const auto& [number, guard] : guards_) unguard(number);
}

void ReadShares::guard(int number, std::uint32_t uid, ShardReads& shard) {
  const char* const strategy = std::getenv("GRPC_POLL_STRATEGY");
  if (number >= ReadHook::kMost || strategy == nullptr || strategy != std::string_view("poll"))
    return;
  std::weak_ptr<Share>& of_user = shares_[{&shard, uid}];
  std::shared_ptr<Share> share = of_user.lock();
  if (share == nullptr) {
    share = std::make_shared<Share>(shard, uid);
    std::erase_if(shares_, [](const auto& user) { return user.second.expired(); });
    shares_[{&shard, uid}] = share;
  }
  auto& guard = guards_[number];
  guard = std::make_shared<Guard>(*this, number, std::move(share));
  // release: pairs with the acquire in ReadHook::receive.
  ReadHook::guards()[static_cast<std::size_t>(number)].store(guard.get(),
                                                             std::memory_order_release);
}

// The guard itself stays until its number names another connection: gRPC may be in the middle of a
// read. It cannot be by then (shard_connections.h).
void ReadShares::unguard(int number) {
  if (number < ReadHook::kMost)
    ReadHook::guards()[static_cast<std::size_t>(number)].store(nullptr, std::memory_order_release);
}

}  // namespace arenad::server

// In front of the C library's, for gRPC in this process.
extern "C" {

__attribute__((visibility("default"))) ssize_t recvmsg(int fd, msghdr* message, int flags) {
  return arenad::server::ReadHook::receive(fd, message, flags);
}

__attribute__((visibility("default"))) int poll(pollfd* fds, nfds_t count, int timeout_ms) {
  if (arenad::server::ShardReads* const shard = arenad::server::reads_here)
    shard->polls.fetch_add(1, std::memory_order_relaxed);
  timespec timeout{timeout_ms / 1000, timeout_ms % 1000 * 1'000'000L};
  return ::ppoll(fds, count, timeout_ms < 0 ? nullptr : &timeout, nullptr);
}
}
