// A peer of a crash test: allocates, frees its own and others' blocks, takes over, shares,
// releases, hands on through the board, and looks at every block's stamp when it gets it and when
// it gives it up. Now and then it detaches, with blocks and leases, and attaches again.
#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "allocator/arena/peer_arena.h"
#include "allocator/heap/heap.h"
#include "client/lib/daemon_gate.h"
#include "client/lib/lease_account.h"
#include "tests/crash/world.h"
#include "tests/support/refs.h"

namespace arenad::crash {
namespace {

constexpr int kAnswerWithinMs = 200;
constexpr auto kResumeEvery = std::chrono::milliseconds(4);
constexpr std::uint32_t kUnitsPerPart = kUnits / 2;

// How far this peer's resumes and leases are, for hold_a_return.
std::atomic<std::uint64_t> resumes_done{0}, leases_done{0};

// Lets a resume go by, and then a lease, if they come soon.
void hold_a_return() {
  const auto passes = [](const std::atomic<std::uint64_t>& count, std::chrono::milliseconds most) {
    const std::uint64_t before = count.load();
    const auto end = std::chrono::steady_clock::now() + most;
    while (count.load() == before && std::chrono::steady_clock::now() < end)
      std::this_thread::yield();
  };
  passes(resumes_done, 10 * kResumeEvery);
  passes(leases_done, kResumeEvery);
}

// The lease calls of a peer in one attachment, as client/lib/daemon_leases.cc makes them over gRPC.
// The heap's thread leases, a second thread returns, and a third one resumes.
class MessageLeases final : public SlabSource {
 public:
  MessageLeases(const Wire (&wires)[kMethods], SessionId session, HeapId heap, ArenaView& view,
                std::uint64_t epoch)
      : wires_(wires), session_(session), view_(view), account_(gate_, kUnits, epoch) {
    (void)account_.answered(epoch, [&] { account_.add_heap(heap); });
    returns_ = std::thread([this] { return_all(); });
    resumes_ = std::thread([this] { resume_now_and_then(); });
  }
  ~MessageLeases() override {
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
    }
    more_surplus_.notify_one();
    returns_.join();
    resumes_.join();
  }

  // The session leaves the arena, with all that it has there. Its heap is gone by now.
  void detach() {
    const std::lock_guard alone(resume_mutex_);
    for (bool left = false; !left;) {
      using Detached = client::LeaseAccount::Detached;
      Message m = message(Message::kDetach, account_.begin_detach());
      const bool came = ask(wires_[kDetachArena].asker, m, kAnswerWithinMs, 1);
      left = came && (m.error == 0 || static_cast<Error>(m.error) == Error::kNotAttached);
      account_.end_detach(left ? Detached::kYes : came ? Detached::kNo : Detached::kUnknown);
      if (left) break;
      account_.drop_all();
      left = resume() == Error::kNotAttached;
    }
    account_.give_up({client::Code::kFailedPrecondition, Error::kNotAttached, "has detached"});
  }

  Result<SlabIndex> take(HeapId heap, const RunShape& request, SuperslabIndex) override {
    if (!kept_.empty() && request.kind == SlabKind::kSlab && kept_.back().second == request.cls) {
      const SlabIndex first = kept_.back().first;
      kept_.pop_back();
      view_.prepare_run(first, heap, request);
      return first;
    }
    const auto deadline = client::DaemonGate::Clock::now() + std::chrono::seconds(10);
    while (client::DaemonGate::Clock::now() < deadline) {
      const auto epoch = account_.enter(deadline);
      if (!epoch.ok()) break;
      Message m = message(Message::kLease, *epoch);
      m.heap = heap.value;
      m.run = request;
      const bool came = ask(wires_[kLeaseSlabs].asker, m, kAnswerWithinMs, 1);
      if (came && m.error != 0 && static_cast<Error>(m.error) != Error::kStaleEpoch)
        return static_cast<Error>(m.error);
      const SlabIndex run{m.slab};
      if (came && m.error == 0 && account_.answered(*epoch, [&] { account_.add_run(run); })) {
        ++leases_done;
        return run;
      }
      account_.want_resume();
    }
    return Error::kDraining;
  }
  void give_back(HeapId, SlabIndex first, std::uint32_t) override {
    const SlabShape shape = view_.shape_of(first);
    if (kept_.size() < 2 && shape.kind() == SlabKind::kSlab) {
      kept_.emplace_back(first, shape.cls());
      return;
    }
    const std::lock_guard lock(mutex_);
    surplus_.push_back(first);
    more_surplus_.notify_one();
  }

 private:
  Message message(Message::Kind kind, std::uint64_t epoch) const {
    Message m;
    m.kind = kind;
    m.session = session_.value;
    m.epoch = epoch;
    return m;
  }

