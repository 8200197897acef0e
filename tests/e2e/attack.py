"""An attacker as a process of another user, with sessions and memory of its own.

Attack starts it, and stops it at the end of the block. The attacks are the classes below. Each is
made once, and then makes one step, again and again. What it was refused is counted by reason.
"""
import ctypes
import json
import mmap
import os
import random
import select
import sys

import grpc

from client import MIB, PEER, READER, REMOTE, WRITER, Client, Session, refusal_of, show_token
from hostile_process import HostileProcess, become, repeat

TIB = 1 << 40


class Attack(HostileProcess):
    """with Attack(daemon.sockets, "Administration") as attack: ..."""

    def __init__(self, sockets, name, uid=65533, **more):
        super().__init__(__file__, sockets, name, str(uid), json.dumps(more))


class Attacker:
    LEAST_STEPS = 1

    def __init__(self, sockets):
        self.client = Client(f"unix:{sockets}/arenad.sock")
        self.session = Session(self.client, "attacker")
        self.counts = {}
        self.steps = 0

    def make_step(self):
        self.step()
        self.steps += 1

    def count(self, what):
        self.counts[what] = self.counts.get(what, 0) + 1

    def tried(self, call, *args, **named):
        """Makes the call. Answers what it answers, or None when it was refused."""
        try:
            return call(*args, **named)
        except grpc.RpcError as error:
            self.count(refusal_of(again, error).reason)

    def arena(self, capacity_bytes=64 * MIB, **more):
        """An arena of the attacker's own."""
        return self.client.create_arena(f"attackers-{os.getpid()}", capacity_bytes, **more)

    def descriptors(self, arena, mode):
        attached = self.session.attach(arena.name, mode)
        answer = show_token(self.session.opened.handoff_path, attached.handoff_token)
        assert answer.status == 0, answer
        return answer.fds


def again(error):
    raise error


class HugeArenas(Attacker):
    """Creates arenas of 4 TiB, as many as it gets, and uses none."""

    def step(self):
        if self.steps < 30:
            name = f"huge-{self.steps}"
            if self.tried(self.client.create_arena, name, 4 * TIB) is not None:
                self.count("created")
        select.select([sys.stdin], [], [], 0.01)


class Administration(Attacker):
    """Asks for audits, tunables and trims, and ends sessions of others."""

    def step(self):
        self.tried(self.client.audit)
        self.tried(self.client.set_tunables, remote_batch="1")
        self.tried(self.client.evict, self.steps % 64 + 1)


class GuessedRefs(Attacker):
    """Frees and takes over blocks that it has never got, in its own arena and in that one."""

    def __init__(self, sockets, arena):
        super().__init__(sockets)
        self.others = arena
        self.own = self.arena()
        self.session.attach(self.own.name, REMOTE)
        self.refs = self.session.allocate(self.own.id, 256, 16).refs
        self.random = random.Random(1)

    def step(self):
        slot = self.refs[self.steps % 16]
        guesses = [slot ^ self.random.getrandbits(64) for _ in range(100)]
        for arena_id in (self.others, (self.others + 500) % 1023 + 1):
            self.tried(self.session.free, arena_id, guesses)
            self.tried(self.session.acquire, arena_id, guesses)
        freed = self.session.free(self.own.id, guesses).freed
        assert freed <= 16, "no block is freed that was not there"
        assert not self.session.acquire(self.own.id, guesses).acquired


class Fallocate(Attacker):
    """Commits and punches its data file without end, and so holds the lock of the file."""

    def __init__(self, sockets):
        super().__init__(sockets)
        self.fd = self.descriptors(self.arena(256 * MIB), WRITER)[0]
        self.fallocate = ctypes.CDLL(None, use_errno=True).fallocate

    def step(self):
        size = ctypes.c_long(256 * MIB)
        os.posix_fallocate(self.fd, 0, 256 * MIB)
        keep_size_and_punch_hole = 3
        self.fallocate(self.fd, keep_size_and_punch_hole, ctypes.c_long(0), size)


class Touches(Attacker):
    """Reads a byte of each page of an arena in which nothing is committed."""

    def __init__(self, sockets):
        super().__init__(sockets)
        fd = self.descriptors(self.arena(512 * MIB), READER)[0]
        self.memory = mmap.mmap(fd, 512 * MIB, access=mmap.ACCESS_READ)

    def step(self):
        part = self.steps % 16 * 32 * MIB
        for at in range(part, part + 32 * MIB, mmap.PAGESIZE):
            self.memory[at]


class TouchesControl(Attacker):
    """Writes a byte of each page of its arena's control memory, most of which nobody needs."""

    def __init__(self, sockets):
        super().__init__(sockets)
        control = self.descriptors(self.arena(4096 * MIB), PEER)[1]
        self.size = os.fstat(control).st_size
        self.memory = mmap.mmap(control, self.size)

    def step(self):
        start = self.steps * 32 * MIB % self.size
        for at in range(start, min(start + 32 * MIB, self.size), mmap.PAGESIZE):
            self.memory[at] = 1


class Scribbles(Attacker):
    """Writes at random places of its arena's control memory, and makes calls there meanwhile."""

    def __init__(self, sockets):
        super().__init__(sockets)
        self.own = self.arena()
        control = self.descriptors(self.own, PEER)[1]
        self.size = os.fstat(control).st_size
        self.memory = mmap.mmap(control, self.size)
        self.random = random.Random(1)
        self.refs = []

    def step(self):
        # Not beyond what its first blocks need: more memory is another attack.
        for _ in range(200):
            at = self.random.randrange(MIB) & ~7
            self.memory[at : at + 8] = self.random.randbytes(8)
        got = self.tried(self.session.allocate, self.own.id, 256, 20)
        if got is not None:
            self.refs += got.refs
        self.tried(self.session.free, self.own.id, self.refs[:10])
        del self.refs[:10]


class ForgedHolders(Attacker):
    """Writes into its own words that another session holds its blocks, and takes more of them."""

    LEAST_STEPS = 20  # beyond its limit
    TAG = 0x5EED12

    def __init__(self, sockets, victim):
        super().__init__(sockets)
        self.own = self.arena()
        self.control = self.descriptors(self.own, PEER)[1]
        self.memory = mmap.mmap(self.control, os.fstat(self.control).st_size)
        tag = self.TAG.to_bytes(3, "little")
        self.mine = tag + self.session.key.id.to_bytes(2, "little")
        self.theirs = tag + victim.to_bytes(2, "little")

    def step(self):
        got = self.tried(self.session.allocate, self.own.id, 65536, 8, tag=self.TAG)
        if got is None:
            select.select([sys.stdin], [], [], 0.01)
            return
        self.counts["bytes"] = self.counts.get("bytes", 0) + 8 * 65536
        start = 0
        try:
            while True:
                start = os.lseek(self.control, start, os.SEEK_DATA)
                end = os.lseek(self.control, start, os.SEEK_HOLE)
                for at in range(start, end, 8):
                    if self.memory[at : at + 5] == self.mine:
                        self.memory[at : at + 5] = self.theirs
                        self.count("forged")
                start = end
        except OSError:  # no more data
            pass


def main():
    sockets, name, uid, more = sys.argv[1:]
    become(uid)
    attacker = globals()[name](sockets, **json.loads(more))
    repeat(attacker.make_step, attacker.counts, attacker.LEAST_STEPS)


if __name__ == "__main__":
    main()
