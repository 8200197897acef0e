// Requests of the services Arenas, Sessions and Admin.
//
// Purpose: each call of the input is a method, who makes it, and the bytes of its message. The
// bytes are parsed as protobuf, converted as server/rpc does, and given to a real engine with one
// shard. Names, ids and keys in a message may stand for those that were answered before. The engine
// serves all inputs, one after another. What must hold:
// * No crash, and no report of a sanitizer.
// * Each call is answered once. An error has a text. An answer can be serialised.
// * Who is no administrator changes nothing that is not theirs.
// * After an input, when its sessions are closed and its arenas are deleted, nothing is left.
#include <google/protobuf/stubs/logging.h>

#include <cstdint>
#include <future>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "allocator/base/log.h"
#include "server/core/control/engine.h"
#include "server/rpc/services/admin_messages.h"
#include "server/rpc/services/arena_messages.h"
#include "server/rpc/services/session_messages.h"
#include "server/rpc/services/wire_ids.h"
#include "tests/core/thread_loop.h"
#include "tests/fuzz/input.h"
#include "tests/support/temporary_directory.h"

namespace arenad::fuzz {
namespace {

using namespace server;  // NOLINT: all that is fuzzed is there

constexpr std::uint32_t kUid = 1000;

Caller user(bool is_admin) {
  auto made = std::make_shared<Principal>();
  made->uid = is_admin ? 0 : kUid;
  made->gid = made->uid;
  made->is_admin = is_admin;
  return made;
}

// The engine and its shard's thread. It lives as long as the process.
class Daemon {
 public:
  static Daemon& one() {
    static auto* const daemon = new Daemon;
    return *daemon;
  }
  ControlApi& control() { return engine_->control(); }
  ShardApi& shard() { return engine_->shard({0}); }

 private:
  Daemon() {
    EngineOptions options;
    options.directory = directory_.path();
    options.limits.max_arenas = 8;
    options.limits.max_sessions = 8;
    options.limits.max_total_bytes = 64 << 20;
    options.limits.max_arena_bytes = 32 << 20;
    auto started = Engine::start(std::move(options));
    FUZZ_EXPECT(started.ok(), "the engine starts");
    engine_ = std::move(*started);
    loop_ = std::make_unique<ThreadLoop>(*engine_, ShardId{0});
  }

  const test::TemporaryDirectory directory_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<ThreadLoop> loop_;
};

class World {
 public:
  explicit World(Input& input) : input_(input) {}

  void run() {
    for (int calls = 0; !input_.ended() && calls < 64; ++calls) call();
    clean_up();
  }

 private:
  ControlApi& control() { return Daemon::one().control(); }

  // What the call answers. It is answered once: a second answer would find the promise satisfied.
  template <class T, class Call>
  Answer<T> answer(const Call& call) {
    auto promise = std::make_shared<std::promise<Answer<T>>>();
    auto future = promise->get_future();
    call(Done<T>([promise](Answer<T> answered) { promise->set_value(std::move(answered)); }));
    return future.get();
  }
  // The same, and what is said of an answer.
  template <class T, class Response = void, class Call>
  Answer<T> told(const Call& call) {
    Answer<T> answered = answer<T>(call);
    if (!answered.ok()) {
      FUZZ_EXPECT(answered.error().error != Error::kNone && !answered.error().message.empty(),
                  "an error has a text");
    } else if constexpr (!std::is_void_v<Response>) {
      Response response, read;
      fill(response, *answered);
      FUZZ_EXPECT(read.ParseFromString(response.SerializeAsString()), "an answer is sent");
    }
    return answered;
  }

  void call() {
    const std::uint8_t how = input_.u8();
    is_admin_ = how >= 128;
    caller_ = user(is_admin_);
    message_.clear();
    for (std::size_t count = input_.u8(); count != 0; --count)
      message_ += static_cast<char>(input_.u8());
    switch (how % 16) {
      case 0: return create();
      case 1: return get();
      case 2: return list();
      case 3: return remove();
      case 4: return open();
      case 5: return attach();
      case 6: return detach();
      case 7: return close();
      case 8: return list_sessions();
      case 9: return look();
      case 10: return holders();
      case 11: return audit();
      case 12: return set_tunables();
      case 13: return evict();
      case 14: return limit();
      default: return allocate();
    }
  }
  template <class Request>
  bool parse(Request& request) const {
    return request.ParseFromString(message_);
  }
  // An empty name stands for an arena that was created, a number for a key that was answered.
  const std::string& known(const std::string& name) const {
    return name.empty() && !arenas_.empty() ? arenas_.back() : name;
  }
  SessionKey known(const v1::SessionKey& key) const {
    if (key.secret() != 0 || keys_.empty()) return session_from(key);
    return keys_[key.id() % keys_.size()];
  }

  // --- Arenas

