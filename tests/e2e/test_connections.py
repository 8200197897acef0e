"""Connections that the daemon accepts: more than it has descriptors for, and what they leave."""
import contextlib
import os
import re
import socket
import urllib.request

from client import Client, Session
from daemon import DEADLINE_S, wait_until


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


def pauses(daemon):
    """How often the main thread has slept. A thread that spins does not sleep."""
    with open(f"/proc/{daemon.process.pid}/status", encoding="ascii") as status:
        return int(re.search(r"\nvoluntary_ctxt_switches:\s+(\d+)", status.read())[1])


def test_http_waits_for_descriptors_and_does_not_spin(start_daemon):
    daemon = start_daemon(
        "--shards", "1", "--http", "127.0.0.1:0", command=("prlimit", "--nofile=128:128")
    )
    address = re.search(r"HTTP on http://(127.0.0.1):(\d+)", daemon.log())
    with contextlib.ExitStack() as sockets:
        for connection in raw_connections(os.path.join(daemon.sockets, "arenad.sock"), 200):
            sockets.enter_context(connection)
        for _ in range(80):
            silent = sockets.enter_context(socket.create_connection(address.groups()))
        wait_until(
            "the daemon says that it has none left",
            lambda: f"{address[1]}:{address[2]} wait: " in daemon.log(),
        )
        before = pauses(daemon)
        wait_until("it sleeps between its attempts", lambda: pauses(daemon) > before + 20)
        assert silent
    url = f"http://{address[1]}:{address[2]}/healthz"
    with urllib.request.urlopen(url, timeout=DEADLINE_S) as healthy:
        assert healthy.status == 200


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
