// Requests of the services Blocks and Heaps.
//
// Purpose: each call of the input is a method, the bytes of its message, and whether the numbers in
// it are names of refs that were answered before. The bytes are parsed as protobuf, converted as
// server/rpc does, and given to a real shard of a real arena. Three sessions use it: one remote,
// one peer and one reader. The control thread's part (trim rounds, commits, free rounds) is played
// at once.
// What must hold:
// * No crash, and no report of a sanitizer.
// * Each call is answered once. An error has a text. An answer can be serialised.
// * Blocks lie inside the arena and are as many and as large as was asked for. An answer about refs
//   says something of each ref.
// * When the sessions have ended, the arena has no run left, and nobody is charged for anything.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "allocator/base/log.h"
#include "server/core/shard/shard.h"
#include "server/rpc/services/block_messages.h"
#include "server/rpc/services/heap_messages.h"
#include "tests/fuzz/input.h"

namespace arenad::fuzz {
namespace {

using namespace server;  // NOLINT: all that is fuzzed is there

constexpr ArenaId kArena{9};
constexpr SessionKey kRemote{{5}, 1}, kPeer{{6}, 1}, kReader{{7}, 1};

// The control thread's part. It answers from the shard's inbox, as the real one does.
class Control final : public ControlLink {
 public:
  void need_memory(ArenaId arena, ShardId, std::uint64_t ticket) override {
    shard->post([this, arena, ticket] {
      shard->trim(arena);
      shard->trim_round(arena, ticket, {});
    });
  }
  void need_free_round(ArenaId arena, ShardId, std::uint64_t ticket) override {
    shard->post([this, arena, ticket] {
      shard->publish();
      shard->drain(kAllArenas);
      shard->free_round_over(arena, ticket);
    });
  }
  void need_commit(std::shared_ptr<ArenaState> arena, ShardId, std::uint64_t ticket,
                   CommitNeed need) override {
    shard->post([this, arena, ticket, need = std::move(need)] {
      shard->committed(arena, ticket, arena->arena->claim(need.runs));
    });
  }
  void memory_returned(ArenaId arena) override {
    shard->post([this, arena] { shard->retry_parked(arena); });
  }
  void kick_maintenance(ArenaId) override {}

  Shard* shard = nullptr;
};

std::shared_ptr<ArenaState> make_arena() {
  ArenaConfig config;
  config.id = kArena;
  config.capacity_bytes = 2 * kSuperslabBytes;
  config.max_heaps = kHeapIds;
  config.first_generation = 1;
  config.map_data = false;
  auto made = Arena::create(config);
  FUZZ_EXPECT(made.ok(), "the arena can be made");
  (*made)->commit_elsewhere();
  return std::make_shared<ArenaState>(std::move(*made));
}

class World {
 public:
  explicit World(Input& input) : input_(input) {
    shared_.control = &control_;
    control_.shard = &shard_;
    shard_.add_arena(state_);
    attach(kRemote, AttachMode::kRemote, 0);
    attach(kPeer, AttachMode::kPeer, 1);
    attach(kReader, AttachMode::kReader, 2);
  }

  void run() {
    while (!input_.ended()) {
      call();
      settle();
    }
    shard_.fail_parked(Error::kDraining);
    FUZZ_EXPECT(unanswered_ == 0, "each call is answered");
    for (const SessionKey session : {kRemote, kPeer, kReader}) end(session.id);
    shard_.trim(kArena);
    FUZZ_EXPECT(arena().units().taken_units() == 0, "the arena has no run left");
    for (const SessionId session : {kRemote.id, kPeer.id, kReader.id, kNoSession})
      FUZZ_EXPECT(shared_.account.charged_bytes(session) == 0, "nobody is charged for anything");
  }

 private:
  Arena& arena() { return *state_->arena; }
  void attach(SessionKey key, AttachMode mode, std::uint32_t uid) {
    if (mode == AttachMode::kPeer) state_->counts_from_words = true;
    state_->lease_epochs.begin(key.id, {});
    shared_.account.open(key.id, uid == 0 ? 3 << 20 : 0, uid);
    shard_.add_session(key.id, key.secret, uid);
    shard_.attach(key.id, kArena, mode);
    arena().mark_session(key.id, SessionEntry::kLive);
    arena().ledger().set_attach_mode(key.id, static_cast<std::uint8_t>(mode));
  }
  void settle() {
    for (int turns = 0; turns < 4; ++turns) shard_.run_inbox();
    shard_.end_turn();
    shard_.tick(0);
  }
  // As SessionEnds and SessionReap.
  void end(SessionId session) {
    shard_.remove_session(session, Error::kUnknownSession);
    std::vector<SlabIndex> leased;
    arena().for_each_run([&](SlabIndex slab, RunRecord run) {
      if (run.owner() == RunOwner::leased_to(session)) leased.push_back(slab);
    });
    bool adopted = false;
    shard_.adopt(state_, session, {}, std::move(leased),
                 [&](const ReapResult&) { adopted = true; });
    while (!adopted) shard_.run_inbox();
    arena().reap(session);
    shard_.drain(kArena);
    arena().forget_session(session);
  }

