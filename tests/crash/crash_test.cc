// Every crash point, in every role that passes it, at its first, a middle and a random hit: the
// process kills itself there, the others go on, and in the end nothing is lost, nothing is doubled,
// and everything comes home.
#include <dirent.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>

#include "allocator/check/verify.h"
#include "allocator/heap/heap.h"
#include "tests/crash/world.h"
#include "tests/support/refs.h"

namespace arenad::crash {
namespace {

using Clock = std::chrono::steady_clock;

// Only a damaged control file leads there: DamagedCarvedIsAdoptedAllTheSame.
const std::set<std::string> kOnlyAfterDamage = {"adopt.carved"};

std::uint64_t operations_a_peer() {
  const char* given = std::getenv("ARENAD_CRASH_OPERATIONS");
  return given != nullptr ? std::strtoull(given, nullptr, 10) : 2500;
}
std::uint32_t seed_of_run() {
  const char* given = std::getenv("ARENAD_CRASH_SEED");
  return given != nullptr ? static_cast<std::uint32_t>(std::strtoul(given, nullptr, 10)) : 1;
}

struct Scenario {
  Arming arming;
  bool restart = false;  // the daemon is killed in the middle, and peer 0 with it
  std::uint32_t seed = 1;
};

// One run. Everything it starts is gone when it ends.
class Director {
 public:
  explicit Director(const Scenario& scenario) : scenario_(scenario) {
    char pattern[] = "/dev/shm/arenad-crash-XXXXXX";
    directory_ = ::mkdtemp(pattern);
    stage_.files = {directory_ + "/a.data", directory_ + "/a.control", directory_ + "/a.ledger"};
    stage_.board = static_cast<Board*>(
        ::mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    for (auto& wires : stage_.peers)
      for (Wire& w : wires) w = wire();
    stage_.director = wire();
  }
  ~Director() {
    for (const pid_t p : peers_)
      if (p > 0) ::kill(p, SIGKILL), ::waitpid(p, nullptr, 0);
    if (daemon_ > 0) ::kill(daemon_, SIGKILL), ::waitpid(daemon_, nullptr, 0);
    for (const auto& wires : stage_.peers)
      for (const Wire& w : wires) ::close(w.asker), ::close(w.daemon);
    ::close(stage_.director.asker), ::close(stage_.director.daemon);
    std::filesystem::remove_all(directory_);
    ::munmap(stage_.board, sizeof(Board));
  }

  // Empty when all is well.
  std::string play() {
    start_daemon();
    for (std::uint32_t i = 0; i < kPeers; ++i) start_peer(i);
    const std::uint64_t operations = operations_a_peer();
    const auto deadline = Clock::now() + std::chrono::seconds(20);
    bool restarted = !scenario_.restart;
    for (;;) {
      look_for_deaths();
      if (!trouble_.empty()) return trouble_;
      std::uint64_t least = operations;
      for (std::uint32_t i = 0; i < kPeers; ++i)
        if (peers_[i] > 0) least = std::min(least, stage_.board->operations[i].load());
      if (!restarted && least >= operations / 2) {
        restarted = true;
        kill_peer(0);
        ::kill(daemon_, SIGKILL);  // unless it killed itself in a grant already
        continue;
      }
      if (least >= operations) break;
      if (Clock::now() > deadline) return "the survivors did not go on";
      ::usleep(300);
    }
    if (!tell(Message::kVerify) || !exact("after the deaths")) return trouble_;
    // Everybody publishes and drains: what is still on its way then, nobody comes for.
    stage_.board->stop = 1;
    for (bool home = false; !home;) {
      look_for_deaths();
      bool all_published = true;
      for (std::uint32_t i = 0; i < kPeers; ++i)
        all_published = all_published && (peers_[i] <= 0 || stage_.board->published[i] != 0);
      if (!tell(Message::kTrim) || !tell(Message::kVerify) || !exact("when all had published"))
        return trouble_;
      home = all_published && stage_.board->returning == 0;
      if (!home && Clock::now() > deadline)
        return "lost: " + std::to_string(stage_.board->returning) +
               " blocks are RETURNING and nobody is told of them";
      if (!home) ::usleep(300);
    }
    stage_.board->stop = 2;
    for (std::uint32_t i = 0; i < kPeers; ++i) {
      if (peers_[i] <= 0) continue;
      wait_for_close(i);
      if (!trouble_.empty()) return trouble_;
    }
    for (int i = 0; i < 2; ++i)
      if (!tell(Message::kTrim)) return trouble_;
    if (!tell(Message::kVerify) || !exact("at the end")) return trouble_;
    if (stage_.board->left_blocks != 0 || stage_.board->left_units != 0)
      return "lost: " + std::to_string(stage_.board->left_blocks) + " blocks and " +
             std::to_string(stage_.board->left_units) +
             " units are out although everybody is gone\n" + stage_.board->findings;
    if (stage_.board->broken_stamps != 0)
      return "doubled: " + std::to_string(stage_.board->broken_stamps) + " stamps of another";
    if (!scenario_.arming.point.empty() && !killed_itself_)
      return "the process came to its end without passing the point that often";
    return trouble_;
  }
  const Hits& hits() const { return stage_.board->hits; }
  const Board& board() const { return *stage_.board; }

 private:
  static Wire wire() {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    return {ends[0], ends[1]};
  }

  void start_daemon() {
    for (;;) {
      int ready[2];
      if (::pipe(ready) != 0) std::abort();
      const bool again = daemon_starts_++ != 0;
      Arming arming = scenario_.arming;
      if (killed_itself_) arming = {};
      if (!again && scenario_.restart)
        arming = {kDaemon, "prepare.shape", 40};  // granted, and not begun
      std::fflush(nullptr);
      daemon_ = ::fork();
      if (daemon_ == 0) {
        ::close(ready[0]);
        run_daemon(stage_, again, dead_, arming, ready[1]);
      }
      ::close(ready[1]);
      char byte;
      const bool up = ::read(ready[0], &byte, 1) == 1;
      ::close(ready[0]);
      if (up) return;
      int status = 0;  // it died in its recovery (or, armed, in creating the arena)
      ::waitpid(daemon_, &status, 0);
      daemon_ = 0;
      if (!note_death(status, again ? kRecovery : kDaemon)) return;
      if (!again) {  // before there was anything: a new start finds a half-made arena and makes
                     // another
        for (const auto& file :
             {stage_.files.data_path, stage_.files.control_path, stage_.files.ledger_path})
          ::unlink(file.c_str());
        daemon_starts_ = 0;
      }
    }
  }

  void start_peer(std::uint32_t i) {
    std::fflush(nullptr);
    peers_[i] = ::fork();
    if (peers_[i] == 0)
      run_peer(stage_, i, scenario_.seed * 100 + i, operations_a_peer(), scenario_.arming);
  }

  // Peer i closes its session. It, or the daemon, may die over it.
  void wait_for_close(std::uint32_t i) {
    const auto deadline = Clock::now() + std::chrono::seconds(40);
    while (peers_[i] > 0 && trouble_.empty()) {
      look_for_deaths();
      if (Clock::now() > deadline) trouble_ = "a peer did not come to the end of its close";
      ::usleep(300);
    }
  }

  // False, and trouble, when it did not die of SIGKILL.
  bool note_death(int status, std::uint32_t role) {
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
      killed_itself_ = killed_itself_ || scenario_.arming.role == role;
      return true;
    }
    trouble_ = std::string(role_name(role)) + " ended with status " + std::to_string(status);
    return false;
  }

