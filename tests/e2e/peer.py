"""A peer process of the C++ library (client_peer). Each line of command gets a line of answer."""
import subprocess

from daemon import BIN


class Peer:
    def __init__(self, daemon, arena):
        self.process = subprocess.Popen(
            [BIN / "client_peer", daemon.sockets, arena],
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        word, self.session = self.process.stdout.readline().split()
        assert word == "session"

    def ask(self, *words):
        print(*words, file=self.process.stdin, flush=True)
        return self.process.stdout.readline().rstrip("\n")

    def kill(self):
        self.process.kill()
        self.discard()

    def discard(self):
        """Ends it; fine when it has ended already."""
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()