  // --- calls

  void call() {
    const std::uint8_t how = input_.u8();
    knows_refs_ = how >= 128;
    message_.clear();
    for (std::size_t count = input_.u8(); count != 0; --count)
      message_ += static_cast<char>(input_.u8());
    switch (how % 10) {
      case 0: return allocate();
      case 1:
        return about_refs<v1::FreeRequest, v1::FreeResponse>([this](auto& r, ArenaId id) {
          return shard_.free(session_from(r.session()), id, refs_of(r.refs()), scope_of(r));
        });
      case 2:
        return about_refs<v1::AcquireRequest, v1::AcquireResponse>([this](auto& r, ArenaId id) {
          return shard_.acquire(session_from(r.session()), id, refs_of(r.refs()), r.tag());
        });
      case 3:
        return about_refs<v1::ShareRequest, v1::ShareResponse>([this](auto& r, ArenaId id) {
          return shard_.share(session_from(r.session()), id, refs_of(r.refs()));
        });
      case 4:
        return about_refs<v1::ReleaseRequest, v1::ReleaseResponse>([this](auto& r, ArenaId id) {
          return shard_.release(session_from(r.session()), id, refs_of(r.refs()));
        });
      case 5: return describe();
      case 6: return open_heap();
      case 7: return lease();
      case 8: return give_back();
      default: return resume();
    }
  }
  template <class Request>
  bool parse(Request& request) const {
    return request.ParseFromString(message_);
  }
  // The number of a ref that was answered stands for that ref.
  void name_refs(google::protobuf::RepeatedField<std::uint64_t>& refs) const {
    if (!knows_refs_ || refs_.empty()) return;
    for (std::uint64_t& ref : refs)
      if (ref < 256) ref = refs_[ref % refs_.size()];
  }
  static void refused(const Failure& failure) {
    FUZZ_EXPECT(failure.error != Error::kNone && !failure.message.empty(), "an error has a text");
    v1::ExchangeError error;
    fill(error, failure);
    FUZZ_EXPECT(error.SerializeAsString().size() > failure.message.size(), "an error is sent");
  }
  template <class Response>
  static void sent(const Response& response) {
    Response read;
    FUZZ_EXPECT(read.ParseFromString(response.SerializeAsString()), "an answer is sent");
  }
  // What a call answers later, once.
  template <class T, class Check>
  Done<T> once(Check check) {
    ++unanswered_;
    return [this, check, answered = false](Answer<T> answer) mutable {
      FUZZ_EXPECT(!std::exchange(answered, true), "a call is answered once");
      --unanswered_;
      if (answer.ok())
        check(*answer);
      else
        refused(answer.error());
    };
  }

