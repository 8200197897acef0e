"""Memory that is set aside for a session: whatever others take, it is there.

Needs root, which makes the other users' processes.
"""
import threading

import pytest

from client import MIB, WRITER
from daemon import wait_until
from other_user import Refused

GREEDY, VICTIM = 65534, 65533
MOST, RESERVE = 64 * MIB, 16 * MIB
SIZES = (12 * MIB, 2 * MIB, 300_000, 64 * 1024, 5000, 64)


@pytest.fixture
def daemon(start_daemon):
    return start_daemon(*limits(MOST))


def limits(most):
    return (
        *("--shards", "2", "--keepalive-grace-ms", "600000", "--commit-ahead-superslabs", "0"),
        *("--max-total-bytes", str(most), "--max-user-bytes", str(MOST)),
    )


def refused(reason, call, *args, **named):
    with pytest.raises(Refused) as caught:
        call(*args, **named)
    assert caught.value.reason == reason, caught.value
    return caught.value.message


def opened(user, name, arena, reserve=0):
    """The user has an arena, and a session in it. Returns the arena's id."""
    user.create(arena, 128 * MIB)
    user.open(name, reserve_bytes=reserve)
    return user.attach(name, arena, WRITER)


def fill(user, name, arena):
    """Allocates until it is refused."""
    for size in SIZES:
        try:
            while True:
                user.allocate(name, arena, size)
        except Refused as error:
            assert error.reason == "MACHINE_FULL", error


def test_no_call_fails_beside_a_greedy_neighbour(daemon, users, connect):
    greedy, victim = users(daemon, GREEDY), users(daemon, VICTIM)
    own = opened(victim, "victim", "own", RESERVE)
    other = opened(greedy, "greedy", "other")
    over = threading.Event()
    rounds = []

    def take_all():
        while not over.is_set() or not rounds:
            fill(greedy, "greedy", other)
            rounds.append(1)
            greedy.close_session("greedy")
            greedy.open("greedy")
            greedy.attach("greedy", "other", WRITER)

    neighbour = threading.Thread(target=take_all)
    neighbour.start()
    try:
        turn = 0
        while turn < 60 or len(rounds) < 2:
            size = SIZES[turn % len(SIZES)]
            count = min(RESERVE // (2 * size) or 1, 1000)
            refs = victim.allocate_many("victim", own, size, count)
            assert victim.free("victim", own, refs) == count
            turn += 1
    finally:
        over.set()
        neighbour.join()
    root = connect(daemon.target)
    assert root.stats().reserved_bytes == RESERVE
    assert root.audit().exact
    print(f"{turn} calls of the victim were answered, the neighbour took all {len(rounds)} times")


def test_refusals_say_what_is_reserved(daemon, users, connect):
    greedy, victim = users(daemon, GREEDY), users(daemon, VICTIM)
    opened(victim, "victim", "own", RESERVE)
    other = opened(greedy, "greedy", "other")
    fill(greedy, "greedy", other)
    message = refused("MACHINE_FULL", greedy.allocate, "greedy", other, 2 * MIB)
    assert "16 MiB are reserved for sessions" in message, message
    message = refused("MACHINE_FULL", greedy.open, "mine", reserve_bytes=2 * MIB)
    assert "no reserve of 2 MiB" in message and "max_total_bytes" in message, message
    message = refused("INVALID_OPTION", victim.open, "s", reserve_bytes=2, limit_bytes=1)
    assert "reserve_bytes" in message and "max_session_bytes" in message, message
    root = connect(daemon.target)
    assert root.live_sessions()["victim"].reserve_bytes == RESERVE
    assert root.live_sessions()["greedy"].reserve_bytes == 0
    assert (root.stats().reserved_bytes, root.stats().set_aside_bytes) == (RESERVE, RESERVE)


def test_one_user_cannot_reserve_more_than_its_limit(start_daemon, users):
    daemon = start_daemon("--shards", "1", "--max-total-bytes", str(MOST))
    greedy, honest = users(daemon, GREEDY), users(daemon, VICTIM)
    greedy.open("a", reserve_bytes=20 * MIB)
    message = refused("QUOTA_USER", greedy.open, "b", reserve_bytes=13 * MIB)
    assert f"uid {GREEDY}" in message and "reserved 20 MiB" in message, message
    honest.open("c", reserve_bytes=30 * MIB)


def test_it_ends_with_a_process_that_is_killed(daemon, users, connect):
    greedy, victim = users(daemon, GREEDY), users(daemon, VICTIM)
    own = opened(victim, "victim", "own", RESERVE)
    victim.bind("victim")
    victim.allocate("victim", own, 2 * MIB)
    other = opened(greedy, "greedy", "other")
    fill(greedy, "greedy", other)
    root = connect(daemon.target)
    victim.process.kill()
    wait_until("nothing is reserved", lambda: root.stats().reserved_bytes == 0)
    greedy.allocate("greedy", other, 12 * MIB)


def test_it_is_set_aside_again_after_a_restart(start_daemon, state, users, connect):
    daemon = start_daemon(*limits(MOST), "--state-dir", state)
    greedy, victim = users(daemon, GREEDY), users(daemon, VICTIM)
    own = opened(victim, "victim", "own", RESERVE)
    victim.bind("victim")
    other = opened(greedy, "greedy", "other")
    greedy.bind("greedy")
    daemon.kill()
    daemon.start()
    for user, name in ((greedy, "greedy"), (victim, "victim")):
        user.come_back(name)
    fill(greedy, "greedy", other)
    for _ in range(8):
        victim.allocate("victim", own, 2 * MIB)
    assert connect(daemon.target).stats().committed_bytes == MOST
    daemon.kill()
    daemon.flags = (*limits(MOST // 4), "--state-dir", state)
    daemon.start()
    victim.come_back("victim")
    root = connect(daemon.target)
    assert root.live_sessions()["victim"].reserve_bytes == RESERVE
    refused("MACHINE_FULL", victim.allocate, "victim", own, 2 * MIB)  # beyond its reserve


def test_reserve_that_does_not_fit_after_a_restart_is_only_said(start_daemon, state, users):
    daemon = start_daemon(*limits(MOST), "--state-dir", state)
    victim = users(daemon, VICTIM)
    own = opened(victim, "victim", "own", RESERVE)
    victim.bind("victim")
    daemon.kill()
    daemon.flags = (*limits(RESERVE // 2), "--state-dir", state)
    daemon.start()
    assert "16 MiB are set aside for reserves of sessions" in daemon.log()
    victim.come_back("victim")
    victim.allocate("victim", own, 12 * MIB)
