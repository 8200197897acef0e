"""What attacks share: a process of another user that makes steps until it is told to end."""
import json
import os
import select
import subprocess
import sys


class HostileProcess:
    """with HostileProcess(script, ...) as attack: ... Its counts are complete afterwards."""

    def __init__(self, script, *arguments):
        self.counts = {}
        self.process = subprocess.Popen(
            [sys.executable, script, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self):
        assert self.process.stdout.readline() == "began\n"
        return self

    def __exit__(self, kind, *_):
        self.process.stdin.close()
        counts = self.process.stdout.read()
        assert self.process.wait() == 0
        if kind is None:
            self.counts = json.loads(counts)


# --- in the process itself


def become(uid):
    os.setgroups([])
    os.setgid(int(uid))
    os.setuid(int(uid))


def repeat(step, counts, least=1):
    """Makes steps until the test has enough, and at least so many. Then prints the counts."""
    print("began", flush=True)
    made = 0
    while made < least or not select.select([sys.stdin], [], [], 0)[0]:
        step()
        made += 1
    counts["steps"] = made
    print(json.dumps(counts))
