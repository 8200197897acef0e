"""Fixtures: a fresh daemon for each test, and clients of it.

A test that took a daemon ends with a drain and exit code 0.
"""
import pathlib
import shutil
import tempfile

import pytest

from client import MIB, Client, Session
from other_user import OtherUser
from peer import Peer


pytest_plugins = ["daemon_plugin"]


@pytest.fixture
def daemon(start_daemon):
    """A busy machine may take its time between two calls of a test: sessions wait for them."""
    return start_daemon("--shards", "2", "--keepalive-grace-ms", "600000")


@pytest.fixture
def connect(start_daemon):  # after it: clients close before their daemon stops
    """Clients of a target, closed when the test ends (before the daemon stops)."""
    clients = []

    def to(target):
        clients.append(Client(target))
        return clients[-1]

    yield to
    for client in clients:
        client.close()


@pytest.fixture
def client(daemon, connect):
    return connect(daemon.target)


@pytest.fixture
def arena(client):
    return client.create_arena("pool", 64 * MIB)


@pytest.fixture
def session(client, arena):
    opened = Session(client, "tester")
    opened.attach(arena.name)
    return opened


@pytest.fixture
def exact_afterwards(client):
    """Whatever was refused, nothing is lost and nothing counted twice."""
    yield
    audit = client.audit()
    assert audit.exact and audit.p0_counter_mismatch == 0, audit


@pytest.fixture
def shards(client, connect):
    """One client a shard, in order."""
    return [connect(shard.address) for shard in client.topology().shards]


@pytest.fixture
def state():
    """A state directory on tmpfs."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="arenad-state-", dir="/dev/shm"))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def start_daemon(state, start_daemon):
    """As in daemon_plugin.py. The daemons end before the state directory goes."""
    return start_daemon


@pytest.fixture
def peers(daemon):
    started = []

    def start(arena):
        started.append(Peer(daemon, arena))
        return started[-1]

    yield start
    for peer in started:
        peer.discard()


@pytest.fixture
def restart(daemon, connect):
    """Kills the daemon, does something to what it left, starts another; a client of that."""

    def again(meanwhile=lambda: None):
        daemon.kill()
        meanwhile()
        daemon.start()
        return connect(daemon.target)

    return again


@pytest.fixture
def users(start_daemon):
    """users(daemon, uid) makes a client of that user. Needs root."""
    made = []

    def make(daemon, uid):
        made.append(OtherUser(daemon.sockets, uid, uid))
        return made[-1]

    yield make
    for user in made:
        user.process.kill()
        user.process.wait()
