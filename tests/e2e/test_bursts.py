"""What a burst of calls took, the daemon gives back when it is over."""
import pathlib

from client import MIB, Session
from contract import blocks
from daemon import wait_until

CALLS = 6000  # of some 19 KiB each


def private_bytes(daemon):
    """What the daemon has for itself: no arenas, no files."""
    for line in pathlib.Path(f"/proc/{daemon.process.pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no RssAnon")


def test_memory_of_waiting_calls_comes_back(start_daemon, connect):
    daemon = start_daemon("--shards", "2", "--max-user-waiting-calls", "100000")
    client = connect(daemon.target)
    arena = client.create_arena("pool", 64 * MIB)
    session = Session(client, "tester")
    session.attach(arena.name)
    # A connection has 1024 streams at most.
    stubs = [client.blocks] + [connect(daemon.target).blocks for _ in range(5)]
    session.allocate(arena.id, 60 * MIB)
    at_rest = private_bytes(daemon)
    for _ in range(2):
        waiter = Session(client, "waiter")
        waiter.attach(arena.name)
        request = blocks.AllocateRequest(
            session=waiter.key, arena_id=arena.id, size_bytes=60 * MIB, count=1, wait_ms=600000
        )
        calls = [stubs[i % 6].Allocate.future(request) for i in range(CALLS)]
        wait_until(
            f"{CALLS} calls wait", lambda: private_bytes(daemon) > at_rest + 60 * MIB
        )
        waiter.close()
        for call in calls:
            assert call.exception() is not None
        wait_until(
            f"the daemon has less than {at_rest // MIB} MiB and 48 more",
            lambda: private_bytes(daemon) < at_rest + 48 * MIB
        )
