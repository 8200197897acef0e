// CorePeer: what a peer process does at the command of a test. It has a heap, on slabs that the
// test has leased for it.
//
// Each command follows the word "peer". Each is answered with one line:
//
//   attach SESSION HEAP          "attached" or the reason why not. Maps the arena of the last token
//                                and makes a heap
//   give CLASS SLAB...           "stock=N". Slabs leased to the session, which the heap may take
//   allocate SIZE COUNT          "got=N refs=R,R,.." with the first 64 refs, or "got=N error=NAME"
//   free REF...                  "done=N", or "done=N error=NAME" of the first that failed.
//                                acquire, share and release work and answer in the same way
//   unpublished REF...           the same as free, but the owners are not told
//   trim                         "slabs=S,S,..": what the heap has given back or never took
//   drain                        "blocks=N" that came home
//   scribble SLAB                "scribbled". Spoils the slab's header
//   flip SEED COUNT              "flipped=N". Spoils so many bits of control memory
//   cut BYTES                    "cut". Cuts the control file short
//   churn SEED TAKES             no answer. Works until it is killed (peer_churn.h)
//
// Threads: one. Crash: the test kills the process.
#pragma once

#include <unistd.h>

#include <deque>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "allocator/arena/peer_arena.h"
#include "allocator/heap/heap.h"
#include "tests/core/peer_churn.h"

namespace arenad::server {

// Gives the heap what the test gave it, and is full when that is gone.
class GivenSlabs final : public SlabSource {
 public:
  explicit GivenSlabs(ArenaView& arena) : arena_(arena) {}
  Result<SlabIndex> take(HeapId heap, const RunShape& request, SuperslabIndex) override {
    auto& stock = stock_[request.cls];
    if (stock.empty()) return Error::kArenaFull;
    const SlabIndex slab = stock.front();
    stock.pop_front();
    arena_.prepare_run(slab, heap, request);
    return slab;
  }
  void give_back(HeapId, SlabIndex first, std::uint32_t) override { returned_.push_back(first); }
  void put(ClassId cls, SlabIndex slab) { stock_[cls].push_back(slab); }
  std::size_t stock() const {
    std::size_t n = 0;
    for (const auto& [cls, slabs] : stock_) n += slabs.size();
    return n;
  }
  std::vector<SlabIndex> all_back() {
    std::vector<SlabIndex> slabs = std::move(returned_);
    for (auto& [cls, left] : stock_) slabs.insert(slabs.end(), left.begin(), left.end());
    returned_.clear();
    stock_.clear();
    return slabs;
  }

 private:
  ArenaView& arena_;
  std::map<ClassId, std::deque<SlabIndex>> stock_;
  std::vector<SlabIndex> returned_;
};

class CorePeer {
 public:
  std::string command(std::istringstream& words, int data_fd, int control_fd) {
    std::string verb;
    words >> verb;
    std::ostringstream line;
    if (verb == "attach") {
      std::uint32_t session = 0, heap = 0;
      words >> session >> heap;
      auto arena = PeerArena::attach(::dup(data_fd), ::dup(control_fd),
                                     {static_cast<std::uint16_t>(session)});
      if (!arena.ok()) return arena.error().message;
      session_ = {static_cast<std::uint16_t>(session)};
      arena_ = std::move(*arena);
      slabs_ = std::make_unique<GivenSlabs>(*arena_);
      heap_ = std::make_unique<Heap>(*arena_, HeapId{static_cast<std::uint16_t>(heap)}, session_,
                                     *slabs_);
      return "attached";
    }
    if (heap_ == nullptr) return "not attached";
    if (verb == "give") {
      std::uint32_t cls = 0, slab = 0;
      words >> cls;
      while (words >> slab) slabs_->put({static_cast<std::uint8_t>(cls)}, {slab});
      line << "stock=" << slabs_->stock();
    } else if (verb == "allocate") {
      std::uint64_t size = 0, count = 0, got = 0;
      words >> size >> count;
      std::string refs;
      for (; got < count; ++got) {
        const auto block = heap_->allocate(size, {session_, 7});
        if (!block.ok()) {
          line << "got=" << got << " error=" << error_name(block.error());
          return line.str();
        }
        if (got < 64) refs += (got == 0 ? "" : ",") + std::to_string(block->ref.value);
      }
      line << "got=" << got << " refs=" << refs;
    } else if (verb == "trim") {
      heap_->trim();
      line << "slabs=";
      const char* comma = "";
      for (const SlabIndex slab : slabs_->all_back())
        line << std::exchange(comma, ",") << slab.value;
    } else if (verb == "drain") {
      line << "blocks=" << heap_->drain();
    } else if (verb == "scribble") {
      std::uint32_t slab = 0;
      words >> slab;
      arena_->control().slab({slab}).shape.store(0x1234567);
      arena_->control().slab({slab}).carved.store(0xffffffff);
      return "scribbled";
    } else if (verb == "cut") {
      long left = 0;
      words >> left;
      return ::ftruncate(arena_->control_fd(), left) == 0 ? "cut" : "not cut";
    } else if (verb == "flip") {
      std::uint64_t seed = 0, count = 0;
      words >> seed >> count;
      BitFlipper(*arena_, seed).flip(count);
      line << "flipped=" << count;
    } else if (verb == "forge") {
      std::uint32_t session = 0;
      std::uint64_t ref = 0;
      for (words >> session; words >> ref;) {
        AtomicWord& word = arena_->word(arena_->refs().slot_of(Ref{ref}));
        word.store(BlockWord::held(BlockWord::free_of(word.load()),
                                   {{static_cast<std::uint16_t>(session)}, 0}));
      }
      return "forged";
    } else if (verb == "churn") {
      std::uint64_t seed = 0;
      bool takes = false;
      words >> seed >> takes;
      churn_for_ever(*heap_, session_, seed, takes);
    } else {
      std::uint64_t ref = 0, done = 0;
      while (words >> ref) {
        const Error e = change(verb, ref);
        if (e != Error::kNone) {
          line << "done=" << done << " error=" << error_name(e);
          return line.str();
        }
        ++done;
      }
      if (verb != "unpublished") heap_->publish();
      line << "done=" << done;
    }
    return line.str();
  }

 private:
  Error change(const std::string& verb, std::uint64_t ref) {
    if (verb == "free" || verb == "unpublished") return heap_->free(Ref{ref});
    if (verb == "share") return arena_->share({ref}, session_);
    if (verb == "release") return heap_->release({ref}, session_);
    if (verb == "acquire") {
      const auto before = arena_->acquire({ref}, {session_, 9});
      return before.ok() ? Error::kNone : before.error();
    }
    return Error::kInvalidOption;
  }

  SessionId session_;
  std::unique_ptr<PeerArena> arena_;
  std::unique_ptr<GivenSlabs> slabs_;
  std::unique_ptr<Heap> heap_;
};

}  // namespace arenad::server
