"""A victim beside an attack: its calls all succeed, and its figures are printed (run with -s)."""
import os
import re
import time

from client import MIB, Session
from contract import arenas

# An attack goes on until the victim has made that many calls. tests/run --long says 20,000.
CALLS = int(os.environ.get("ARENAD_HOSTILE_CALLS", "400"))


def memory(daemon, field="VmRSS"):
    """Bytes, by a field of the daemon's status: VmRSS now, VmHWM at the peak."""
    with open(f"/proc/{daemon.process.pid}/status", encoding="ascii") as status:
        return int(re.search(field + r":\s+(\d+) kB", status.read())[1]) * 1024


class Victim:
    """Allocates and frees a block on each shard in turn, and measures its calls."""

    def __init__(self, client, shards):
        self.client = client
        client.create_arena("victim", 16 * MIB, access=arenas.ArenaAccess(mode=0o600))
        self.sessions = []
        for shard in shards:
            session = Session(shard, "victim")
            self.sessions.append((session, session.attach("victim").arena.id))
        session, arena = self.sessions[0]
        session.allocate(arena, 4096, 100, tag=7)

    def work(self, calls=CALLS):
        """The p50, p99 and longest of its calls, in ms."""
        times = []
        for number in range(calls):
            session, arena = self.sessions[number % len(self.sessions)]
            began = time.monotonic()
            refs = session.allocate(arena, 256, 1).refs
            assert session.free(arena, refs).freed == 1
            times.append(1000 * (time.monotonic() - began))
        times.sort()
        return tuple(round(times[int(len(times) * part)], 2) for part in (0.5, 0.99, 0.9999))

    def quiet(self):
        """Its figures while nobody attacks."""
        self.work(CALLS // 2)
        return self.work(CALLS // 2)

    def lost_nothing(self):
        assert self.client.arena("victim").held_blocks == 100
        assert not self.client.arena("victim").quarantined
        assert self.client.audit("victim").exact
