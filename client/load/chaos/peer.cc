#include "client/load/chaos/peer.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

#include "client/load/chaos/side_arena.h"
#include "client/load/chaos/stamp.h"
#include "client/load/kernels/random.h"
#include "client/load/link.h"

namespace arenad::load::chaos {
namespace {

constexpr std::size_t kMostHeld = 2000;
constexpr std::uint32_t kFlushEvery = 64;
constexpr std::uint32_t kSideTurnOneIn = 64;
constexpr auto kAttachWithin = std::chrono::seconds(60);
constexpr std::uint32_t kCallTimeoutMs = 20'000;
// Of a peer whose daemon is stopped for seconds: calls run out of time before the daemon is back.
constexpr std::uint32_t kSmallTimeoutsMs[] = {100, 300, 1000, 2500};

struct Held {
  Ref ref;
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  std::uint64_t who = 0;  // as stamped
  bool shared = false;
};

std::string hex(std::uint64_t value) {
  char text[20];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

class Peer {
 public:
  Peer(const PeerPlace& place, Board& board)
      : place_(place),
        board_(board),
        seat_(board.seats[place.seat]),
        random_(place.seed),
        side_(board, "chaos-side-" + std::to_string(place.seat), place.life, random_.next()) {
    if (place.by_exec) end_order(Order::kExec, true);  // also when it is killed before it attaches
    open();
  }

  void work() {
    // Even seats churn, odd ones hand on and take over.
    const bool hands_on = place_.seat % 2 != 0;
    const std::uint32_t allocates = hands_on ? 38 : 45, frees = hands_on ? 12 : 40;
    for (std::uint32_t turn = 1; board_.stop.load(std::memory_order_relaxed) == 0; ++turn) {
      obey();
      if (random_.below(kSideTurnOneIn) == 0) side_.turn(client_);
      const std::uint32_t dice = random_.below(100);
      if (dice < allocates)
        allocate();
      else if (dice < allocates + frees)
        free_one();
      else if (const std::uint32_t rest = random_.below(10); rest < 4)
        give();
      else if (rest < 8)
        take();
      else if (rest < 9)
        share();
      else if (!held_.empty())
        look(held_[random_.below(static_cast<std::uint32_t>(held_.size()))], "while it was held");
      seat_.operations.store(seat_.operations.load(std::memory_order_relaxed) + 1,
                             std::memory_order_relaxed);
      if (turn % kFlushEvery == 0) arena_.flush();
    }
  }

  // Frees half of its blocks. The end of the session gives back the rest.
  void end() {
    if (!held_.empty() && place_.plant == "double")
      Stamp::of(held_[0].who ^ 1u << Stamp::kSequenceShift, held_[0].ref.value)
          .write(at(held_[0]), held_[0].bytes);
    if (!held_.empty() && place_.plant == "damage")
      at(held_[0])[held_[0].bytes - 1] ^= std::byte{1};
    for (std::size_t i = 0; i < held_.size(); ++i) {
      if (i % 2 == 0)
        finish(held_[i]);
      else
        look(held_[i], "at the end");
    }
    arena_.flush();
    side_.leave();
    // With small timeouts a busy machine may be too slow for the answer. The session has ended here
    // all the same, and the daemon sees the process end.
    if (const auto closed = session_.close(); !closed.ok() && !is_away(closed.error()))
      board_.found(board_.damaged, who_am_i() + "closing its session: " + closed.error().text());
  }

 private:
  // True for the failures of a call to a daemon that may be dead or stopped.
  bool is_away(const client::Status& status) const {
    return board_.goes_away != 0 && (status.code == client::Code::kUnavailable ||
                                     status.code == client::Code::kDeadlineExceeded);
  }

  // Opens a session and attaches. A daemon that is killed or stopped during this comes back soon. A
  // session that was not bound yet may end with the daemon. So this tries again.
  void open() {
    const auto deadline = std::chrono::steady_clock::now() + kAttachWithin;
    for (client::Status status = attach(); !status.ok(); status = attach()) {
      const bool may_be =
          is_away(status) || (board_.goes_away != 0 && status.reason == Error::kUnknownSession);
      if (!may_be || std::chrono::steady_clock::now() > deadline)
        throw LoadError("it could not attach: " + status.text());
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    seat_.session.store(session_.id().value);
    seat_.attached.fetch_add(1);
  }

  std::uint32_t call_timeout_ms() {
    if (board_.small_timeouts == 0) return kCallTimeoutMs;
    return kSmallTimeoutsMs[random_.below(std::size(kSmallTimeoutsMs))];
  }

  // A peer that opens its second session uses the first one's client half of the time. That client
  // still has to tell the daemon of the close.
  client::Status attach() {
    if (!connected_ || random_.below(2) == 0) {
      auto client = client::Client::connect(
          board_.sockets, {.wait_ready_ms = kCallTimeoutMs, .call_timeout_ms = call_timeout_ms()});
      if (!client.ok()) return client.error();
      client_ = std::move(*client);
      connected_ = true;
    }
    auto session = client::Session::open(client_, {.name = "chaos-" + std::to_string(place_.seat)});
    if (!session.ok()) return session.error();
    auto arena = session->attach(kMainArena, client::AttachMode::kPeer);
    if (!arena.ok()) return arena.error();
    session_ = std::move(*session);
    arena_ = std::move(*arena);
    return {};
  }

  void obey() {
    // acquire: pairs with the release of Driver::give_order.
    const Order order = seat_.order.load(std::memory_order_acquire);
    if (order == Order::kNone) return;
    if (order == Order::kExec) become_another_program();
    if (order == Order::kClose) close_while_away();
    if (order == Order::kRecreate) end_order(order, side_.recreate(client_));
  }
  void end_order(Order order, bool done) {
    if (done) seat_.done[static_cast<std::size_t>(order)].fetch_add(1);
    seat_.order.store(Order::kNone, std::memory_order_release);
  }

  // The session of this program has a living process from now on, but no client.
  void become_another_program() {
    seat_.empty_posts();
    const std::string fd = std::to_string(board_.fd), seat = std::to_string(place_.seat),
                      life = std::to_string(seat_.order_life.load()),
                      seed = std::to_string(random_.next());
    std::vector<std::string> words{"arena-load", "chaos",  "--board", fd,       "--seat",
                                   seat,         "--life", life,      "--seed", seed};
    if (!place_.plant.empty()) words.insert(words.end(), {"--plant", place_.plant});
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    ::fcntl(board_.fd, F_SETFD, 0);  // the next program maps the board
    ::execv("/proc/self/exe", argv.data());
    throw LoadError(std::string("exec: ") + std::strerror(errno));
  }

  // Closes the session, with all that it holds, and opens another one. It counts when the daemon
  // was away. The driver lets the daemon come back when the order is gone.
  void close_while_away() {
    seat_.empty_posts();
    held_.clear();
    arena_ = {};
    const auto closed = session_.close();
    if (!closed.ok() && !is_away(closed.error()))
      throw LoadError("closing its session: " + closed.error().text());
    end_order(Order::kClose, !closed.ok());
    open();
  }

  std::uint64_t size() {
    const std::uint32_t dice = random_.below(1000);
    if (dice < 900) return Stamp::kMinBytes + random_.below(1024);
    if (dice < 990) return 1024 + random_.below(15 * 1024);
    return dice < 998 ? 16 * 1024 + random_.below(48 * 1024)
                      : 64 * 1024 + random_.below(200 * 1024);  // the largest are spans
  }
  std::string who_am_i() const {
    return "seat " + std::to_string(place_.seat) + ", session " +
           std::to_string(session_.id().value) + ": ";
  }
  std::uint64_t next_who() {
    const std::uint64_t sequence = std::uint64_t{place_.life} << 24 | (++sequence_ & 0xffffff);
    return std::uint64_t{session_.id().value} << Stamp::kSessionShift |
           (sequence << Stamp::kSequenceShift & ~(~std::uint64_t{0} << Stamp::kSessionShift));
  }
  std::byte* at(const Held& h) const { return arena_.writable_data().data() + h.offset; }
  void write_stamp(const Held& h) { Stamp::of(h.who, h.ref.value).write(at(h), h.bytes); }

  // True when the block shows what its holder wrote.
  void look(const Held& h, const char* when) { judge(h, Stamp::read(at(h)), at(h), when); }
  void judge(const Held& h, const Stamp& found, const std::byte* block, const char* when) {
    const Stamp expected = Stamp::of(h.who, h.ref.value);
    if (found == expected && (block == nullptr || found.has_tail(block, h.bytes))) return;
    const bool doubled = found != expected && found.is_somebodys();
    board_.found(
        doubled ? board_.doubled : board_.damaged,
        who_am_i() + "block " + hex(h.ref.value) + " at " + std::to_string(h.offset) + " (" +
            std::to_string(h.bytes) + " B) " + when +
            (found == expected ? std::string(": its end was overwritten")
                               : ": stamped by session " + std::to_string(found.session().value) +
                                     ", sequence " + std::to_string(found.sequence()) + ", ref " +
                                     hex(found.ref) + (doubled ? "" : " (no stamp at all)")) +
            "; expected session " + std::to_string(expected.session().value) + ", sequence " +
            std::to_string(expected.sequence()));
  }

  void refused(const char* what, const Held& h, Error error) {
    board_.found(board_.doubled, who_am_i() + what + " of its own block " + hex(h.ref.value) +
                                     " was refused: " + error_name(error));
  }

  void allocate() {
    if (held_.size() >= kMostHeld) return free_one();
    const auto got = arena_.try_allocate(size(), 7);
    if (!got.ok()) {
      // While the daemon is away an allocation that needs a lease may fail.
      if (board_.goes_away != 0 &&
          (got.error() == Error::kDraining || got.error() == Error::kWaitExpired))
        return;
      board_.found(board_.damaged,
                   who_am_i() + "an allocation was refused: " + error_name(got.error()));
      std::this_thread::sleep_for(
          std::chrono::milliseconds(50));  // one finding is enough; avoid thousands a second
      return;
    }
    held_.push_back({got->ref, got->offset_bytes, got->usable_bytes, next_who(), false});
    write_stamp(held_.back());
  }

  // Checks a block and frees it.
  void finish(const Held& h) {
    look(h, "at its free");
    if (!h.shared) {
      if (const Error error = arena_.try_free(h.ref); error != Error::kNone)
        refused("a free", h, error);
      return;
    }
    const auto released = arena_.release({&h.ref, 1});
    if (!released.ok())
      board_.found(board_.damaged, who_am_i() + "release: " + released.error().text());
    else if (!released->all())
      refused("a release", h, released->errors.front().status.reason);
  }
  Held pick() {
    std::swap(held_[random_.below(static_cast<std::uint32_t>(held_.size()))], held_.back());
    const Held h = held_.back();
    held_.pop_back();
    return h;
  }
  void free_one() {
    if (!held_.empty()) finish(pick());
  }

  // Posts a block for another peer and forgets it. A shared block is posted for others to join.
  void give() {
    if (held_.empty()) return;
    Post& post = seat_.posts[random_.below(kPosts)];
    if (post.ref.load(std::memory_order_acquire) != 0) return free_one();
    const Held h = pick();
    look(h, "before it was handed on");
    post.who.store(h.who | (h.shared ? Post::kShared : 0), std::memory_order_relaxed);
    post.ref.store(h.ref.value, std::memory_order_release);  // pairs with the acquire in take
    if (h.shared) held_.push_back(h);                        // this peer keeps its share
  }

  void take() {
    Seat& from = board_.seats[random_.below(board_.peers)];
    const std::uint32_t start = random_.below(kPosts);
    for (std::uint32_t i = 0; i < kPosts; ++i) {
      Post& post = from.posts[(start + i) % kPosts];
      std::uint64_t ref = post.ref.load(std::memory_order_acquire);
      if (ref == 0) continue;
      const std::uint64_t who = post.who.load(std::memory_order_relaxed);
      if (!post.ref.compare_exchange_strong(ref, 0, std::memory_order_acq_rel)) continue;
      if ((who & Post::kShared) != 0) return join({ref}, who & ~Post::kShared);
      return random_.below(3) == 0 ? free_directly({ref}, who) : take_over({ref}, who);
    }
  }

  // The giver may have died, and its block went back. Then a refusal is correct.
  void take_over(Ref ref, std::uint64_t who) {
    const auto got = arena_.acquire({&ref, 1}, 8);
    if (!got.ok() || !got->all()) return;
    Held h = described(ref, who);
    look(h, "at its take-over");
    h.who = next_who();
    write_stamp(h);
    held_.push_back(h);
  }
  // A remote free without a take-over. The stamp counts only when the giver held the block before
  // and after it was read.
  void free_directly(Ref ref, std::uint64_t who) {
    const Held h = described(ref, who);
    if (holder(ref) != Stamp::of(who, 0).session()) return;
    const Stamp found = Stamp::read(at(h));
    if (holder(ref) != Stamp::of(who, 0).session()) return;
    judge(h, found, nullptr, "at a remote free");
    (void)arena_.try_free(ref);
  }
  void join(Ref ref, std::uint64_t who) {
    const auto got = arena_.share({&ref, 1});
    if (!got.ok() || !got->all()) return;
    for (const Held& mine : held_)  // its own post, or joined twice: one share either way
      if (mine.ref == ref) return;
    Held h = described(ref, who);
    h.shared = true;
    look(h, "at a share");
    held_.push_back(h);
  }
  void share() {
    if (held_.empty()) return;
    Held& h = held_[random_.below(static_cast<std::uint32_t>(held_.size()))];
    if (h.shared) return;
    const auto got = arena_.share({&h.ref, 1});
    if (!got.ok()) return;
    if (got->all())
      h.shared = true;
    else if (const Error error = got->errors.front().status.reason;
             error != Error::kSharersFull && error != Error::kQuotaUser)
      refused("a share", h, error);
  }

  client::BlockInfo describe(Ref ref) {
    return or_throw(arena_.describe({&ref, 1}), "describe").at(0);
  }
  Held described(Ref ref, std::uint64_t who) {
    const client::BlockInfo info = describe(ref);
    return {ref, info.offset_bytes, info.usable_bytes, who, false};
  }
  client::SessionId holder(Ref ref) {
    const client::BlockInfo info = describe(ref);
    return info.state == client::BlockState::kHeld ? info.holder : kNoSession;
  }

  const PeerPlace place_;
  Board& board_;
  Seat& seat_;
  Random random_;
  SideArena side_;
  client::Client client_;
  bool connected_ = false;
  client::Session session_;
  client::ArenaHandle arena_;
  std::vector<Held> held_;
  std::uint64_t sequence_ = 0;
};

}  // namespace

int run_peer(const PeerPlace& place, Board& board) {
  try {
    Peer peer(place, board);
    peer.work();
    peer.end();
    return 0;
  } catch (const std::exception& e) {
    board.found(board.damaged, "seat " + std::to_string(place.seat) + ", session " +
                                   std::to_string(board.seats[place.seat].session.load()) + ": " +
                                   e.what());
    return 1;
  }
}

}  // namespace arenad::load::chaos
