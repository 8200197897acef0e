"""An arenad with two shards for the tests of this folder's programs, and arenactl on it."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("ARENAD_BIN_DIR", ROOT / "build/release/bin"))


def clean_environment():
    """This process's, without what would configure a daemon or a client: arenad refuses variables that it does not know."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("HAKMEM_", "ARENAD_"))}


class Arenactl:
    """Runs arenactl against one socket directory."""

    def __init__(self, sockets):
        self.sockets = sockets

    def __call__(self, *words, env=None):
        return subprocess.run([BIN / "arenactl", *words], env={**clean_environment(), "ARENAD_SOCKET": self.sockets, **(env or {})},
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False)

    def ok(self, *words):
        """Its stdout; fails unless it exits 0 and keeps stderr empty."""
        done = self(*words)
        assert (done.returncode, done.stderr) == (0, ""), f"arenactl {words}: {done}"
        return done.stdout

    def json(self, *words):
        return json.loads(self.ok(*words, "-o", "json"))


@pytest.fixture(scope="session")
def ctl():
    directory = tempfile.mkdtemp(prefix="arenad-ctl-")   # short: a socket's path has at most 107 characters
    sockets = os.path.join(directory, "s")
    os.mkdir(sockets)
    log_path = os.path.join(directory, "log")
    with open(log_path, "wb") as log:
        daemon = subprocess.Popen([BIN / "arenad", "--socket-dir", sockets, "--shards", "2", "--http", ""],
                                  stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=clean_environment())
    try:
        arenactl = Arenactl(sockets)
        deadline = time.monotonic() + 20
        while arenactl("health").returncode != 0:
            assert daemon.poll() is None and time.monotonic() < deadline, pathlib.Path(log_path).read_text()
        yield arenactl
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(20) == 0, pathlib.Path(log_path).read_text()
    finally:
        if daemon.poll() is None:
            daemon.kill()
            daemon.wait()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def arena(ctl, request):
    """The name of a fresh 16 MiB arena, which the test may delete."""
    name = request.node.name[:60]
    ctl.ok("arena", "create", name, "--capacity", "16MiB")
    yield name
    if name in [a["name"] for a in ctl.json("arena", "list")["arenas"]]:
        ctl.ok("arena", "delete", name, "--force")
