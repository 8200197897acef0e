"""Connections that the daemon accepts: more than it has descriptors for, and what they leave."""
import contextlib
import os
import socket

from client import Client, Session
from daemon import wait_until


def descriptors(daemon):
    return len(os.listdir(f"/proc/{daemon.process.pid}/fd"))


def raw_connections(path, count):
    sockets = []
    for _ in range(count):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.connect(path)
        sockets.append(connection)
    return sockets


def test_used_up_descriptors_come_back_with_the_end_of_connections(start_daemon):
    daemon = start_daemon("--shards", "2", command=("prlimit", "--nofile=128:128"))
    with contextlib.closing(Client(daemon.target)) as client:
        session = Session(client, "before")
        for name in ("arenad.sock", "shard-0.sock", "shard-1.sock"):
            sockets = raw_connections(os.path.join(daemon.sockets, name), 200)
            wait_until(
                "the daemon says that it has none left",
                lambda name=name: f"{name} wait: " in daemon.log(),
            )
            assert "before" in client.live_sessions(), "connections that there are go on"
            for connection in sockets:
                connection.close()
            with contextlib.closing(Client(f"unix:{daemon.sockets}/{name}")) as late:
                assert "before" in late.live_sessions()
        session.close()


def test_many_connections_one_after_another_are_all_served(start_daemon):
    """More than there are numbers of descriptors, and faster than their numbers rest."""
    daemon = start_daemon("--shards", "2", command=("prlimit", "--nofile=512:512"))
    path = os.path.join(daemon.sockets, "shard-1.sock")
    for _ in range(1500):
        (connection,) = raw_connections(path, 1)
        assert connection.recv(1), "the daemon speaks first: SETTINGS"
        connection.close()


def test_connections_that_come_and_go_leave_nothing(start_daemon):
    daemon = start_daemon("--shards", "2")

    def connect(times):
        for _ in range(times):
            with contextlib.closing(Client(daemon.target)) as client:
                Session(client, "short").close()
            for connection in raw_connections(os.path.join(daemon.sockets, "shard-1.sock"), 20):
                connection.close()

    connect(5)
    wait_until("it is quiet", lambda: descriptors(daemon) < 60)
    before = descriptors(daemon)
    connect(60)
    wait_until("all went", lambda: descriptors(daemon) <= before)
