"""A client that dies, at any moment, loses nothing.

All that it held comes back because of its death, while another client works on without an error.
Then the audit is exact. The grace of a session without a stream or a process is ten minutes where
a test is to say that: what ends the session earlier is the daemon's knowledge of the death.
"""
import json
import os
import pathlib
import subprocess
import sys
import threading

import pytest

from client import MIB, Session
from daemon import wait_until

VICTIM = pathlib.Path(__file__).with_name("victim.py")


class Victim:
    def __init__(self, mode, target, arena):
        self.process = subprocess.Popen(
            [sys.executable, VICTIM, mode, target, arena],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        line = self.process.stdout.readline()
        assert line, f"victim '{mode}' ended with {self.process.wait()} before it was ready"
        self.facts = json.loads(line)

    def kill(self):
        """SIGKILL. When it returns, nothing of the process runs any more."""
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class Bystander:
    """Another client that works all the while. Any error, or a wrong byte, is kept for finish()."""

    def __init__(self, client, arena_name):
        self.session = Session(client, "bystander").bind()
        self.arena, self.data = self.session.map(arena_name)
        self.rounds = 0
        self.problem = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def _work(self):
        try:
            while not self._stop.is_set():
                answer = self.session.allocate(self.arena.id, 1000, 64, tag=7)
                for ref, offset in zip(answer.refs, answer.offsets):
                    self.data[offset : offset + 8] = ref.to_bytes(8, "little")
                for ref, offset in zip(answer.refs, answer.offsets):
                    assert self.data[offset : offset + 8] == ref.to_bytes(
                        8, "little"
                    ), "another's bytes in my block"
                freed = self.session.free(self.arena.id, answer.refs)
                assert freed.freed == 64 and not freed.errors, freed
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
def test_a_killed_client_gives_everything_back(mode, client, connect, shards, arena):
    if mode in ("attach", "open"):  # nobody can see these die: they end by their grace
        client.set_tunables(keepalive_grace_ms="3000")
    bystander = Bystander(connect(shards[1].target), arena.name)
    victim = Victim(mode, shards[0].target, arena.name)
    try:
        if mode == "hold":
            assert client.arena(arena.name).held_bytes >= 400 * MIB
            assert victim.facts["blocks"] == 102400
        rounds_before = bystander.rounds
    finally:
        victim.kill()

    wait_until(
        "the session of the dead is gone", lambda: f"victim-{mode}" not in client.live_sessions()
    )
    # What is held now is the bystander's alone: at most one batch.
    assert client.arena(arena.name).held_blocks <= 64
    wait_until("the bystander goes on", lambda: bystander.rounds > rounds_before + 20)
    bystander.finish()
    audit = client.audit()
    assert audit.exact and audit.p0_counter_mismatch == 0, audit
    assert audit.arenas[0].held == 0 and audit.arenas[0].returning == 0, audit
    assert client.stats().sessions_reaped == 1


def test_the_whole_arena_can_be_had_again_after_a_death(client, daemon, shards, arena):
    for _ in range(3):
        victim = Victim("hold", shards[0].target, arena.name)
        victim.kill()
        wait_until("all is back", lambda: client.arena(arena.name).held_bytes == 0)
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
    wait_until("the session ended", lambda: "remote" not in client.live_sessions())
    assert client.arena(arena.name).held_blocks == 0
    assert client.audit().exact


def test_a_bound_session_outlives_its_keepalive_stream(client, arena):
    client.set_tunables(restart_grace_ms="10")
    session = Session(client, "bound").bind()
    _, data = session.map(arena.name)
    refs = session.allocate(arena.id, 4096, 100).refs
    session.lose_keepalive()
    wait_until(
        "the daemon saw the stream end", lambda: not client.live_sessions()["bound"].keepalive
    )
    other = Session(client, "other").bind()  # what ends without memory, ends before
    other.lose_keepalive()
    wait_until("the other one ended", lambda: "other" not in client.live_sessions())
    assert session.free(arena.id, refs).freed == 100 and data[0] == 0
    session.close()


def test_a_bound_session_without_stream_and_memory_ends(client, arena):
    client.set_tunables(restart_grace_ms="100")
    session = Session(client, "bound").bind()
    session.attach(arena.name)
    session.allocate(arena.id, 4096, 100)
    session.lose_keepalive()
    wait_until("the session ended", lambda: "bound" not in client.live_sessions())
    assert client.arena(arena.name).held_blocks == 0
    assert client.audit().exact


def test_forked_child_does_not_keep_a_remote_session_alive(client, shards, arena):
    victim = Victim("forked", shards[0].target, arena.name)
    try:
        assert client.arena(arena.name).held_blocks == 1000
        victim.process.kill()
        victim.process.wait()
        wait_until("the session ended", lambda: "victim-forked" not in client.live_sessions())
        assert client.arena(arena.name).held_blocks == 0
        os.kill(victim.facts["child"], 0)  # lives, and has the connections open
    finally:
        victim.kill()
    assert client.audit().exact


def test_exec_ends_the_sessions_of_a_process_that_lives(client, shards, arena):
    client.set_tunables(restart_grace_ms="100")
    victim = Victim("exec", shards[0].target, arena.name)
    try:
        wait_until("the session ended", lambda: "victim-exec" not in client.live_sessions())
        assert client.arena(arena.name).held_blocks == 0
        assert victim.process.poll() is None
    finally:
        victim.kill()
    assert client.audit().exact


def test_what_was_taken_over_survives_the_death_of_its_producer(client, shards, arena):
    victim = Victim("hold", shards[0].target, arena.name)
    heir = Session(client, "heir")
    heir.attach(arena.name)
    refs = victim.facts["first_refs"]
    assert heir.acquire(arena.id, refs, tag=9).acquired == 10
    victim.kill()
    wait_until("all but the heir's is back", lambda: client.arena(arena.name).held_blocks == 10)
    assert {(b.holder, b.tag) for b in heir.describe(arena.id, refs)} == {(heir.key.id, 9)}
    assert heir.free(arena.id, refs).freed == 10
    heir.close()
    assert client.audit().exact
