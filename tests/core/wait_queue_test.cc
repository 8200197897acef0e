// Calls that wait for memory, with a kind of call whose outcome the test decides.
#include "server/core/shard/wait_queue.h"

#include <map>

#include "server/core/api/clock.h"
#include "server/core/api/text.h"
#include "tests/core/shard_parts.h"

namespace arenad::server {
namespace {

// A call with a name. It answers with its name when the test lets it.
struct NamedArgs {
  SessionKey session;
  ArenaId arena_id;
  std::uint32_t wait_ms = 0;
  std::string name;
};

struct NamedCall {
  using Args = NamedArgs;
  using Out = std::string;
  static constexpr Need kNeed = Need::kChange;

  Failure check(const Args& args, const ArenaSlot&) const {
    return args.name.empty() ? Failure{Error::kInvalidSize, "no name"} : Failure{};
  }
  Error attempt(const Access&, const Args& args, Out& out) {
    tried.push_back(args.name);
    const auto found = errors.find(args.name);
    if (found != errors.end() && found->second != Error::kNone) return found->second;
    out = args.name;
    return Error::kNone;
  }
  Failure refusal(Error e, const Args& args, const ArenaSlot&) const {
    return {e, "refused " + args.name};
  }
  static std::string asked_for(const Args& args) { return "the call " + args.name; }
  static CommitNeed need(const Args& args, const ArenaSlot& slot) {
    return {args.session.id, 7, 1, {{slot.arena.geometry().span_shape(32), 1}}};
  }

  std::map<std::string, Error> errors;
  std::vector<std::string> tried;
};

class Waits : public ShardParts {
 protected:
  // The answer, when there is one: the call's name, or the name of its error.
  const std::string* call(const std::string& name, std::uint32_t wait_ms = 0) {
    return call(alice, name, wait_ms);
  }
  const std::string* call(SessionKey session, const std::string& name, std::uint32_t wait_ms) {
    waits.serve(kind, {session, arena, wait_ms, name}, [this, name](Answer<std::string> answer) {
      EXPECT_FALSE(answers.contains(name)) << name << " was answered twice";
      if (!answer.ok()) messages[name] = answer.error().message;
      answers[name] = answer.ok() ? *answer : error_name(answer.error().error);
    });
    return answer_of(name);
  }
  const std::string* answer_of(const std::string& name) {
    const auto found = answers.find(name);
    return found == answers.end() ? nullptr : &found->second;
  }
  void full(const std::string& name) { kind.errors[name] = Error::kArenaFull; }
  void free(const std::string& name) { kind.errors.erase(name); }

