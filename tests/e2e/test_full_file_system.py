"""Clients that fill the file system of the state directory by touching what they may only read.

Needs root, which mounts a small tmpfs.
"""
import os
import subprocess

import grpc
import pytest

from client import MIB, PEER, READER, WRITER, Session, expect, refusal_of
from contract import arenas
from daemon import wait_until
from other_user import OtherUser

SIZE = 48 * MIB


@pytest.fixture
def state(tmp_path):
    directory = tmp_path / "state"
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0700", "tmpfs", str(directory)]
    subprocess.run(mount, check=True)
    yield directory
    subprocess.run(["umount", str(directory)], check=True)


@pytest.fixture
def daemon(start_daemon, state):
    return start_daemon("--shards", "2", "--state-dir", str(state))


def free_bytes(state):
    left = os.statvfs(state)
    return left.f_bavail * left.f_frsize


def test_a_reader_that_fills_it_harms_no_other_arena(daemon, client, state, peers):
    client.create_arena("bait", 1024 * MIB, access=arenas.ArenaAccess(mode=0o644))
    victim = client.create_arena("victim", 16 * MIB)
    session = Session(client, "victim").bind()
    session.attach("victim")
    refs = session.allocate(victim.id, 1000, 100).refs
    early = peers("victim")
    greedy = OtherUser(daemon.sockets)
    greedy.open("s")
    greedy.keep_memory("s", "bait", READER)
    greedy.touch_memory()
    assert free_bytes(state) == 0
    # What needs memory is refused. Nobody dies, and nothing is quarantined.
    assert early.ask("many", 64, 1000) == "MACHINE_FULL"
    late = Session(client, "late")
    full = ("RESOURCE_EXHAUSTED", "MACHINE_FULL", "the file system of")
    expect(refusal_of(late.attach, "victim", PEER), *full)
    late.map("victim", WRITER)[1].close()
    expect(refusal_of(session.allocate, victim.id, 4 * MIB), *full)
    expect(refusal_of(client.create_arena, "new", MIB), "RESOURCE_EXHAUSTED", "MACHINE_FULL", "")
    for size in (16, 64, 4096):
        try_to(session.allocate, victim.id, size, 100)
    assert "quarantine" not in daemon.log()
    assert client.audit("victim").exact
    assert session.free(victim.id, refs).freed == 100
    # The reader has the arena still. What it has touched is given back all the same.
    wait_until("there is room", lambda: free_bytes(state) > SIZE // 2)
    wait_until("it is said", lambda: "of arena 'bait' where nothing is allocated" in daemon.log())
    session.allocate(victim.id, 4 * MIB)
    late.attach("victim", PEER)
    greedy.close()


def try_to(call, *args):
    try:
        call(*args)
    except grpc.RpcError:
        pass
