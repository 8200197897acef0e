// One thread, two heaps, random typed operations against a model of what must be held: a std::map.
#include <cstring>
#include <map>

#include "tests/allocator/arena_fixture.h"
#include "tests/allocator/log_lines.h"
#include "tests/allocator/seed.h"

namespace arenad {
namespace {

struct Expected {
  std::uint64_t size = 0;
  std::uint64_t usable = 0;
  Holder holder;
  std::uint64_t offset = 0;
  std::byte fill{};
};

class ModelTest : public ArenaWithHeaps {
 protected:
  void start(std::uint64_t seed, Layout layout) {
    random_.seed(seed);
    heaps_.clear();
    model_.clear();
    ends_.clear();
    dead_.clear();
    make(24 * kMiB, 2, layout);
  }
  std::uint64_t pick(std::uint64_t below) { return random_() % below; }
  std::uint64_t random_size() {
    switch (pick(20)) {
      case 0: return 1 + pick(1 << 20);
      case 1: return 1 + pick(200000);
      case 2:
      case 3: return 1 + pick(20000);
      default: return 1 + pick(1000);
    }
  }
  std::map<std::uint64_t, Expected>::iterator any() {
    auto it = model_.lower_bound(random_() >> (random_() % 40));
    return it != model_.end() ? it : model_.begin();
  }

