"""An arenad with two shards for the tests of this folder's programs, and arenactl on it."""
import json
import subprocess

import pytest

from daemon import BIN, Daemon, clean_environment

pytest_plugins = ["daemon_plugin"]


class Arenactl:
    """Runs arenactl against one socket directory."""

    def __init__(self, sockets):
        self.sockets = sockets

    def __call__(self, *words, env=None):
        environment = {**clean_environment(), "ARENAD_SOCKET": self.sockets, **(env or {})}
        return subprocess.run([BIN / "arenactl", *words], env=environment,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=60, check=False)

    def ok(self, *words):
        """Its stdout; fails unless it exits 0 and keeps stderr empty."""
        done = self(*words)
        assert (done.returncode, done.stderr) == (0, ""), f"arenactl {words}: {done}"
        return done.stdout

    def json(self, *words):
        return json.loads(self.ok(*words, "-o", "json"))


@pytest.fixture(scope="session")
def ctl():
    with Daemon("--shards", "2", "--http", "") as daemon:
        yield Arenactl(daemon.sockets)


@pytest.fixture
def arena(ctl, request):
    """The name of a fresh 16 MiB arena, which the test may delete."""
    name = request.node.name[:60]
    ctl.ok("arena", "create", name, "--capacity", "16MiB")
    yield name
    if name in [a["name"] for a in ctl.json("arena", "list")["arenas"]]:
        ctl.ok("arena", "delete", name, "--force")