  void return_all() {
    for (;;) {
      SlabIndex run;
      {
        std::unique_lock lock(mutex_);
        more_surplus_.wait(lock, [&] { return over_ || !surplus_.empty(); });
        if (over_) return;
        run = surplus_.front();
        surplus_.pop_front();
      }
      bool returned = false;
      if (const auto epoch = account_.drop({&run, 1})) {
        Message m = message(Message::kReturn, *epoch);
        m.slab = run.value;
        returned = ask(wires_[kReturnSlabs].asker, m, kAnswerWithinMs, 1) && m.error == 0;
      }
      if (!returned) account_.want_resume();
    }
  }

  void resume_now_and_then() {
    for (;;) {
      // Paces the resumes. Nothing waits for it.
      std::this_thread::sleep_for(account_.wants_resume() ? kResumeEvery / 4 : kResumeEvery);
      const std::lock_guard alone(resume_mutex_);
      if (over_) return;
      (void)resume();
    }
  }
  // kInternal: no answer came. With resume_mutex_.
  Error resume() {
    account_.begin_resume();
    for (std::uint32_t first = 0; first < kUnits; first += kUnitsPerPart) {
      const auto part = account_.part(first, first + kUnitsPerPart);
      Message m = message(Message::kResume, part.epoch);
      m.slab = first;
      m.end = first + kUnitsPerPart;
      for (const SlabIndex run : part.runs) m.runs.set(run.value);
      if (!part.heaps.empty()) m.heap = part.heaps.front().value;
      const bool came = ask(wires_[kResumeLeases].asker, m, kAnswerWithinMs, 1);
      if (came && m.error == 0) continue;
      account_.want_resume();
      return came ? static_cast<Error>(m.error) : Error::kInternal;
    }
    account_.end_resume();
    ++resumes_done;
    return Error::kNone;
  }

  const Wire (&wires_)[kMethods];
  const SessionId session_;
  ArenaView& view_;
  client::DaemonGate gate_;
  client::LeaseAccount account_;
  std::vector<std::pair<SlabIndex, ClassId>> kept_;  // of the heap's thread
  std::mutex resume_mutex_;                          // who resumes or detaches
  std::mutex mutex_;
  std::condition_variable more_surplus_;
  std::deque<SlabIndex> surplus_;  // under mutex_
  std::atomic<bool> over_{false};  // set under mutex_
  std::thread returns_, resumes_;
};

class PeerLife {
 public:
  PeerLife(const Stage& stage, std::uint32_t peer, std::uint32_t seed)
      : files_(stage.files),
        wires_(stage.peers[peer]),
        board_(*stage.board),
        me_{session_of(peer)},
        heap_id_{heap_of(peer)},
        random_(seed) {
    attach();
  }

  // Leaves the arena, gives up all that it has there, and comes back.
  void come_back() {
    heap_->publish();
    heap_.reset();
    mine_.clear();
    shared_.clear();
    leases_->detach();
    leases_.reset();
    arena_.reset();
    attach();
  }