  void bury(std::uint32_t i) {
    peers_[i] = 0;
    dead_.push_back(session_of(i));
    Message m;
    m.kind = Message::kEndSession;
    m.session = session_of(i);
    tell(m);
  }
  void kill_peer(std::uint32_t i) {
    if (peers_[i] <= 0) return;
    ::kill(peers_[i], SIGKILL);
    ::waitpid(peers_[i], nullptr, 0);
    peers_[i] = 0;
    dead_.push_back(session_of(i));  // the daemon hears of it at its restart
  }

  void look_for_deaths() {
    int status = 0;
    if (daemon_ > 0 && ::waitpid(daemon_, &status, WNOHANG) == daemon_) {
      if (note_death(status, daemon_starts_ > 1 ? kRecovery : kDaemon)) start_daemon();
    }
    for (std::uint32_t i = 0; i < kPeers; ++i)
      if (peers_[i] > 0 && ::waitpid(peers_[i], &status, WNOHANG) == peers_[i]) {
        const bool closed_its_session = WIFEXITED(status) && WEXITSTATUS(status) == 0;
        if (!closed_its_session && note_death(status, kPeer0 + i))
          bury(i);
        else
          peers_[i] = 0;
      }
  }

  bool tell(Message::Kind kind) {
    Message m;
    m.kind = kind;
    return tell(m);
  }
  // The daemon may die over it: then the next one is told again.
  bool tell(Message m) {
    for (int attempt = 0; attempt < 400 && trouble_.empty(); ++attempt) {
      Message answer = m;
      if (ask(stage_.director.asker, answer, 50, 1)) return true;
      int status = 0;
      if (daemon_ > 0 && ::waitpid(daemon_, &status, WNOHANG) == daemon_ &&
          note_death(status, daemon_starts_ > 1 ? kRecovery : kDaemon))
        start_daemon();
    }
    if (trouble_.empty()) trouble_ = "the daemon does not answer";
    return false;
  }