  void create() {
    v1::CreateArenaRequest request;
    if (!parse(request)) return;
    auto args = args_from(request);
    if (!args.ok()) return;
    const auto made = told<ArenaFacts, v1::Arena>(
        [&](auto done) { control().create_arena(caller_, std::move(*args), std::move(done)); });
    if (!made.ok()) return;
    FUZZ_EXPECT(made->name == request.name(), "an arena has the name that was asked for");
    FUZZ_EXPECT(made->capacity_bytes >= request.capacity_bytes() &&
                    made->capacity_bytes <= std::uint64_t{32} << 20,
                "an arena has at least the capacity that was asked for");
    FUZZ_EXPECT(is_admin_ || (made->access.uid == kUid && !made->locked),
                "who is no administrator owns what they create, and locks nothing");
    arenas_.push_back(made->name);
  }
  void get() {
    v1::GetArenaRequest request;
    if (!parse(request)) return;
    (void)told<ArenaFacts, v1::Arena>(
        [&](auto done) { control().get_arena(caller_, known(request.name()), std::move(done)); });
  }
  void list() {
    v1::ListArenasRequest request;
    if (!parse(request)) return;
    const auto page = told<Page<ArenaFacts>, v1::ListArenasResponse>([&](auto done) {
      control().list_arenas(caller_, request.page_size(), request.page_token(), std::move(done));
    });
    if (page.ok()) FUZZ_EXPECT(page->items.size() <= 8, "no more arenas than there can be");
  }
  void remove() {
    v1::DeleteArenaRequest request;
    if (!parse(request)) return;
    const std::string name = known(request.name());
    const auto owner = answer<ArenaFacts>(
        [&](auto done) { control().get_arena(user(true), name, std::move(done)); });
    const auto removed = told<Nothing>([&](auto done) {
      control().delete_arena(caller_, name, request.force(), std::move(done));
    });
    if (!removed.ok()) return;
    FUZZ_EXPECT(is_admin_ || (owner.ok() && owner->access.uid == kUid), "it was theirs");
    std::erase(arenas_, name);
  }

  // --- Sessions

  void open() {
    v1::OpenSessionRequest request;
    if (!parse(request)) return;
    const auto opened = told<OpenedSession, v1::OpenSessionResponse>([&](auto done) {
      control().open_session(caller_,
                             {.name = request.name(),
                              .limit_bytes = request.limit_bytes(),
                              .reserve_bytes = request.reserve_bytes()},
                             std::move(done));
    });
    if (opened.ok()) keys_.push_back(opened->key);
  }
  void attach() {
    v1::AttachArenaRequest request;
    if (!parse(request)) return;
    // The geometry is valid inside the callback only.
    std::promise<Answer<ArenaId>> promise;
    auto future = promise.get_future();
    control().attach_arena(known(request.session()), known(request.arena()), mode_from(request),
                           [&](Answer<AttachedArena> attached) {
                             if (!attached.ok()) return promise.set_value(attached.error());
                             v1::AttachArenaResponse response, read;
                             fill(response, *attached);
                             FUZZ_EXPECT(read.ParseFromString(response.SerializeAsString()),
                                         "an answer is sent");
                             promise.set_value(attached->arena.id);
                           });
    const Answer<ArenaId> id = future.get();
    if (id.ok()) last_arena_ = *id;
  }
  void detach() {
    v1::DetachArenaRequest request;
    if (!parse(request)) return;
    const auto id =
        request.arena_id() == 0 ? Answer<ArenaId>(last_arena_) : arena_from(request.arena_id());
    if (!id.ok()) return;
    (void)told<GivenBack>([&](auto done) {
      control().detach_arena(known(request.session()), *id, {request.epoch()},
                             request.give_up_blocks(), std::move(done));
    });
  }
  void close() {
    v1::CloseSessionRequest request;
    if (!parse(request)) return;
    const SessionKey key = known(request.session());
    (void)told<GivenBack>([&](auto done) { control().close_session(key, std::move(done)); });
  }
  void list_sessions() {
    v1::ListSessionsRequest request;
    if (!parse(request)) return;
    const auto page = told<Page<SessionFacts>, v1::ListSessionsResponse>([&](auto done) {
      control().list_sessions(caller_, request.page_size(), request.page_token(), std::move(done));
    });
    if (!page.ok() || is_admin_) return;
    for (const SessionFacts& session : page->items)
      FUZZ_EXPECT(session.uid == kUid, "who is no administrator sees no session of others");
  }

  // --- Admin