  void one() {
    const std::uint32_t what = next() % 32;
    const std::size_t at = next() % kMailboxes;
    if (what < 12) {
      allocate(next() % 40 == 0 ? 150'000 : 64 + next() % 400);
    } else if (what < 17) {
      if (!mine_.empty()) give_up(pick());
    } else if (what < 21) {
      if (mine_.empty()) return;
      const Ref ref = pick();
      std::uint64_t none = 0;
      // Handed on: it stays this session's until somebody takes it over or frees it.
      if (!board_.mail[at].compare_exchange_strong(none, ref.value)) mine_.push_back(ref);
    } else if (what < 25) {
      if (const std::uint64_t ref = board_.mail[at].exchange(0); ref != 0) take_over({ref});
    } else if (what < 27) {
      if (const std::uint64_t ref = board_.mail[at].exchange(0); ref != 0) give_up({ref});
    } else if (what < 29) {
      if (mine_.empty()) return;
      const Ref ref = pick();
      if (arena_->share({ref.value}, me_) != Error::kNone) return;
      shared_.push_back(ref);
      board_.shared_mail[at].store(ref.value);
    } else if (what < 30) {
      const Ref ref{board_.shared_mail[at].load()};
      if (ref.value != 0 && arena_->share({ref.value}, me_) == Error::kNone) shared_.push_back(ref);
    } else if (what < 31) {
      if (shared_.empty()) return;
      [[maybe_unused]] const Error e = heap_->release({shared_.back().value}, me_);
      shared_.pop_back();
    } else {
      heap_->publish();
      heap_->drain();
      if (next() % 8 == 0) heap_->trim();
    }
    if (mine_.size() > 400) give_up(pick());
    if (shared_.size() > 100) {
      [[maybe_unused]] const Error e = heap_->release({shared_.back().value}, me_);
      shared_.pop_back();
    }
  }

  void publish() { heap_->publish(); }
  void drain() { heap_->drain(); }

 private:
  void attach() {
    Message m;
    m.kind = Message::kAttach;
    m.session = me_.value;
    m.number = ++attachments_;
    if (!ask(wires_[kAttachArena].asker, m, kAnswerWithinMs, 100)) ::_exit(6);
    CRASH_POINT("attach.answered");
    auto view = PeerArena::attach(::open(files_.data_path.c_str(), O_RDWR | O_CLOEXEC),
                                  ::open(files_.control_path.c_str(), O_RDWR | O_CLOEXEC), me_);
    if (!view.ok()) ::_exit(3);
    arena_ = std::move(*view);
    leases_ = std::make_unique<MessageLeases>(wires_, me_, heap_id_, *arena_, m.epoch);
    heap_ = std::make_unique<Heap>(*arena_, heap_id_, me_, *leases_);
  }
  std::uint32_t next() {
    random_ = random_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<std::uint32_t>(random_ >> 33);
  }
  Ref pick() {
    const std::size_t i = next() % mine_.size();
    const Ref ref = mine_[i];
    mine_[i] = mine_.back();
    mine_.pop_back();
    return ref;
  }
  std::uint64_t* stamp(Ref ref) {
    const BlockFacts info = arena_->describe({ref.value});
    if (info.state != BlockFacts::State::kHeld) return nullptr;
    return reinterpret_cast<std::uint64_t*>(arena_->data() + info.offset_bytes);
  }
  void allocate(std::uint64_t size) {
    const auto block = heap_->allocate(size, {me_, 0});
    if (!block.ok()) return;
    std::memcpy(arena_->data() + block->offset, &block->ref.value, 8);
    mine_.push_back(block->ref);
  }
  // The stamp is written by whoever allocated the block, so it is another's ref only when two have
  // the block at once. Blocks of the daemon carry none: it maps no data, and whoever takes one over
  // stamps it.
  void give_up(Ref ref) {
    if (std::uint64_t* const s = stamp(ref);
        s != nullptr && *s != ref.value && *s != 0 && same_block(*s, ref.value)) {
      // An older generation's stamp is a block that its allocator never stamped (the daemon's); a
      // newer one is doubled.
      if (generation_after(*s, ref.value)) ++board_.broken_stamps;
    }
    [[maybe_unused]] const Error e = heap_->free(ref);
  }
  void take_over(Ref ref) {
    if (!arena_->acquire({ref.value}, {me_, 2}).ok()) return;
    if (std::uint64_t* const s = stamp(ref); s != nullptr) {
      if (*s != 0 && same_block(*s, ref.value) && generation_after(*s, ref.value))
        ++board_.broken_stamps;
      *s = ref.value;
    }
    mine_.push_back(ref);
  }
  static bool same_block(std::uint64_t a, std::uint64_t b) {
    return kSmallRefs.entry_of(Ref{a}) == kSmallRefs.entry_of(Ref{b});
  }
  static bool generation_after(std::uint64_t a, std::uint64_t b) {
    return ((generation_of(Ref{a}) - generation_of(Ref{b})) & 0x3fffff) - 1 < 0x1fffff;
  }

  const ArenaFiles& files_;
  const Wire (&wires_)[kMethods];
  Board& board_;
  const SessionId me_;
  const HeapId heap_id_;
  std::uint64_t random_;
  std::uint32_t attachments_ = 0;
  std::unique_ptr<PeerArena> arena_;
  std::unique_ptr<MessageLeases> leases_;
  std::unique_ptr<Heap> heap_;
  std::vector<Ref> mine_, shared_;
};

}  // namespace

namespace {

// What Session::close() does after all heaps have published: the daemon ends the session, with all
// that the peer held.
void close_session(const Stage& stage, std::uint32_t peer) {
  CRASH_POINT("close.published");
  Message m;
  m.kind = Message::kClose;
  m.session = session_of(peer);
  if (!ask(stage.peers[peer][kCloseSession].asker, m, kAnswerWithinMs, 100)) ::_exit(5);
  CRASH_POINT("close.answered");
  ++stage.board->closes;
}

}  // namespace

void run_peer(const Stage& stage, std::uint32_t peer, std::uint32_t seed, std::uint64_t operations,
              const Arming& arming) {
  count_in(&stage.board->hits, kPeer0 + peer);
  if (arming.role == kPeer0 + peer) arm(arming.point.c_str(), arming.nth);
  if (arming.hold_returns) hold_at("return.entered", hold_a_return);
  PeerLife life(stage, peer, seed);
  const auto operations_done = [&] {
    return stage.board->operations[peer].load(std::memory_order_relaxed);
  };
  // The last peer closes its session while the others work.
  const bool leaves_early = peer == kPeers - 1;
  const std::uint64_t most = leaves_early ? operations * 3 / 4 : operations;
  const std::uint64_t stay = operations / 4 + peer * 50;  // not all at once
  while (stage.board->stop.load() == 0 && !(leaves_early && operations_done() >= most)) {
    if (operations_done() >= most) {
      ::usleep(200);  // done: lives on, and holds what it holds, until the director has judged
      continue;
    }
    life.one();
    if (stage.board->operations[peer].fetch_add(1, std::memory_order_relaxed) % stay == stay - 1)
      life.come_back();
  }
  life.publish();
  stage.board->published[peer] = 1;
  while (!leaves_early && stage.board->stop.load() == 1) {
    life.drain();
    ::usleep(200);
  }
  close_session(stage, peer);
  ::_exit(0);
}

}  // namespace arenad::crash
