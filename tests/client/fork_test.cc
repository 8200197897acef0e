// fork in a process that is attached and at work: the child gets errors, the parent goes on.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <optional>
#include <thread>
#include <vector>

#include "tests/client/client_fixture.h"

namespace arenad::client {
namespace {

// Runs `body` in a forked child; its answer, or -1 when it crashed or hung.
int in_child(const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(60);
    ::_exit(body());
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

bool is_forked(const Status& status) {
  return status.code == Code::kFailedPrecondition && status.reason == Error::kForked &&
         status.message.find("exec") != std::string::npos;
}

class ForkTest : public ClientTest {};

TEST_F(ForkTest, EveryUseInTheChildAnswersForked) {
  auto peer = attach(AttachMode::kPeer);
  auto writer = attach(AttachMode::kWriter);
  Exchange exchange = must(Exchange::open(writer.arena));
  CallPump pump = must(CallPump::open(writer.arena));
  pump.allocate(1, 64);
  Block block = must(peer.arena.allocate(64));
  Block written = must(writer.arena.allocate(64));
  const Ref ref = block.ref();
  const std::span refs(&ref, 1);
  EXPECT_EQ(in_child([&] {
              int step = 1;
              for (const ArenaHandle& arena : {peer.arena, writer.arena}) {
                if (!is_forked(arena.allocate(64).error())) return step;
                if (arena.try_allocate(64).error() != Error::kForked) return step + 1;
                if (arena.try_free(ref) != Error::kForked) return step + 2;
                if (!is_forked(arena.free(ref))) return step + 3;
                if (!is_forked(arena.free(refs).error())) return step + 4;
                if (!is_forked(arena.acquire(refs).error())) return step + 5;
                if (!is_forked(arena.describe(refs).error())) return step + 6;
                if (!is_forked(arena.share(refs).error())) return step + 7;
                if (!is_forked(arena.take(ref).error())) return step + 8;
                if (!is_forked(arena.allocate_many(8, 8).error())) return step + 9;
                // The child does not have the mapping.
                if (!arena.data().empty() || !arena.writable_data().empty()) return step + 10;
                step += 20;
              }
              if (!is_forked(Client::connect(shared_daemon().socket_dir()).error())) return 50;
              if (!is_forked(client.get_arena(arena_name).error())) return 51;
              if (!is_forked(Session::open(client).error())) return 52;
              if (!is_forked(peer.session.attach(arena_name, AttachMode::kPeer).error())) return 53;
              if (!is_forked(peer.session.close().error())) return 54;
              if (!is_forked(block.free())) return 55;
              if (exchange.allocate(64, 1).error().code == Code::kOk) return 56;
              if (pump.next(10) != nullptr) return 57;
              if (!is_forked(Admin(client).stats().error())) return 58;
              if (peer.session.standing() != SessionStanding::kClosed) return 59;
              if (writer.session.alive()) return 60;
              return 0;
            }),
            0);
  EXPECT_TRUE(block.free().ok());
  EXPECT_TRUE(written.free().ok());
  const auto* done = pump.next(30'000);
  ASSERT_NE(done, nullptr);
  EXPECT_TRUE(done->status.ok());
}

TEST_F(ForkTest, DestructorsInTheChildDoNothing) {
  std::optional<Attached> peer = attach(AttachMode::kPeer), writer = attach(AttachMode::kWriter);
  std::optional<Exchange> exchange = must(Exchange::open(writer->arena));
  std::optional<CallPump> pump = must(CallPump::open(writer->arena));
  std::vector<Block> blocks;
  for (int i = 0; i < 100; ++i)
    blocks.push_back(must((i % 2 == 0 ? peer : writer)->arena.allocate(64)));
  EXPECT_EQ(in_child([&] {
              blocks.clear();
              exchange.reset();
              pump.reset();
              peer.reset();
              writer.reset();
              client = {};
              std::thread([] {}).join();  // whose end looks for heaps to give back
              return 0;
            }),
            0);
  EXPECT_EQ(facts().held_blocks, 100u);
  for (Block& block : blocks) EXPECT_TRUE(block.free().ok());
  EXPECT_TRUE(peer->session.alive());
  EXPECT_TRUE(exchange->allocate(64, 1).ok());
  ExchangeReply reply;
  EXPECT_TRUE(exchange->receive(reply).ok());
}

TEST_F(ForkTest, ParentUnderLoadGoesOnUndisturbed) {
  auto a = attach(AttachMode::kPeer);
  Workers workers;
  for (int t = 0; t < 3; ++t)
    workers.start([&, t] {
      std::vector<Block> blocks(200);
      for (std::uint32_t i = 0; workers.go_on(); ++i) {
        auto block = a.arena.allocate(16 + (i * 37 + t) % 3000);
        ASSERT_TRUE(block.ok()) << block.error().text();
        blocks[i % blocks.size()] = std::move(*block);
      }
    });
  Block mine = must(a.arena.allocate(64));
  for (int i = 0; i < 20; ++i)
    EXPECT_EQ(
        in_child([&] {
          if (a.arena.try_allocate(64).error() != Error::kForked) return 1;
          int wrong = 0;
          std::thread([&] { wrong = a.arena.try_allocate(64).error() != Error::kForked; }).join();
          if (wrong != 0) return 2;
          const Block dropped = std::move(mine);
          return 0;
        }),
        0);
  workers.stop();
  workers.join();
  EXPECT_TRUE(mine.free().ok());
  EXPECT_TRUE(a.session.alive());
}

}  // namespace
}  // namespace arenad::client
