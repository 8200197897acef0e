"""A host with little memory: an allocation is refused, and nobody is killed.

The daemon runs in a cgroup of 256 MiB (memory_box.py). Its arenas are larger. Before this was
looked at, each of these tests ended with the kernel's OOM killer.
"""
import pytest

from audit import exact
from client import MIB, Session, expect, refusal_of
from memory_box import MemoryBox

LIMIT = 256 * MIB
GIB = 1024 * MIB


@pytest.fixture
def box():
    made = MemoryBox(LIMIT)
    yield made
    made.discard()


@pytest.fixture
def start_daemon(box, start_daemon):
    """The daemons end before their cgroup goes."""
    return start_daemon


@pytest.fixture
def daemon(start_daemon, box):
    return boxed(start_daemon, box)


def boxed(start_daemon, box, *flags):
    return start_daemon(
        "--shards", "2", "--keepalive-grace-ms", "600000", *box.flags, *flags, command=box.command
    )


@pytest.fixture
def arena(client):
    return client.create_arena("big", GIB)


def fill(session, arena, size_bytes, count=1):
    """Allocates until it is refused. Returns the refs and the refusal."""
    refs = []
    for _ in range(GIB // size_bytes // count):
        try:
            answer = session.allocate(arena.id, size_bytes, count)
        except Exception:
            break
        refs += answer.refs
    return refs, refusal_of(session.allocate, arena.id, size_bytes, count)


def expect_full(box, refusal):
    expect(refusal, "RESOURCE_EXHAUSTED", "MACHINE_FULL", box.named)
    assert box.oom_kills() == 0


def test_blocks_end_in_a_refusal_that_names_the_limit(box, client, arena):
    session = Session(client, "greedy")
    session.attach("big")
    refs, refusal = fill(session, arena, 64 * 1024, 64)
    expect_full(box, refusal)
    assert len(refs) * 64 * 1024 > LIMIT // 2, "most of the memory was to be had"
    assert client.audit("big").exact
    assert session.free(arena.id, refs).freed == len(refs)
    assert session.allocate(arena.id, 100 * MIB).refs, "what is free is given again"


def test_cgroup_is_looked_at_again_and_again(box, start_daemon, connect):
    """What others have used of it since the start counts. Control memory counts, too."""
    generous = ("--max-total-bytes", str(GIB)) if box.directory else ()
    daemon = boxed(start_daemon, box, *generous)
    client = connect(daemon.target)
    arena = client.create_arena("big", GIB)
    session = Session(client, "greedy")
    session.attach("big")
    refs, refusal = fill(session, arena, 64, 16_384)
    expect_full(box, refusal)
    assert box.named in refusal.message
    assert client.audit("big").exact


def test_span_larger_than_the_host_is_refused_at_once(box, client, arena):
    session = Session(client, "greedy")
    session.attach("big")
    expect_full(box, refusal_of(session.allocate, arena.id, GIB))
    assert session.allocate(arena.id, 100 * MIB).refs, "nothing was taken for the large one"
    expect_full(box, refusal_of(session.allocate, arena.id, 150 * MIB))


def test_four_tebibytes_are_refused(box, client):
    session = Session(client, "greedy")
    arena = client.create_arena("vast", 4 * 1024 * GIB)
    session.attach("vast")
    expect(
        refusal_of(session.allocate, arena.id, 4 * 1024 * GIB),
        "RESOURCE_EXHAUSTED",
        "MACHINE_FULL",
        "TiB were needed",  # but for what is committed ahead
    )
    assert box.oom_kills() == 0


def test_peers_are_refused_leases(box, client, arena, peers):
    first, second = peers("big"), peers("big")
    assert first.ask("many", 64 * 1024, 20_000) == "MACHINE_FULL"
    assert second.ask("many", 1000, 1_000_000) == "MACHINE_FULL"
    assert box.oom_kills() == 0
    first.kill()
    assert client.audit("big").exact


def test_state_directory_is_served_again_after_it_was_full(box, start_daemon, state, connect):
    daemon = boxed(start_daemon, box, "--state-dir", state)
    client = connect(daemon.target)
    arena = client.create_arena("big", GIB)
    session = Session(client, "greedy").bind()
    session.attach("big")
    refs, refusal = fill(session, arena, 1000, 1000)
    expect_full(box, refusal)
    daemon.kill()
    daemon.start()
    again = connect(daemon.target)
    session.keep_alive(again)
    expect_full(box, refusal_of(session.allocate, arena.id, 200 * MIB))
    assert session.free(arena.id, refs[:10_000]).freed == 10_000
    assert session.allocate(arena.id, 1000, 5000).refs
    exact(again, len(refs) - 10_000 + 5000)


def test_limit_in_force_is_logged_and_shown(box, daemon, client):
    assert "max_total_bytes is " in daemon.log()
    assert box.named in daemon.log()