  bool exact(const char* when) {
    if (stage_.board->mismatches == 0) return true;
    trouble_ = std::string(when) + ": " + std::to_string(stage_.board->mismatches.load()) +
               " mismatches\n" + stage_.board->findings;
    return false;
  }

  const Scenario scenario_;
  std::string directory_;
  Stage stage_;
  pid_t daemon_ = 0;
  pid_t peers_[kPeers] = {};
  int daemon_starts_ = 0;
  std::vector<std::uint16_t> dead_;
  bool killed_itself_ = false;
  std::string trouble_;
};

std::set<std::string> points_in_the_source() {
  std::set<std::string> names;
  const std::regex pattern("CRASH_POINT\\(\"([a-z_.]+)\"\\)");
  for (const char* folder : {"allocator", "client", "server"})
    for (const auto& entry : std::filesystem::recursive_directory_iterator(
             std::string(ARENAD_SOURCE_DIR "/") + folder)) {
      const std::string path = entry.path().string();
      if (!path.ends_with(".h") && !path.ends_with(".cc")) continue;
      if (path.ends_with("crash_point.h")) continue;
      std::ifstream in(path);
      const std::string text((std::istreambuf_iterator<char>(in)), {});
      for (std::sregex_iterator i(text.begin(), text.end(), pattern), end; i != end; ++i)
        names.insert((*i)[1]);
    }
  return names;
}

using Counts = std::map<std::pair<std::uint32_t, std::string>, std::uint64_t>;  // by role and point

void add(const Hits& hits, Counts& counts) {
  for (const Hits::Point& p : hits.points)
    for (std::uint32_t role = 0; role < kMaxRoles; ++role)
      if (const std::uint64_t n = p.by_role[role].load(); n != 0) counts[{role, p.name}] += n;
}

TEST(CrashPoints, EveryOneIsPassedAndSurvived) {
  const std::uint32_t seed = seed_of_run();
  std::printf("seed %u (ARENAD_CRASH_SEED), %llu operations a peer (ARENAD_CRASH_OPERATIONS)\n",
              seed, static_cast<unsigned long long>(operations_a_peer()));
  // Who passes what, and how often, when nobody is killed but by the scenario itself.
  Counts plain, restarted;
  std::set<std::string> passed = kOnlyAfterDamage, never;
  std::uint64_t rounds = 0;
  // Some are passed only when processes meet in a certain way: as often as it takes, within bounds.
  do {
    for (const bool restart : {false, true}) {
      Director director({{}, restart, seed + static_cast<std::uint32_t>(rounds)});
      ASSERT_EQ(director.play(), "");
      add(director.hits(), restart ? restarted : plain);
      EXPECT_GT(director.board().overtaken, 0u) << "calls of different methods came in order";
      EXPECT_GT(director.board().stale, 0u);
      EXPECT_GT(director.board().resumes, 0u);
      EXPECT_GE(director.board().detaches, restart ? 2u : kPeers);
      EXPECT_GE(director.board().closes, restart ? 1u : kPeers);
    }
    ++rounds;
    for (const Counts* counts : {&plain, &restarted})
      for (const auto& [key, n] : *counts) passed.insert(key.second);
    never.clear();
    for (const std::string& name : points_in_the_source())
      if (!passed.contains(name)) never.insert(name);
  } while (rounds < 2 || (!never.empty() && rounds < 40));
  for (const std::string& name : never) ADD_FAILURE() << "crash point " << name << " was never hit";

  std::uint32_t random = seed, runs = 0, late = 0;
  for (const bool restart : {false, true}) {
    for (const auto& [key, sum] : restart ? restarted : plain) {
      const auto& [role, point] = key;
      // Without a restart there is no restarted daemon; with one only it is new.
      if (restart != (role == kRecovery) || role == kDirector) continue;
      const std::uint64_t n = std::max<std::uint64_t>(sum / rounds, 1);
      std::set<std::uint64_t> at = {1, n / 2 + 1};
      random = random * 1664525 + 1013904223;
      at.insert(random % n + 1);
      for (const std::uint64_t nth : at) {
        // Processes race: a point may be passed less often than in the count. The first hit is
        // there to be had, sooner or later.
        std::string outcome;
        for (int attempt = 0; attempt < (nth == 1 ? 40 : 1); ++attempt) {
          Director director({{role, point, nth}, restart, seed + runs});
          outcome = director.play();
          ++runs;
          if (!outcome.starts_with("the process came to its end")) break;
        }
        if (outcome.starts_with("the process came to its end") && nth != 1) {
          ++late;
          continue;
        }
        EXPECT_EQ(outcome, "") << role_name(role) << " killed at hit " << nth << " of " << point
                               << ", seed " << seed + runs - 1;
      }
    }
  }
  std::printf(
      "crash points: %zu, all passed; %u runs with a kill, %u of them ended before their hit "
      "came\n",
      passed.size(), runs, late);
  EXPECT_LT(late, runs / 3);
}

// A return stands still between its steps, while a resume takes its run back and the run is leased
// again. A ReturnSlabs of the new epoch would then take the run from the heap that uses it.
TEST(CrashPoints, ReturnThatStandsStillForAResumeTakesNothingInUse) {
  for (std::uint32_t run = 0; run < 6; ++run) {
    Director director({.arming = {.hold_returns = true}, .seed = seed_of_run() + run});
    ASSERT_EQ(director.play(), "") << "seed " << seed_of_run() + run;
    EXPECT_GT(director.board().resumes, 0u);
  }
}

// The one store that only a damaged control file leads to: a slab whose header denies blocks that
// are out.
TEST(CrashPoints, DamagedCarvedIsAdoptedAllTheSame) {
  char pattern[] = "/dev/shm/arenad-crash-XXXXXX";
  const std::string directory = ::mkdtemp(pattern);
  const ArenaFiles files{directory + "/a.data", directory + "/a.control", directory + "/a.ledger"};
  {
    ArenaConfig options;
    options.capacity_bytes = 4 << 20;
    options.max_heaps = 64;
    auto arena = Arena::create(options, &files);
    ASSERT_TRUE(arena.ok()) << arena.error().message;
    (*arena)->finish_creation();
    Heap heap(**arena, HeapId{0}, SessionId{7});
    const auto block = heap.allocate(256, {{9}, 0});
    ASSERT_TRUE(block.ok());
    (*arena)->control().slab(slot_of(block->ref).slab()).carved.store(0);
  }
  const auto adopt_all = [&](bool armed) {
    std::fflush(nullptr);
    const pid_t child = ::fork();
    if (child == 0) {
      if (armed) arm("adopt.carved", 1);
      auto ledger = Ledger::open_file(files.ledger_path);
      if (!ledger.ok()) ::_exit(2);
      auto arena = Arena::open(files, std::move(*ledger), false);
      if (!arena.ok()) ::_exit(3);
      Heap heap(**arena, HeapId{1}, SessionId{7});
      std::vector<SlabIndex> runs;
      (*arena)->for_each_run([&](SlabIndex first, RunRecord) { runs.push_back(first); });
      ReapResult result;
      for (const SlabIndex first : runs) heap.adopt(**arena, first, kNoSession, result);
      VerifyReport report;
      verify_heap(heap, &(*arena)->ledger(), report);
      ::_exit((*arena)->quarantined() && report.held == 1 && report.mismatches == 0 ? 0 : 4);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return status;
  };
  const int killed = adopt_all(true), after = adopt_all(false);
  EXPECT_TRUE(WIFSIGNALED(killed) && WTERMSIG(killed) == SIGKILL) << "status " << killed;
  EXPECT_TRUE(WIFEXITED(after) && WEXITSTATUS(after) == 0) << "status " << after;
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace arenad::crash

int main(int argc, char** argv) {
  // Before anything passes a point, so that all processes number them alike.
  static auto* const hits = static_cast<arenad::crash::Hits*>(
      ::mmap(nullptr, sizeof(arenad::crash::Hits), PROT_READ | PROT_WRITE,
             MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  arenad::crash::count_in(hits, arenad::crash::kDirector);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
