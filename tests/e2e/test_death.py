"""A client that dies, at any moment, loses nothing: within a second of its death all it held is back, the others do not
notice, and the audit is exact."""
import json
import pathlib
import subprocess
import sys
import threading
import time

import pytest

from client import MIB, Session
from daemon import wait_until

VICTIM = pathlib.Path(__file__).with_name("victim.py")


class Victim:
    def __init__(self, mode, target, arena):
        self.process = subprocess.Popen([sys.executable, VICTIM, mode, target, arena], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)
        line = self.process.stdout.readline()
        assert line, f"victim '{mode}' ended with {self.process.wait()} before it was ready"
        self.facts = json.loads(line)

    def kill(self):
        """SIGKILL. Returns the moment of death: when the kernel has reaped it, nothing of it runs any more."""
        self.process.kill()
        self.process.wait()
        died = time.monotonic()
        self.process.stdin.close()
        self.process.stdout.close()
        return died


class Bystander:
    """Another client at work all the while: allocates, writes, reads back and frees; any error or wrong byte is kept."""

    def __init__(self, client, arena_name):
        self.session = Session(client, "bystander").bind()
        self.arena, self.data = self.session.map(arena_name)
        self.rounds = 0
        self.slowest_s = 0.0
        self.problem = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def _work(self):
        try:
            while not self._stop.is_set():
                start = time.monotonic()
                answer = self.session.allocate(self.arena.id, 1000, 64, tag=7)
                for ref, offset in zip(answer.refs, answer.offsets):
                    self.data[offset:offset + 8] = ref.to_bytes(8, "little")
                for ref, offset in zip(answer.refs, answer.offsets):
                    assert self.data[offset:offset + 8] == ref.to_bytes(8, "little"), "another's bytes in my block"
                freed = self.session.free(self.arena.id, answer.refs)
                assert freed.freed == 64 and not freed.errors, freed
                self.slowest_s = max(self.slowest_s, time.monotonic() - start)
                self.rounds += 1
        except Exception as problem:  # pylint: disable=broad-except  # shown by finish()
            self.problem = problem

    def finish(self):
        self._stop.set()
        self._thread.join()
        if self.problem:
            raise self.problem
        self.session.close()


@pytest.fixture
def arena(client):
    return client.create_arena("pool", 1024 * MIB)


@pytest.mark.parametrize("mode", ["hold", "exchange", "keepalive", "attach", "open"])
def test_a_killed_client_gives_everything_back_within_a_second(mode, daemon, client, connect, shards, arena):
    bystander = Bystander(connect(shards[1].target), arena.name)
    victim = Victim(mode, shards[0].target, arena.name)
    try:
        held = client.arena(arena.name).held_bytes
        if mode == "hold":
            assert held >= 400 * MIB
            assert victim.facts["blocks"] == 102400
        rounds_before, bystander.slowest_s = bystander.rounds, 0.0
    finally:
        died = victim.kill()

    name = f"victim-{mode}"
    wait_until("the session of the dead is gone", lambda: name not in client.live_sessions(), 1.0 - (time.monotonic() - died))
    back = time.monotonic() - died
    # What is held now is the bystander's alone: at most one batch.
    assert client.arena(arena.name).held_blocks <= 64
    print(f"{mode}: {held / MIB:.1f} MiB held before, back {back * 1000:.0f} ms after death; "
          f"bystander's slowest round {bystander.slowest_s * 1000:.1f} ms")
    assert back < 1.0

    wait_until("the bystander goes on", lambda: bystander.rounds > rounds_before + 20)
    bystander.finish()
    assert bystander.slowest_s < 2.0, "a round of two calls stood still, far beyond what a busy machine explains"
    audit = client.audit()
    assert audit.exact and audit.p0_counter_mismatch == 0, audit
    assert audit.arenas[0].held == 0 and audit.arenas[0].returning == 0, audit
    assert client.stats().sessions_reaped == 1


def test_the_whole_arena_can_be_had_again_after_a_death(client, daemon, shards, arena):
    for _ in range(3):
        victim = Victim("hold", shards[0].target, arena.name)
        victim.kill()
        wait_until("all is back", lambda: client.arena(arena.name).held_bytes == 0, 1.0)
    # Through the other shard: what the dead one's shard took back must not stay with it.
    survivor = Session(shards[1], "survivor")
    survivor.attach(arena.name)
    for _ in range(900):
        survivor.allocate(arena.id, MIB, 1)
    assert client.arena(arena.name).held_bytes >= 900 * MIB
    survivor.close()
    assert client.audit().exact


def test_a_remote_session_ends_with_its_keepalive_stream(client, arena):
    session = Session(client, "remote")
    session.attach(arena.name)
    session.allocate(arena.id, 4096, 100)
    session.lose_keepalive()
    wait_until("the session ended", lambda: "remote" not in client.live_sessions(), 1.0)
    assert client.arena(arena.name).held_blocks == 0
    assert client.audit().exact


def test_a_bound_session_outlives_its_keepalive_stream(client, arena):
    session = Session(client, "bound").bind()
    session.attach(arena.name)
    refs = session.allocate(arena.id, 4096, 100).refs
    session.lose_keepalive()
    wait_until("the daemon saw the stream end", lambda: not client.live_sessions()["bound"].keepalive)
    assert session.free(arena.id, refs).freed == 100
    session.close()


def test_what_was_taken_over_survives_the_death_of_its_producer(client, shards, arena):
    victim = Victim("hold", shards[0].target, arena.name)
    heir = Session(client, "heir")
    heir.attach(arena.name)
    refs = victim.facts["first_refs"]
    assert heir.acquire(arena.id, refs, tag=9).acquired == 10
    victim.kill()
    wait_until("all but the heir's is back", lambda: client.arena(arena.name).held_blocks == 10, 1.0)
    assert {(b.holder, b.tag) for b in heir.describe(arena.id, refs)} == {(heir.key.id, 9)}
    assert heir.free(arena.id, refs).freed == 10
    heir.close()
    assert client.audit().exact
