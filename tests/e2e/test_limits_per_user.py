"""What one user can take from others: nothing. Each test has a greedy user and honest ones.

Needs root, which makes the other users' processes.
"""
import os

import grpc
import pytest

from client import MIB, WRITER, Session
from contract import arenas
from daemon import wait_until
from other_user import Refused

GREEDY, HONEST = 65534, 65533


def over_quota(call, *args, **named):
    with pytest.raises(Refused) as caught:
        call(*args, **named)
    assert (caught.value.code, caught.value.reason) == ("RESOURCE_EXHAUSTED", "QUOTA_USER")
    return caught.value.message


def test_sessions_and_arenas(start_daemon, connect, users):
    daemon = start_daemon("--shards", "1", "--max-user-sessions", "3", "--max-user-arenas", "2")
    greedy, honest = users(daemon, GREEDY), users(daemon, HONEST)
    for name in "abc":
        greedy.open(name)
    message = over_quota(greedy.open, "d")
    assert f"uid {GREEDY}" in message and "3 sessions" in message
    for name in "ab":
        greedy.create(name)
    assert "2 arenas" in over_quota(greedy.create, "c")
    honest.open("s")
    honest.create("mine")
    root = connect(daemon.target)
    for name in "defg":
        Session(root, name)
        root.create_arena(name, MIB)
    log = daemon.log()
    assert f"refused, uid {GREEDY}" in log and "max_user_sessions" in log


def test_bytes(start_daemon, connect, users):
    daemon = start_daemon("--shards", "2", "--max-user-bytes", str(2 * MIB))
    root = connect(daemon.target)
    shared = root.create_arena("shared", 16 * MIB, access=arenas.ArenaAccess(mode=0o666))
    greedy, honest = users(daemon, GREEDY), users(daemon, HONEST)
    for user, name in ((greedy, "a"), (greedy, "b"), (honest, "c")):
        user.open(name)
        user.attach(name, "shared", WRITER)
    greedy.allocate("a", shared.id, MIB)
    greedy.allocate("b", shared.id, MIB)
    message = over_quota(greedy.allocate, "b", shared.id, 64)
    assert f"uid {GREEDY}" in message and "max_user_bytes" in message and "2 MiB" in message
    honest.allocate("c", shared.id, 2 * MIB)
    session = Session(root, "root")
    session.attach("shared")
    session.allocate(shared.id, 4 * MIB)
    assert root.audit().exact


def test_memory_of_a_deleted_arena_counts_until_it_is_unmapped(start_daemon, connect, users):
    limits = ("--max-total-bytes", str(32 * MIB), "--max-user-arenas", "1")
    daemon = start_daemon("--shards", "1", "--max-user-bytes", str(32 * MIB), *limits)
    greedy = users(daemon, GREEDY)
    greedy.create("kept")
    greedy.open("s")
    arena = greedy.keep_memory("s", "kept")
    greedy.allocate("s", arena, 12 * MIB)
    greedy.delete("kept")
    root = connect(daemon.target)
    other = root.create_arena("other", 64 * MIB)
    session = Session(root, "root")
    session.attach("other")

    def refused():
        try:
            session.free(other.id, session.allocate(other.id, 24 * MIB).refs)
        except grpc.RpcError as error:
            assert "max_total_bytes" in error.details()
            return True
        return False

    wait_until("it is said", lambda: "'kept' was deleted, and clients have its" in daemon.log())
    assert refused()
    assert "1 of them are deleted" in over_quota(greedy.create, "next")
    greedy.drop_memory()
    wait_until("the memory is gone", lambda: "deleted arena 'kept' is gone" in daemon.log())
    wait_until("there is room", lambda: not refused())
    greedy.create("next")


def test_silent_connections_to_the_handoff_socket(daemon, client, users, arena):
    """They took all 128 places, and 0 of 40 honest ones got in."""
    greedy = users(daemon, GREEDY)
    assert greedy.connect("handoff.sock", 300) == 300
    session = Session(client, "honest")
    for _ in range(20):
        _, data = session.map(arena.name, WRITER)
        data.close()
    assert greedy.connect("handoff.sock", 300) == 300


