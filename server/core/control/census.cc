#include "server/core/control/census.h"

#include <array>
#include <bit>
#include <utility>

#include "server/core/shard/run_words.h"

namespace arenad::server {
namespace {

// Labels are the clients' own, as many as they like: so many are told apart, the rest goes to its
// session's label 0.
constexpr std::size_t kMostHolders = 65536;

// One arena being counted. Neighbours mostly have one holder, who is looked up once.
class Counter {
 public:
  explicit Counter(const Arena& arena) : arena_(arena) {
    for (std::uint32_t i = 0; i < kMaxSharers; ++i) {
      const std::uint32_t session =
          arena.control().sharers().sessions[i].load(std::memory_order_acquire);
      sharers_[i] = session < kReaperSession.value ? SessionId{static_cast<std::uint16_t>(session)}
                                                   : kNoSession;
    }
  }

  void run(SlabIndex first, RunRecord run) {
    const RunCut cut = cut_of(arena_, first, run);
    const auto stride = static_cast<std::int64_t>(cut.stride_bytes);
    const SessionId lessee = run.owner().lessee();
    std::uint64_t free = 0, out = 0;
    for_each_word(arena_, first, cut, [&](BlockWord word) {
      switch (word.tag()) {
        case BlockTag::kFree: ++free; return;
        case BlockTag::kReturning: ++out; return;
        case BlockTag::kHeld: hold(word.holder(), stride); break;
        case BlockTag::kShared:
          for (std::uint64_t bits = word.sharers(); bits != 0; bits &= bits - 1)
            hold(Holder(sharers_[static_cast<std::size_t>(std::countr_zero(bits))], 0), stride);
      }
      ++out;
      census_.held.add(1, stride);
    });
    if (lessee != kNoSession) lease(lessee, run, cut, free, out);
  }

  ArenaCensus take() {
    for (const ClassUsage& usage : by_class_)
      if (usage.slabs != 0) census_.leased.push_back(usage);
    return std::move(census_);
  }

 private:
  void hold(Holder holder, std::int64_t stride) {
    if (last_ == nullptr || holder != last_holder_) {
      const bool known =
          census_.by_holder.size() < kMostHolders || census_.by_holder.contains(holder);
      last_ = &census_.by_holder[known ? holder : Holder(holder.session(), 0)];
      last_holder_ = holder;
    }
    last_->add(1, stride);
  }

  void lease(SessionId session, RunRecord run, const RunCut& cut, std::uint64_t free,
             std::uint64_t out) {
    const std::uint64_t bytes = run.bytes();
    census_.leases[session].add(1, static_cast<std::int64_t>(bytes));
    ClassUsage& usage = by_class_[run.cls().value];
    usage.cls = run.cls();
    ++usage.slabs;
    usage.active_slabs += out != 0;
    usage.capacity_blocks += cut.capacity;
    usage.active_blocks += cut.carved;
    usage.cached_blocks += free;
    usage.uncarved_blocks += cut.capacity - cut.carved;
    usage.slab_bytes += bytes;
  }

  const Arena& arena_;
  ArenaCensus census_;
  std::array<SessionId, kMaxSharers> sharers_{};
  std::array<ClassUsage, kSpanClass.value + 1> by_class_{};
  Holder last_holder_;
  HeldShare* last_ = nullptr;
};

}  // namespace

HeldShare ArenaCensus::lease_sum() const {
  HeldShare sum;
  for (const auto& [session, share] : leases) sum += share;
  return sum;
}

HeldShare ArenaCensus::held_by(SessionId session) const {
  HeldShare sum;
  for (auto at = by_holder.lower_bound(Holder(session, 0));
       at != by_holder.end() && at->first.session() == session; ++at)
    sum += at->second;
  return sum;
}

HeldShare ArenaCensus::leased_by(SessionId session) const {
  const auto found = leases.find(session);
  return found == leases.end() ? HeldShare() : found->second;
}

std::map<SessionId, HeldShare> ArenaCensus::by_session() const {
  std::map<SessionId, HeldShare> sessions;
  for (const auto& [holder, share] : by_holder) sessions[holder.session()] += share;
  return sessions;
}

ArenaCensus take_census(const Arena& arena) {
  Counter counter(arena);
  arena.for_each_run([&counter](SlabIndex first, RunRecord run) { counter.run(first, run); });
  return counter.take();
}

void Census::start() {
  thread_ = std::thread([this] { run(); });
}

void Census::stop() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  asked_.notify_one();
  thread_.join();
}

void Census::count(std::vector<std::shared_ptr<ArenaState>> arenas, Done done) {
  {
    const std::lock_guard lock(mutex_);
    requests_.push_back({std::move(arenas), std::move(done)});
  }
  asked_.notify_one();
}

void Census::run() {
  for (;;) {
    std::vector<Request> requests;
    {
      std::unique_lock lock(mutex_);
      asked_.wait(lock, [this] { return stopping_ || !requests_.empty(); });
      if (requests_.empty()) return;
      requests.swap(requests_);
    }
    std::map<const ArenaState*, std::shared_ptr<const ArenaCensus>> counted;
    for (Request& request : requests) {
      CensusResult result;
      for (const auto& state : request.arenas) {
        auto& census = counted[state.get()];
        if (census == nullptr)
          census = std::make_shared<const ArenaCensus>(take_census(*state->arena));
        result[state->arena->id()] = census;
      }
      request.done(std::move(result));
    }
  }
}

}  // namespace arenad::server
