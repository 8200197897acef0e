"""An attacker as a process of another user: Flood starts it, and stops it at the end of the block.

The attacks are the functions of Attacks. Each makes one step, again and again.
"""
import gzip
import os
import select
import sys

import http2
from hostile_process import HostileProcess, become, repeat

CONNECTIONS = 8
BATCH = 500


class Flood(HostileProcess):
    """with Flood(daemon.sockets, "pings") as flood: ..."""

    def __init__(self, sockets, attack, agrees=False, uid=65533):
        super().__init__(__file__, sockets, attack, str(int(agrees)), str(uid))


class Attacks:
    def __init__(self, path, agrees):
        self.path = path
        self.agrees = agrees
        self.open = []
        self.counts = {"connections": 0, "refused": 0, "cut": 0, "sent": 0}

    def connect(self):
        """Has CONNECTIONS open. The daemon may have cut some."""
        while len(self.open) < CONNECTIONS:
            try:
                self.open.append(http2.Connection(self.path, self.agrees))
            except OSError:  # barred
                self.counts["refused"] += 1
                select.select([sys.stdin], [], [], 0.01)
                return
            self.counts["connections"] += 1

    def each(self, act):
        self.connect()
        for connection in list(self.open):
            try:
                act(connection)
            except OSError:
                self.counts["cut"] += 1
                connection.close()
                self.open.remove(connection)

    def calls(self, connection, path, whole, read):
        if not connection.unsent:
            for _ in range(BATCH):
                stream = connection.next_stream()
                connection.unsent += http2.request(stream, path)
                if whole:
                    connection.unsent += http2.message(stream, b"")
            self.counts["sent"] += BATCH
        connection.push(b"")
        if read:
            connection.pull()

    def nothing_but_work(self):
        """Uses a processor, as the others do, and leaves the daemon alone."""
        self.counts["sent"] += sum(range(100000)) > 0

    def unknown_methods(self):
        self.each(lambda c: self.calls(c, "/no.such.Service/Method", True, True))

    def unknown_methods_unread(self):
        self.each(lambda c: self.calls(c, "/no.such.Service/Method", True, False))

    def calls_without_a_session(self):
        self.each(lambda c: self.calls(c, "/arenad.v1.Admin/GetTopology", True, True))

    def calls_unread(self):
        self.each(lambda c: self.calls(c, "/arenad.v1.Admin/GetTopology", True, False))

    def open_streams(self):
        self.each(lambda c: self.calls(c, "/arenad.v1.Arenas/ListArenas", False, True))

    def pings(self):
        def ping(connection):
            if not connection.unsent:
                connection.unsent = http2.frame(http2.PING, 0, 0, b"\0" * 8) * BATCH
                self.counts["sent"] += BATCH
            connection.push(b"")
            connection.pull()

        self.each(ping)

    def bombs(self):
        """63 MiB of zeros as 64 kB, within the first window of a stream."""
        if "bomb" not in self.__dict__:
            self.bomb = gzip.compress(bytes(60 << 20))

        def throw(connection):
            if connection.stream < 0:
                stream = connection.next_stream()
                path = "/arenad.v1.Arenas/CreateArena"
                connection.unsent = http2.request(stream, path, (b"grpc-encoding", b"gzip"))
                connection.unsent += http2.message(stream, self.bomb, compressed=True)
                self.counts["sent"] += 1
                self.counts.setdefault("answers", {})
                connection.answer = b""
            connection.push(b"")
            connection.answer += connection.pull()
            at = connection.answer.find(b"grpc-status")
            if at >= 0 and len(connection.answer) > at + 13:
                # The header's value has a length of its own: one digit or two.
                size = connection.answer[at + 11]
                status = connection.answer[at + 12 : at + 12 + size].decode("latin-1")
                answers = self.counts["answers"]
                answers[status] = answers.get(status, 0) + 1
                raise ConnectionResetError  # the next bomb has a connection of its own

        self.each(throw)


def main():
    sockets, attack, agrees, uid = sys.argv[1:]
    become(uid)
    attacks = Attacks(os.path.join(sockets, "arenad.sock"), agrees == "1")
    step = getattr(attacks, attack)
    step()
    repeat(step, attacks.counts)


if __name__ == "__main__":
    main()