  void look() {
    v1::GetStatsRequest request;
    if (!parse(request)) return;
    const std::string& name = known(request.arena());
    (void)told<DaemonStats, v1::Stats>(
        [&](auto done) { control().get_stats(caller_, name, std::move(done)); });
    (void)told<std::vector<SlabInfoRow>, v1::GetSlabInfoResponse>(
        [&](auto done) { control().slab_info(caller_, name, std::move(done)); });
    (void)told<std::vector<TunableFacts>, v1::Tunables>(
        [&](auto done) { control().get_tunables(std::move(done)); });
    only_for_administrators(told<TrimFacts, v1::TrimArenasResponse>(
        [&](auto done) { control().trim(caller_, name, std::move(done)); }));
  }
  void holders() {
    v1::ListHoldersRequest request;
    if (!parse(request)) return;
    (void)told<Holders, v1::ListHoldersResponse>([&](auto done) {
      control().list_holders(caller_, known(request.arena()), request.limit(), std::move(done));
    });
  }
  void audit() {
    v1::AuditRequest request;
    if (!parse(request)) return;
    if (is_admin_ && std::exchange(audited_, true)) return;  // there is a pause between two
    const auto audited = told<AuditResult, v1::AuditReport>(
        [&](auto done) { control().audit(caller_, known(request.arena()), std::move(done)); });
    only_for_administrators(audited);
  }
  void set_tunables() {
    v1::SetTunablesRequest request;
    if (!parse(request)) return;
    const auto before = answer<std::vector<TunableFacts>>(
        [&](auto done) { control().get_tunables(std::move(done)); });
    const std::vector<std::pair<std::string, std::string>> values(request.values().begin(),
                                                                  request.values().end());
    const auto set = told<std::vector<TunableFacts>, v1::Tunables>(
        [&](auto done) { control().set_tunables(caller_, values, std::move(done)); });
    only_for_administrators(set);
    std::vector<std::pair<std::string, std::string>> as_before;
    for (const TunableFacts& tunable : *before) as_before.emplace_back(tunable.name, tunable.value);
    FUZZ_EXPECT(answer<std::vector<TunableFacts>>([&](auto done) {
                  control().set_tunables(user(true), as_before, std::move(done));
                }).ok(),
                "what GetTunables says can be set");
  }
  void evict() {
    v1::EvictSessionRequest request;
    if (!parse(request)) return;
    SessionId id = session_id_from(request.session_id());
    if (id == kNoSession && !keys_.empty()) id = keys_.back().id;
    only_for_administrators(
        told<GivenBack>([&](auto done) { control().evict_session(caller_, id, std::move(done)); }));
  }
  void limit() {
    v1::SetSessionLimitRequest request;
    if (!parse(request)) return;
    SessionId id = session_id_from(request.session_id());
    if (id == kNoSession && !keys_.empty()) id = keys_.back().id;
    only_for_administrators(told<SessionLimitFacts, v1::SetSessionLimitResponse>([&](auto done) {
      control().limit_session(caller_, id, request.limit_bytes(), std::move(done));
    }));
  }
  template <class T>
  void only_for_administrators(const Answer<T>& answered) const {
    FUZZ_EXPECT(is_admin_ || !answered.ok(), "it is for administrators");
  }

  // So that sessions hold something.
  void allocate() {
    if (keys_.empty()) return;
    AllocateArgs args;
    args.session = keys_[input_.u8() % keys_.size()];
    args.arena_id = last_arena_;
    args.size_bytes = input_.u16();
    args.count = 1 + input_.u8() % 4;
    ShardApi& shard = Daemon::one().shard();
    (void)answer<AllocatedBlocks>([&](auto done) {
      shard.post([&shard, args, done = std::move(done)] { shard.allocate(args, done); });
    });
  }

  void clean_up() {
    for (const SessionKey key : keys_)
      (void)answer<GivenBack>([&](auto done) { control().close_session(key, std::move(done)); });
    for (const std::string& name : arenas_)
      (void)answer<Nothing>(
          [&](auto done) { control().delete_arena(user(true), name, true, std::move(done)); });
    // A session whose grace was over ends by itself meanwhile.
    while (!answer<Page<SessionFacts>>([&](auto done) {
              control().list_sessions(user(true), 0, "", std::move(done));
            })->items.empty())
      std::this_thread::yield();
    const auto arenas = answer<Page<ArenaFacts>>(
        [&](auto done) { control().list_arenas(user(true), 0, "", std::move(done)); });
    FUZZ_EXPECT(arenas->items.empty(), "no arena is left");
  }

  Input& input_;
  bool is_admin_ = false;
  bool audited_ = false;
  Caller caller_;
  std::string message_;
  std::vector<std::string> arenas_;
  std::vector<SessionKey> keys_;
  ArenaId last_arena_{1};
};

}  // namespace
}  // namespace arenad::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const bool quiet = [] {
    arenad::set_log_sink([](std::string_view) {});
    google::protobuf::SetLogHandler(nullptr);  // it says when text is not UTF-8
    return true;
  }();
  arenad::fuzz::Input input({data, quiet ? size : 0});
  arenad::fuzz::World(input).run();
  return 0;
}