  Alarm alarm{zero.inbox};
  WaitQueue waits{{0}, zero.tables, shared, alarm};
  NamedCall kind;
  std::map<std::string, std::string> answers, messages;
};

TEST_F(Waits, OrdinaryCallIsAnsweredInside) {
  ASSERT_NE(call("a"), nullptr);
  EXPECT_EQ(*answer_of("a"), "a");
  EXPECT_TRUE(control.tickets.empty());
}

TEST_F(Waits, WrongRequestIsNeverAttempted) {
  ASSERT_NE(call(""), nullptr);
  EXPECT_EQ(*answer_of(""), "INVALID_SIZE");
  EXPECT_TRUE(kind.tried.empty());
}

TEST_F(Waits, ErrorThatMemoryCannotCureIsNotParked) {
  kind.errors["a"] = Error::kQuarantined;
  ASSERT_NE(call("a"), nullptr);
  EXPECT_EQ(messages["a"], "refused a");
  EXPECT_TRUE(control.tickets.empty());
}

TEST_F(Waits, FullCallFailsAfterTheRoundForItsTicketAndNotBefore) {
  full("a");
  full("b");
  EXPECT_EQ(call("a"), nullptr);
  EXPECT_EQ(call("b"), nullptr);
  ASSERT_EQ(control.tickets, (std::vector<std::uint64_t>{1, 2}));
  EXPECT_EQ(state->waiting, 2u);
  UsageSummary usage;
  usage.held_bytes = 1 << 20;
  usage.biggest_holders = "session 5 'x'";
  waits.trim_round(arena, 1, usage);
  ASSERT_NE(answer_of("a"), nullptr);
  EXPECT_EQ(*answer_of("a"), "ARENA_FULL");
  for (const char* part : {"no room for the call a", "1 MiB are held", "session 5 'x'"})
    EXPECT_NE(messages["a"].find(part), std::string::npos) << messages["a"];
  EXPECT_EQ(answer_of("b"), nullptr);
  free("b");
  waits.trim_round(arena, 2, usage);
  EXPECT_EQ(*answer_of("b"), "b");
  EXPECT_EQ(state->waiting, 0u);
}

TEST_F(Waits, WaitersAreServedInOrderAndALaterOneIsNotEvenTried) {
  full("first");
  EXPECT_EQ(call("first", 60'000), nullptr);
  EXPECT_EQ(call("second", 60'000), nullptr);  // it would fit
  kind.tried.clear();
  waits.retry(arena);
  EXPECT_EQ(kind.tried, (std::vector<std::string>{"first"}));
  EXPECT_EQ(answer_of("second"), nullptr);
  ASSERT_NE(call("hasty"), nullptr);  // a caller that does not wait may try
  free("first");
  waits.retry(arena);
  EXPECT_NE(answer_of("first"), nullptr);
  EXPECT_NE(answer_of("second"), nullptr);
}

TEST_F(Waits, NobodyWaitsBehindAnotherUsersCall) {
  constexpr std::uint32_t kForEver = ~std::uint32_t{0};
  attach(bob, AttachMode::kRemote, 1000);
  full("greedy");
  full("modest");
  EXPECT_EQ(call("greedy", kForEver), nullptr);
  EXPECT_NE(call(bob, "at once", 60'000), nullptr);
  EXPECT_EQ(call(bob, "modest", 60'000), nullptr);
  free("modest");
  waits.retry(arena);
  ASSERT_NE(answer_of("modest"), nullptr);
  EXPECT_EQ(*answer_of("modest"), "modest");
  EXPECT_EQ(answer_of("greedy"), nullptr);
}

TEST_F(Waits, UserHasOnlySoManyPlaces) {
  shared.max_user_waiting_calls = 2;
  attach(bob, AttachMode::kRemote, 1000);
  for (const char* name : {"a", "b", "c", "d"}) full(name);
  EXPECT_EQ(call("a", 60'000), nullptr);
  EXPECT_EQ(call("b"), nullptr);
  ASSERT_NE(call("c", 60'000), nullptr);
  EXPECT_EQ(*answer_of("c"), "QUOTA_USER");
  for (const char* part : {"2 calls", "uid 0", "max_user_waiting_calls"})
    EXPECT_NE(messages["c"].find(part), std::string::npos) << messages["c"];
  EXPECT_EQ(call(bob, "d", 60'000), nullptr) << "another user has places of their own";
  waits.fail_session(alice.id, Error::kUnknownSession);
  EXPECT_EQ(state->waiting, 1u);
  full("e");
  EXPECT_EQ(call("e", 60'000), nullptr) << "places come back";
}

TEST_F(Waits, ExpiredWaitFailsAtTheTickAfterItsDeadlineAndNotBefore) {
  full("a");
  EXPECT_EQ(call("a", 60'000), nullptr);
  const std::uint64_t now = now_ns();
  EXPECT_LE(waits.tick(now), now + 10 * kNsPerMs);  // it looks again soon
  EXPECT_EQ(answer_of("a"), nullptr);
  waits.tick(now + 60'001 * kNsPerMs);
  ASSERT_NE(answer_of("a"), nullptr);
  EXPECT_EQ(*answer_of("a"), "WAIT_EXPIRED");
  EXPECT_NE(messages["a"].find("waited 60000 ms for the call a"), std::string::npos);
}

TEST_F(Waits, WaiterAsksForRoundsOfItsOwnAccordNowAndThen) {
  full("a");
  EXPECT_EQ(call("a", 60'000), nullptr);
  const std::uint64_t now = now_ns();
  waits.tick(now);
  EXPECT_EQ(control.returned, 1);
  waits.tick(now + 50 * kNsPerMs);
  EXPECT_EQ(control.returned, 1);
  waits.tick(now + 101 * kNsPerMs);
  EXPECT_EQ(control.returned, 2);
}

TEST_F(Waits, ParkedWaiterMakesTheAlarmRingEarlier) {
  alarm.set(~std::uint64_t{0});
  full("a");
  call("a", 60'000);
  EXPECT_LT(alarm.next_ns(), now_ns() + 11 * kNsPerMs);
}

TEST_F(Waits, FreedMemoryServesThisShardsWaitersAndTellsOfOthers) {
  full("a");
  EXPECT_EQ(call("a", 60'000), nullptr);
  waits.memory_came_back(zero.slot());
  EXPECT_EQ(answer_of("a"), nullptr);
  EXPECT_EQ(control.returned, 1);  // somebody waits still
  free("a");
  waits.memory_came_back(zero.slot());
  EXPECT_NE(answer_of("a"), nullptr);
  EXPECT_EQ(control.returned, 1);
  waits.memory_came_back(zero.slot());
  EXPECT_EQ(control.returned, 1);  // nobody waits
}

TEST_F(Waits, CallAtALimitIsRefusedWhenAFreeRoundHasNotHelped) {
  for (const Error limit : {Error::kQuotaSession, Error::kQuotaUser}) {
    control.free_rounds.clear();
    kind.errors["a"] = limit;
    EXPECT_EQ(call("a"), nullptr);
    ASSERT_EQ(control.free_rounds.size(), 1u);
    EXPECT_TRUE(control.tickets.empty());
    waits.free_round_over(arena, control.free_rounds[0]);
    ASSERT_NE(answer_of("a"), nullptr);
    EXPECT_EQ(*answer_of("a"), error_name(limit));
    EXPECT_EQ(control.free_rounds.size(), 1u) << "one round for a call";
    answers.erase("a");
  }
}

TEST_F(Waits, CallThatGoesFromOneLimitToTheOtherWaitsForOneRound) {
  kind.errors["a"] = Error::kQuotaUser;
  EXPECT_EQ(call("a"), nullptr);
  kind.errors["a"] = Error::kQuotaSession;
  waits.retry(arena);
  EXPECT_EQ(answer_of("a"), nullptr);
  EXPECT_EQ(control.free_rounds, (std::vector<std::uint64_t>{1}));
  waits.free_round_over(arena, 1);
  EXPECT_EQ(*answer_of("a"), "QUOTA_SESSION");
}

TEST_F(Waits, CallThatMayHaveMoreAfterAFreeRoundIsServed) {
  kind.errors["a"] = Error::kQuotaSession;
  EXPECT_EQ(call("a"), nullptr);
  free("a");
  waits.free_round_over(arena, 1);
  EXPECT_EQ(*answer_of("a"), "a");
}

TEST_F(Waits, CallInAFullArenaAsksForMemoryAfterAFreeRound) {
  kind.errors["a"] = Error::kQuotaSession;
  EXPECT_EQ(call("a"), nullptr);
  full("a");
  waits.free_round_over(arena, 1);
  EXPECT_EQ(answer_of("a"), nullptr);
  EXPECT_EQ(control.tickets, (std::vector<std::uint64_t>{2}));
}

TEST_F(Waits, EndOfTheSessionFailsItsCallsAndNoOthers) {
  full("a");
  call("a", 60'000);
  waits.fail_session(bob.id, Error::kUnknownSession);
  EXPECT_EQ(answer_of("a"), nullptr);
  waits.fail_session(alice.id, Error::kUnknownSession);
  EXPECT_EQ(*answer_of("a"), "UNKNOWN_SESSION");
  EXPECT_EQ(state->waiting, 0u);
}

TEST_F(Waits, CallForWhichMemoryIsCommittedHoldsUpNobody) {
  kind.errors["big"] = Error::kCommitNeeded;
  EXPECT_EQ(call("big", 60'000), nullptr);
  ASSERT_EQ(control.commits, (std::vector<std::uint64_t>{1}));
  ASSERT_EQ(control.need.runs.size(), 1u);
  EXPECT_EQ(control.need.runs[0].shape.units, 32u);
  EXPECT_EQ(control.need.session, alice.id);
  EXPECT_EQ(control.need.part_bytes, 7u);
  EXPECT_TRUE(control.tickets.empty()) << "a trim round would not help";
  EXPECT_EQ(state->waiting, 0u);
  EXPECT_NE(call("small", 60'000), nullptr);
  kind.tried.clear();
  waits.retry(arena);
  EXPECT_TRUE(kind.tried.empty());
  free("big");
  waits.committed(arena, 1, {.ticket = 1, .runs = 1});
  ASSERT_NE(answer_of("big"), nullptr);
  EXPECT_EQ(*answer_of("big"), "big");
  EXPECT_EQ(state->waiting, 0u);
}

TEST_F(Waits, CommitThatIsRefusedTwiceAndATrimRoundBetweenFailTheCall) {
  kind.errors["big"] = Error::kCommitNeeded;
  EXPECT_EQ(call("big"), nullptr);
  waits.committed(arena, 1, {.ticket = 1, .error = Error::kMachineFull});
  EXPECT_EQ(answer_of("big"), nullptr);
  ASSERT_EQ(control.tickets, (std::vector<std::uint64_t>{2}));
  EXPECT_EQ(state->waiting, 1u);
  waits.retry(arena);
  EXPECT_EQ(control.commits.size(), 1u)
      << "the trim round is not over, and peers are not asked yet";
  EXPECT_EQ(state->waiting, 1u);
  waits.trim_round(arena, 2, {});
  EXPECT_EQ(answer_of("big"), nullptr) << "what was trimmed may have to be committed";
  ASSERT_EQ(control.commits, (std::vector<std::uint64_t>{1, 2}));
  waits.committed(arena, 2, {.ticket = 2, .error = Error::kMachineFull});
  ASSERT_NE(answer_of("big"), nullptr);
  EXPECT_EQ(*answer_of("big"), "MACHINE_FULL");
  EXPECT_EQ(state->waiting, 0u);
}

TEST_F(Waits, CommitThatBroughtLessIsTriedWithOnceAndThenItIsARefusal) {
  kind.errors["big"] = Error::kCommitNeeded;
  EXPECT_EQ(call("big"), nullptr);
  waits.committed(arena, 1, {.ticket = 1, .runs = 3, .error = Error::kArenaFull});
  EXPECT_EQ(control.commits.size(), 2u);
  EXPECT_TRUE(control.tickets.empty());
  waits.committed(arena, 1, {.ticket = 2, .runs = 3, .error = Error::kArenaFull});
  EXPECT_EQ(control.commits.size(), 2u);
  EXPECT_EQ(control.tickets.size(), 1u);
  EXPECT_EQ(answer_of("big"), nullptr);
}

TEST_F(Waits, WaitMayExpireWhileMemoryIsCommitted) {
  kind.errors["big"] = Error::kCommitNeeded;
  EXPECT_EQ(call("big", 60'000), nullptr);
  waits.tick(now_ns() + 60'001 * kNsPerMs);
  ASSERT_NE(answer_of("big"), nullptr);
  EXPECT_EQ(*answer_of("big"), "WAIT_EXPIRED");
  waits.committed(arena, 1, {.ticket = 1, .runs = 1});
  EXPECT_EQ(state->waiting, 0u);
}

TEST_F(Waits, EndOfTheDaemonFailsAllCalls) {
  full("a");
  full("b");
  call("a", 60'000);
  call("b");
  waits.fail_all(Error::kDraining);
  EXPECT_EQ(*answer_of("a"), "DRAINING");
  EXPECT_EQ(*answer_of("b"), "DRAINING");
}

TEST_F(Waits, TicksLookAtAnArenaAsLongAsCallsWaitThere) {
  const auto next_look = [this] { return waits.tick(now_ns()); };
  constexpr std::uint64_t kNever = ~std::uint64_t{0};
  EXPECT_EQ(next_look(), kNever);
  for (const std::string name : {"a", "b"}) {
    full(name);
    call(name, 60'000);
    EXPECT_LT(next_look(), kNever);
    free(name);
    waits.retry(arena);
    EXPECT_EQ(*answer_of(name), name);
    EXPECT_EQ(next_look(), kNever);
  }
  full("c");
  call("c", 60'000);
  const auto slot = zero.tables.remove_arena(arena);
  waits.forget(*slot);
  EXPECT_EQ(next_look(), kNever) << "and never at an arena that is gone";
  waits.fail_all(*slot, Error::kUnknownArena);
}

TEST_F(Waits, CallbackThatCallsAgainFindsTheQueueInOrder) {
  full("a");
  waits.serve(kind, {alice, arena, 60'000, "a"}, [this](const Answer<std::string>& answer) {
    EXPECT_TRUE(answer.ok());
    full("again");
    call("again", 60'000);
  });
  free("a");
  waits.retry(arena);
  EXPECT_EQ(answer_of("again"), nullptr);
  EXPECT_EQ(zero.slot().parked.size(), 1u);
  EXPECT_EQ(state->waiting, 1u);
  free("again");
  waits.retry(arena);
  EXPECT_NE(answer_of("again"), nullptr);
}

}  // namespace
}  // namespace arenad::server