def test_connections_to_the_daemon(start_daemon, connect, users):
    daemon = start_daemon("--shards", "1", command=("prlimit", "--nofile=512:512"))
    greedy, honest = users(daemon, GREEDY), users(daemon, HONEST)
    for socket in ("arenad.sock", "shard-0.sock"):
        greedy.connect(socket, 300)
        honest.open(socket)
        honest.over(socket)
        honest.open(socket + "-again")
        assert connect(f"unix:{daemon.sockets}/{socket}").stats().sessions >= 2
    log = daemon.log()
    assert f"uid {GREEDY}" in log and "max_user_connections" in log


def test_connections_that_ended_do_not_count(start_daemon, users):
    daemon = start_daemon("--shards", "1", "--max-user-connections", "20")
    greedy = users(daemon, GREEDY)
    for _ in range(10):
        greedy.connect("arenad.sock", 15)
        greedy.disconnect()
        greedy.over("arenad.sock")
        assert greedy.list() == []


def test_a_waiter_for_what_there_will_never_be(start_daemon, connect, users):
    daemon = start_daemon("--shards", "1")
    root = connect(daemon.target)
    shared = root.create_arena("shared", 16 * MIB, access=arenas.ArenaAccess(mode=0o666))
    holder = Session(root, "holder")
    holder.attach("shared")
    block = holder.allocate(shared.id, 12 * MIB).refs[0]
    greedy, honest = users(daemon, GREEDY), users(daemon, HONEST)
    for user in (greedy, honest):
        user.open("s")
        user.attach("s", "shared", WRITER)
    greedy.start_waiting("s", shared.id, 14 * MIB, wait_ms=2**32 - 1)
    for _ in range(3):
        assert honest.allocate("s", shared.id, MIB, wait_ms=600_000) != 0
    holder.free(shared.id, [block])
    assert root.audit().exact


def test_bits_for_sharers(daemon, client, users):
    """One user took all 40, and nobody else could share a block of the arena."""
    arena = client.create_arena("open", 16 * MIB, access=arenas.ArenaAccess(mode=0o666)).id
    greedy, honest = users(daemon, GREEDY), users(daemon, HONEST)

    def share(user, name):
        user.open(name)
        user.attach(name, "open", WRITER)
        return user.share(name, arena, [user.allocate(name, arena, 64)])

    refused = [answer for n in range(45) for answer in share(greedy, f"s{n}")]
    assert [reason for reason, _ in refused] == ["REASON_QUOTA_USER"] * 13
    assert f"32 sessions of uid {GREEDY}" in refused[0][1]
    assert "max_user_sharers" in refused[0][1]
    for n in range(8):
        assert share(honest, f"s{n}") == []
    assert [reason for reason, _ in share(honest, "late")] == ["REASON_SHARERS_FULL"]
    assert client.audit().exact


def test_eviction(daemon, client, users, arena):
    user = users(daemon, GREEDY)
    open_to_all = client.create_arena("open", 16 * MIB, access=arenas.ArenaAccess(mode=0o666))
    victim = Session(client, "victim")
    victim.attach("open")
    victim.allocate(open_to_all.id, 4096, 10)
    session = user.open("s")
    user.attach("s", "open", WRITER)
    user.allocate("s", open_to_all.id, 4096)
    with pytest.raises(Refused) as caught:
        user.evict(victim.key.id)
    assert caught.value.reason == "NOT_PERMITTED"
    assert client.evict(session).blocks_given_back == 1
    with pytest.raises(Refused) as caught:
        user.allocate("s", open_to_all.id, 4096)
    assert (caught.value.code, caught.value.reason) == ("UNAUTHENTICATED", "EVICTED")
    assert client.arena("open").held_blocks == 10 and client.audit().exact
    log = daemon.log()
    assert f"session {session} 's' of uid {GREEDY}" in log
    assert f"is evicted by uid {os.geteuid()}" in log
