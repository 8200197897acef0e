// An arena with some heaps, as most allocator tests need it.
//
// Purpose: ArenaWithHeaps makes an arena and heaps 0..n-1 (owners: sessions 1..n), allocates for
//   session kHolder, and checks the arena with verify() at the end of each test that did not say it
//   broke it.
// Threads: a test's own affair; the heaps belong to whoever the test says.
// Crash: private to the test.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "allocator/arena/arena.h"
#include "allocator/base/tunables.h"
#include "allocator/check/verify.h"
#include "allocator/heap/heap.h"
#include "tests/support/refs.h"
#include "tests/support/sizes.h"

namespace arenad {

inline constexpr Holder kHolder{{77}, 7};

inline std::string findings_of(const VerifyReport& report) {
  std::string all = std::to_string(report.mismatches) + " mismatches";
  for (const std::string& f : report.findings) all += "\n  " + f;
  return all;
}

class ArenaWithHeaps : public testing::Test {
 protected:
  // Makes the arena; call first in a test. `heaps` heaps, ids from 0.
  void make(std::uint64_t capacity_bytes, std::uint16_t heaps = 1,
            Layout layout = Layout::plain()) {
    ArenaConfig options;
    options.capacity_bytes = capacity_bytes;
    options.layout = layout;
    options.debug = debug_;
    options.debug.redzones |= layout == Layout::redzoned();
    options.max_heaps = 64;
    auto created = Arena::create(options);
    ASSERT_TRUE(created.ok()) << created.error().message;
    arena_ = std::move(*created);
    for (std::uint16_t i = 0; i < heaps; ++i)
      heaps_.push_back(std::make_unique<Heap>(*arena_, HeapId{i},
                                              SessionId{static_cast<std::uint16_t>(i + 1)}, use_));
  }

  void TearDown() override {
    if (arena_ == nullptr || broken_on_purpose_) return;
    arena_->drop_touched();  // what heaps need is committed, and stays
    expect_exact();
  }

  Arena& arena() { return *arena_; }
  Heap& heap(std::size_t i = 0) { return *heaps_[i]; }
  ControlView& control() { return arena_->control(); }

  VerifyReport report() const {
    std::vector<const Heap*> all;
    for (const auto& h : heaps_) all.push_back(h.get());
    return verify(*arena_, all);
  }
  void expect_exact() const {
    const VerifyReport r = report();
    EXPECT_TRUE(r.exact()) << findings_of(r);
  }

  // `count` blocks of `size` from heap i; each must succeed.
  std::vector<Allocation> take(std::size_t count, std::uint64_t size, std::size_t i = 0) {
    std::vector<Allocation> blocks;
    for (std::size_t n = 0; n < count; ++n) {
      const auto b = heap(i).allocate(size, kHolder);
      EXPECT_TRUE(b.ok()) << error_name(b.error()) << " at block " << n;
      if (!b) break;
      blocks.push_back(*b);
    }
    return blocks;
  }
  // As many as there are.
  std::vector<Allocation> take_all(std::uint64_t size, std::size_t i = 0) {
    std::vector<Allocation> blocks;
    for (;;) {
      const auto b = heap(i).allocate(size, kHolder);
      if (!b) {
        EXPECT_EQ(b.error(), Error::kArenaFull);
        return blocks;
      }
      blocks.push_back(*b);
    }
  }
  void give(const std::vector<Allocation>& blocks, std::size_t i = 0) {
    for (const Allocation& b : blocks) EXPECT_EQ(heap(i).free(b.ref), Error::kNone);
  }
  AtomicWord& word(Ref ref) { return arena_->word(slot_of(ref)); }

  // All heaps give back what they can; nothing may be left taken when no block is out.
  void trim_all() {
    for (auto& h : heaps_) h->publish();
    for (auto& h : heaps_) h->trim();
  }

  std::unique_ptr<Arena> arena_;
  std::vector<std::unique_ptr<Heap>> heaps_;
  HeapUse use_ = HeapUse::kOwnProcess;  // of heaps that make() makes
  DebugFlags debug_;                    // of arenas that make() makes
  bool broken_on_purpose_ = false;      // set by tests that damage the arena: no final verify
};

// The allocator's toggles as they were, when the test is over.
class KeepTunables {
 public:
  KeepTunables()
      : enable_(tunables().p0_enable),
        no_drain_(tunables().p0_no_drain),
        log_(tunables().p0_log),
        guards_(tunables().guards_private),
        disable_(tunables().p0_disable) {}
  ~KeepTunables() {
    tunables().p0_enable = enable_;
    tunables().p0_no_drain = no_drain_;
    tunables().p0_log = log_;
    tunables().guards_private = guards_;
    tunables().p0_disable = disable_;
  }
  KeepTunables(const KeepTunables&) = delete;
  KeepTunables& operator=(const KeepTunables&) = delete;

 private:
  bool enable_, no_drain_, log_, guards_, disable_;
};

}  // namespace arenad
