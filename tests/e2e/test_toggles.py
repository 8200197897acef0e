"""The predecessor's toggles, under its names: from the environment at start, and live."""
import re

import pytest

from client import MIB, Session, refusal_of
from daemon import wait_until

LOG_LINE = re.compile(r"\[P0_COUNTER_OK\] heap=\d+ cls=\d+ slab=\d+ taken=\d+ delta=\d+")


class Work:
    """A session with an arena that allocates through shard 0 and frees through shard 1."""

    def __init__(self, daemon, connect, capacity_bytes=64 * MIB):
        self.daemon = daemon
        self.client = connect(daemon.target)
        self.near, self.far = [connect(shard.address) for shard in self.client.topology().shards]
        self.batch_built = self.client.topology().p0_batch_refill_built
        self.arena = self.client.create_arena("pool", capacity_bytes)
        self.session = Session(self.client, "worker")
        self.session.attach("pool")

    def counters(self, shard=0):
        return self.client.stats().shards[shard].heap

    def allocate(self, count, size=256):
        return self.session.allocate(self.arena.id, size, count, client=self.near).refs

    def free_far(self, refs):
        assert self.session.free(self.arena.id, refs, client=self.far).freed == len(refs)

    def refills_of(self, count):
        """How many refills `count` allocations take, from an empty magazine's point of view."""
        before = self.counters().refills
        refs = self.allocate(count)
        refills = self.counters().refills - before
        self.session.free(self.arena.id, refs, client=self.near)
        return refills

    def is_batching(self):
        """Tells by behaviour: a batch refill serves many allocations.

        A magazine that is full hides it, so take many.
        """
        return self.refills_of(8000) < 2000

    def audit(self):
        audit = self.client.audit()
        assert audit.exact and audit.p0_counter_mismatch == 0, audit
        return audit


@pytest.mark.parametrize(
    "env, batching",
    [
        ({}, True),
        ({"HAKMEM_TINY_P0_ENABLE": "1"}, True),
        ({"HAKMEM_TINY_P0_ENABLE": ""}, True),
        ({"HAKMEM_TINY_P0_ENABLE": "0"}, False),
        ({"HAKMEM_TINY_P0_DISABLE": "1"}, False),
        ({"HAKMEM_TINY_P0_DISABLE": "0"}, True),
        ({"HAKMEM_TINY_P0_DISABLE": "1", "HAKMEM_TINY_P0_ENABLE": "1"}, False),
    ],
)
def test_the_batch_refill_is_on_unless_the_environment_says_otherwise(
    start_daemon, connect, env, batching
):
    work = Work(start_daemon("--shards", "2", env=env), connect)
    assert work.is_batching() == (batching and work.batch_built)
    assert work.counters().p0_counter_ok > 0
    work.audit()


def test_the_batch_refill_is_switched_live(daemon, connect):
    work = Work(daemon, connect)
    assert work.is_batching() == work.batch_built
    work.client.set_tunables(p0_enable="0")
    work.free_far(work.allocate(4000))
    assert not work.is_batching()
    work.client.set_tunables(p0_enable="1")
    assert work.is_batching() == work.batch_built
    work.audit()


def test_the_kill_switch_wins_over_a_live_enable(start_daemon, connect):
    work = Work(start_daemon("--shards", "2", env={"HAKMEM_TINY_P0_DISABLE": "1"}), connect)
    refusal = refusal_of(work.client.set_tunables, p0_enable="1")
    assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "INVALID_OPTION")
    assert "HAKMEM_TINY_P0_DISABLE" in refusal.message
    assert not work.is_batching()
    work.audit()


@pytest.mark.parametrize("how", ["environment", "live"])
def test_without_drain_at_refill_the_idle_drain_brings_memory_home(start_daemon, connect, how):
    env = {"HAKMEM_TINY_P0_NO_DRAIN": "1"} if how == "environment" else {}
    work = Work(start_daemon("--shards", "2", env=env), connect)
    if how == "live":
        work.client.set_tunables(p0_no_drain="1")
    work.free_far(work.allocate(10000))
    assert work.counters(1).remote_frees == 10000
    wait_until(
        "the idle drain took all blocks back", lambda: work.counters().drained_blocks == 10000
    )
    work.audit()


def test_without_drain_at_refill_a_heap_that_would_fail_looks_first(start_daemon, connect):
    """Ten times the arena's capacity goes through it; the idle drain is too slow to matter."""
    work = Work(
        start_daemon("--shards", "2", env={"HAKMEM_TINY_P0_NO_DRAIN": "1"}),
        connect,
        capacity_bytes=16 * MIB,
    )
    work.client.set_tunables(idle_drain_ms="10000")
    for _ in range(10):
        work.free_far(work.allocate(14 * 256, 4096))
    assert work.counters().drained_blocks > 0
    work.audit()


def test_the_log_has_a_line_of_a_refill_when_asked_to(start_daemon, connect):
    quiet = Work(start_daemon("--shards", "2"), connect)
    quiet.refills_of(1000)
    assert "[P0_COUNTER_OK]" not in quiet.daemon.log()
    quiet.client.set_tunables(p0_log="1")
    quiet.refills_of(8000)
    wait_until("a line after the live switch", lambda: LOG_LINE.search(quiet.daemon.log()))

    loud = Work(start_daemon("--shards", "2", env={"HAKMEM_TINY_P0_LOG": "1"}), connect)
    for _ in range(50):
        loud.refills_of(8000)
    line = wait_until("a line from the start", lambda: LOG_LINE.search(loud.daemon.log()))
    taken, delta = re.search(r"taken=(\d+) delta=(\d+)", line[0]).groups()
    assert taken == delta
    refills = loud.counters().refills
    assert len(LOG_LINE.findall(loud.daemon.log())) < refills, "the lines are rate limited"
    for work in (quiet, loud):
        work.audit()
        assert "[P0_COUNTER_MISMATCH]" not in work.daemon.log()


def test_tunables_change_all_or_none(client):
    before = client.tunables()
    refusal = refusal_of(client.set_tunables, idle_drain_ms="200", no_such_knob="1")
    assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "INVALID_OPTION")
    assert "no_such_knob" in refusal.message
    refusal = refusal_of(client.set_tunables, idle_drain_ms="soon")
    assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "INVALID_OPTION")
    assert "idle_drain_ms" in refusal.message
    assert client.tunables() == before
    client.set_tunables(idle_drain_ms="200")
    assert client.tunables() == {**before, "idle_drain_ms": "200"}