  void allocate() {
    const std::uint64_t size = random_size();
    const Holder holder{{static_cast<std::uint16_t>(10 + pick(4))},
                        static_cast<std::uint32_t>(pick(100))};
    const bool plain = arena().geometry().layout() == Layout::plain();
    const std::uint32_t align = plain && pick(4) == 0 ? 1u << pick(13) : 0;
    std::vector<Allocation> got(pick(8) == 0 ? 1 + pick(30) : 1);
    const Error e = heap(pick(2)).allocate_batch(size, align, holder, got);
    if (e != Error::kNone) {
      ASSERT_EQ(e, Error::kArenaFull);
      return;
    }
    for (const Allocation& b : got) {
      const BlockFacts info = arena().describe({b.ref.value});
      ASSERT_EQ(info.state, BlockFacts::State::kHeld);
      ASSERT_EQ(info.offset_bytes, b.offset);
      ASSERT_GE(info.usable_bytes, size);
      ASSERT_TRUE(align == 0 || b.offset % align == 0);
      const auto after = ends_.lower_bound(b.offset);
      ASSERT_TRUE(after == ends_.end() || after->first >= b.offset + info.usable_bytes)
          << "overlaps the next block";
      ASSERT_TRUE(after == ends_.begin() || std::prev(after)->second <= b.offset)
          << "overlaps the block before";
      ends_[b.offset] = b.offset + info.usable_bytes;
      const auto fill = static_cast<std::byte>(random_());
      std::memset(arena().data() + b.offset, static_cast<int>(fill), size);
      ASSERT_TRUE(
          model_.emplace(b.ref.value, Expected{size, info.usable_bytes, holder, b.offset, fill})
              .second)
          << "a ref given out twice";
    }
  }
  // Before a free: afterwards the bytes may be anybody's.
  void expect_untouched(const Expected& block) {
    const std::byte* payload = arena().data() + block.offset;
    ASSERT_EQ(payload[0], block.fill);
    ASSERT_EQ(payload[block.size - 1], block.fill);
  }
  void forget(std::map<std::uint64_t, Expected>::iterator it) {
    ends_.erase(it->second.offset);
    if (dead_.size() < 1000)
      dead_.push_back(it->first);
    else
      dead_[pick(dead_.size())] = it->first;
    model_.erase(it);
  }
  void free_one() {
    const auto it = any();
    if (it == model_.end()) return;
    expect_untouched(it->second);
    Heap& by = heap(pick(2));
    if (pick(2) == 0) {
      ASSERT_EQ(by.free(Ref{it->first}), Error::kNone);
    } else {
      const FreeOutcome out = by.free_checked(
          {it->first}, {99}, pick(2) == 0 ? kNoSession : it->second.holder.session());
      ASSERT_EQ(out.error, Error::kNone);
      ASSERT_EQ(out.holder.session(), it->second.holder.session());
      ASSERT_EQ(out.holder.tag(), it->second.holder.tag());
      ASSERT_EQ(arena().control().findings().count, 0u);
    }
    forget(it);
  }
  void free_dead() {
    if (dead_.empty()) return;
    const std::uint64_t ref = dead_[pick(dead_.size())];
    ASSERT_NE(heap(pick(2)).free_checked({ref}, {99}, kNoSession).error, Error::kNone);
    ASSERT_FALSE(arena().acquire({ref}, kHolder).ok());
    ASSERT_NE(arena().describe({ref}).state, BlockFacts::State::kHeld);
  }
  void take_over() {
    const auto it = any();
    if (it == model_.end()) return;
    const Holder to{{static_cast<std::uint16_t>(10 + pick(4))},
                    static_cast<std::uint32_t>(pick(100))};
    const auto before = arena().acquire({it->first}, to);
    ASSERT_TRUE(before.ok());
    ASSERT_EQ(before->session(), it->second.holder.session());
    it->second.holder = to;
  }
  void reap() {
    const SessionId dead{static_cast<std::uint16_t>(10 + pick(4))};
    std::uint64_t count = 0;
    for (auto it = model_.begin(); it != model_.end();) {
      const auto here = it++;
      if (here->second.holder.session() != dead) continue;
      expect_untouched(here->second);
      forget(here);
      ++count;
    }
    ASSERT_EQ(arena().reap(dead).blocks, count);
  }
  void keep_house() {
    Heap& h = heap(pick(2));
    switch (pick(7)) {
      case 0: h.publish(); break;
      case 1: h.drain(); break;
      case 2: h.trim(); break;
      case 3: h.idle_tick(); break;
      case 4: ASSERT_TRUE(arena().commit_ahead(2).ok()); break;
      case 5: arena().decommit_idle(1); break;
      case 6: tunables().p0_enable = !tunables().p0_enable; break;
    }
  }
  void check() {
    const VerifyReport r = report();
    ASSERT_TRUE(r.exact()) << findings_of(r);
    ASSERT_EQ(r.held, model_.size());
  }
  void run(int steps) {
    for (int i = 0; i < steps; ++i) {
      SCOPED_TRACE("step " + std::to_string(i));
      const std::uint64_t what = pick(100);
      const bool growing = i / 500 % 2 == 0;
      if (what < (growing ? 55u : 35u))
        allocate();
      else if (what < 90)
        free_one();
      else if (what < 93)
        free_dead();
      else if (what < 95)
        take_over();
      else
        keep_house();
      if (i % 1000 == 999) reap();
      if (i % 250 == 0) check();
      if (HasFatalFailure()) return;
    }
    check();
    while (!model_.empty()) {
      expect_untouched(model_.begin()->second);
      ASSERT_EQ(heap(0).free(Ref{model_.begin()->first}), Error::kNone);
      forget(model_.begin());
    }
    trim_all();
    trim_all();
    EXPECT_EQ(arena().units().taken_units(), 0u);
  }

  KeepTunables keep_;
  std::mt19937_64 random_;
  std::map<std::uint64_t, Expected> model_;      // by ref
  std::map<std::uint64_t, std::uint64_t> ends_;  // offset -> end
  std::vector<std::uint64_t> dead_;              // refs that must be refused for ever
};

TEST_F(ModelTest, RandomOperationsAgreeWithTheModelInEveryLayout) {
  const std::uint64_t seed = test_seed();
  for (const Layout layout : {Layout::plain(), Layout::headered(), Layout::redzoned()}) {
    start(seed, layout);
    run(8000);
    if (HasFatalFailure()) return;
  }
}

TEST_F(ModelTest, RandomOperationsAgreeWithTheModelWithDebugFlags) {
  const LogLines logged;
  for (const char* letters : {"P", "U", "ZPU"}) {
    debug_ = *parse_debug(letters);
    start(test_seed(), Layout::plain());
    run(8000);
    if (HasFatalFailure()) return;
    EXPECT_EQ(LogLines::take_one(), "");
  }
}

TEST_F(ModelTest, RandomOperationsPassThePrivateGuards) {
  tunables().guards_private = true;
  start(test_seed(), Layout::plain());
  run(4000);
}

}  // namespace
}  // namespace arenad