  void allocate() {
    v1::AllocateRequest request;
    if (!parse(request)) return;
    const auto id = arena_from(request.arena_id());
    if (!id.ok()) return refused(id.error());
    const AllocateArgs args = args_from(request, session_from(request.session()), *id);
    shard_.allocate(args, once<AllocatedBlocks>([this, args](const AllocatedBlocks& got) {
                      check_blocks(args, got);
                      v1::AllocateResponse response;
                      fill(response, got);
                      sent(response);
                    }));
  }
  void check_blocks(const AllocateArgs& args, const AllocatedBlocks& got) {
    const std::size_t count = args.sizes.empty() ? args.count : args.sizes.size();
    FUZZ_EXPECT(got.blocks.size() == count, "there are as many blocks as were asked for");
    FUZZ_EXPECT(got.usable_bytes.size() == 1 || got.usable_bytes.size() == count,
                "each block has a size");
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint64_t usable = got.usable_bytes[got.usable_bytes.size() == 1 ? 0 : i];
      const std::uint64_t size = args.sizes.empty() ? args.size_bytes : args.sizes[i];
      const std::uint64_t offset = got.blocks[i].offset;
      FUZZ_EXPECT(usable >= size, "a block is large enough");
      FUZZ_EXPECT(offset <= arena().capacity_bytes() && usable <= arena().capacity_bytes() - offset,
                  "a block lies inside the arena");
      FUZZ_EXPECT(args.align_bytes == 0 || offset % args.align_bytes == 0, "a block is aligned");
      if (refs_.size() < 256) refs_.push_back(got.blocks[i].ref.value);
    }
  }
  template <class Request, class Response, class Call>
  void about_refs(const Call& call) {
    Request request;
    if (!parse(request)) return;
    name_refs(*request.mutable_refs());
    const auto id = arena_from(request.arena_id());
    if (!id.ok()) return refused(id.error());
    const Answer<PerRefAnswer> answer = call(request, *id);
    if (!answer.ok()) return refused(answer.error());
    FUZZ_EXPECT(
        answer->done + answer->errors.size() == static_cast<std::size_t>(request.refs_size()),
        "each ref is done, or has an error");
    for (const RefFailure& failure : answer->errors)
      FUZZ_EXPECT(request.refs(static_cast<int>(failure.index)) == failure.ref.value,
                  "an error is about a ref of the request");
    Response response;
    fill(response, *answer);
    sent(response);
  }
  void describe() {
    v1::DescribeRequest request;
    if (!parse(request)) return;
    name_refs(*request.mutable_refs());
    const auto id = arena_from(request.arena_id());
    if (!id.ok()) return refused(id.error());
    const UntrustedRefs refs = refs_of(request.refs());
    const auto facts = shard_.describe(session_from(request.session()), *id, refs);
    if (!facts.ok()) return refused(facts.error());
    FUZZ_EXPECT(facts->size() == refs.size(), "each ref is described");
    for (const BlockFacts& block : *facts)
      FUZZ_EXPECT(block.offset_bytes + block.usable_bytes <= arena().capacity_bytes(),
                  "a look stays inside the arena");
    v1::DescribeResponse response;
    fill(response, *facts, refs);
    sent(response);
  }

  void open_heap() {
    v1::OpenHeapRequest request;
    if (!parse(request)) return;
    const auto id = arena_from(request.arena_id());
    if (!id.ok()) return refused(id.error());
    const auto heap = shard_.open_heap(caller_from(request, *id));
    if (!heap.ok()) return refused(heap.error());
    FUZZ_EXPECT(heap->value >= kFirstPeerHeap.value && heap->value < kHeapIds,
                "a peer's heap is none of the shards'");
  }
  void lease() {
    v1::LeaseSlabsRequest request;
    if (!parse(request)) return;
    const auto args = args_from(request);
    if (!args.ok()) return refused(args.error());
    shard_.lease_slabs(*args, once<LeasedSlabs>([this, args = *args](const LeasedSlabs& leased) {
      FUZZ_EXPECT(!leased.slabs.empty() && leased.slabs.size() <= args.count,
                  "a lease is one slab at least, and no more than was asked for");
      for (const SlabIndex slab : leased.slabs)
        FUZZ_EXPECT(slab.value < arena().unit_count() &&
                        arena().ledger().run(slab).owner() == RunOwner::leased_to(args.session.id),
                    "a lease is written down");
      v1::LeaseSlabsResponse response;
      fill(response, leased);
      sent(response);
    }));
  }
  void give_back() {
    v1::ReturnSlabsRequest request;
    if (!parse(request)) return;
    const auto id = arena_from(request.arena_id());
    if (!id.ok()) return refused(id.error());
    const auto answer = shard_.return_slabs(caller_from(request, *id), slabs_from(request.slabs()));
    if (!answer.ok()) return refused(answer.error());
    FUZZ_EXPECT(
        answer->returned + answer->refused.size() == static_cast<std::size_t>(request.slabs_size()),
        "each slab is returned or refused");
    v1::ReturnSlabsResponse response;
    fill(response, *answer);
    sent(response);
  }
  void resume() {
    v1::ResumeRequest request;
    if (!parse(request)) return;
    const auto id = arena_from(request.arena_id());
    if (!id.ok()) return refused(id.error());
    const auto known = args_from(request);
    if (!known.ok()) return refused(known.error());
    const auto answer = shard_.resume(caller_from(request, *id), *known);
    if (!answer.ok()) return refused(answer.error());
    v1::ResumeResponse response;
    fill(response, *answer);
    sent(response);
  }

  Input& input_;
  Control control_;
  SharedState shared_{0};
  const std::shared_ptr<ArenaState> state_ = make_arena();
  Shard shard_{{0}, 1, shared_};
  bool knows_refs_ = false;
  std::string message_;
  std::vector<std::uint64_t> refs_;
  int unanswered_ = 0;
};

}  // namespace
}  // namespace arenad::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const bool quiet = [] {
    arenad::set_log_sink([](std::string_view) {});
    return true;
  }();
  arenad::fuzz::Input input({data, quiet ? size : 0});
  arenad::fuzz::World(input).run();
  return 0;
}
