"""Floods of calls without a session, by another user, beside a victim whose calls all succeed.

The daemon's memory is bounded meanwhile, and comes back. Needs root, which makes the other user's
process. Figures of the victim are printed: run with -s. No test asserts a time.
"""
import os
import subprocess
import sys

import grpc
import pytest

import http2
from beside import Victim, memory
from client import MIB, expect, refusal_of
from contract import arenas
from daemon import wait_until
from flood import Flood
from other_user import OtherUser

# Of the daemon, beyond what it had before a flood: at the peak, and what is kept for later calls.
MOST_BYTES = 384 * MIB
LEFT_BYTES = 160 * MIB


def forget_the_peak(daemon):
    with open(f"/proc/{daemon.process.pid}/clear_refs", "w", encoding="ascii") as clear:
        clear.write("5")


@pytest.fixture
def victim(client, shards):
    watched = Victim(client, shards)
    yield watched
    watched.lost_nothing()


@pytest.mark.parametrize("agrees", [False, True], ids=["without settings", "with settings"])
@pytest.mark.parametrize(
    "attack",
    [
        "nothing_but_work",
        "unknown_methods",
        "unknown_methods_unread",
        "calls_without_a_session",
        "calls_unread",
        "open_streams",
        "pings",
        "bombs",
    ],
)
def test_a_flood_is_bounded_and_leaves_nothing(daemon, client, victim, attack, agrees):
    quiet = victim.quiet()
    before = memory(daemon, "VmRSS")
    forget_the_peak(daemon)
    with Flood(daemon.sockets, attack, agrees) as flood:
        beside = victim.work()
    peak = memory(daemon, "VmHWM") - before
    name = attack + " agrees" * agrees
    print(f"\n{name}: {flood.counts}, p50 p99 max: quiet {quiet}, beside {beside} ms")
    print(f"{name}: {peak / MIB:.0f} MiB more at the peak")
    assert flood.counts["sent"] > 0
    assert peak < MOST_BYTES
    left = [peak]

    def is_back():
        left[0] = memory(daemon, "VmRSS") - before
        return left[0] < LEFT_BYTES

    try:
        wait_until("the memory is back", is_back)
    except AssertionError:
        raise AssertionError(f"{left[0] / MIB:.0f} MiB are left of {peak / MIB:.0f}") from None


def status_of(call, *args, **more):
    with pytest.raises(grpc.RpcError) as caught:
        call(*args, **more)
    return caught.value.code()


def test_an_unknown_method_is_unimplemented(client):
    for path in ("/no.such.Service/Method", "/arenad.v1.Arenas/NoSuchMethod"):
        unknown = client.channel.unary_unary(path)
        for _ in range(100):  # more than are answered at a time
            assert status_of(unknown, b"") is grpc.StatusCode.UNIMPLEMENTED
    assert client.topology().shards


def test_a_compressed_message_is_refused(client):
    request = arenas.CreateArenaRequest(name="a" * 10000)
    for compression in (grpc.Compression.Gzip, grpc.Compression.Deflate):
        status = status_of(client.arenas.CreateArena, request, compression=compression)
        assert status is grpc.StatusCode.UNIMPLEMENTED


def ask_for_lists(daemon, calls):
    """A connection that has made so many calls of ListArenas."""
    connection = http2.Connection(daemon.sockets + "/arenad.sock")
    for _ in range(calls):
        connection.unsent += http2.request(connection.next_stream(), "/arenad.v1.Arenas/ListArenas")
        connection.unsent += http2.message(connection.stream, b"")
    while connection.unsent:
        connection.push(b"")
    return connection


def test_who_reads_no_answers_gets_no_large_ones_and_others_do(start_daemon, connect):
    daemon = start_daemon("--shards", "1", "--max-user-unanswered-bytes", str(MIB))
    client = connect(daemon.target)
    for number in range(60):
        client.create_arena(f"{number:060}", MIB, access=arenas.ArenaAccess(mode=0o664))
    silent = ask_for_lists(daemon, 250)  # of 5 kB and more, and the window is 64 KiB

    def list_arenas():
        return client.arenas.ListArenas(arenas.ListArenasRequest())

    def is_refused():
        try:
            return not list_arenas()
        except grpc.RpcError:
            return True

    wait_until("a call is refused", is_refused)
    refusal = refusal_of(list_arenas)
    expect(refusal, "RESOURCE_EXHAUSTED", "QUOTA_USER", "max_user_unanswered_bytes", "uid 0")
    assert client.topology().shards  # small answers go on
    other = OtherUser(daemon.sockets)
    assert len(other.list()) == 60
    other.close()
    silent.close()
    wait_until("calls are answered", lambda: not is_refused())


def test_answers_that_nobody_reads_hold_no_drain(start_daemon, connect):
    daemon = start_daemon("--shards", "1")
    client = connect(daemon.target)
    for number in range(60):
        client.create_arena(f"{number:060}", MIB)
    silent = ask_for_lists(daemon, 250)
    assert client.topology().shards and silent
    daemon.stop()


def test_who_floods_is_barred_and_nobody_else(daemon, connect):
    with Flood(daemon.sockets, "unknown_methods", uid=65532):
        wait_until("a connection is cut", lambda: "uid 65532 is cut" in daemon.log())
        assert connect(daemon.target).topology().shards
        other = OtherUser(daemon.sockets, uid=65531)
        other.open("s")
        other.close()
        wait_until("it gets no connection", lambda: refused_connection(daemon, 65532))


def refused_connection(daemon, uid):
    """Whether a connection of that user ends before the daemon has said anything."""
    script = (
        "import os, socket, sys; os.setuid(int(sys.argv[1]));"
        "s = socket.socket(socket.AF_UNIX); s.settimeout(60); s.connect(sys.argv[2]);"
        "sys.exit(len(s.recv(1)))"
    )
    path = os.path.join(daemon.sockets, "arenad.sock")
    return subprocess.run([sys.executable, "-c", script, str(uid), path]).returncode == 0
