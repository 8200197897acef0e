"""arenad as a child process of a test or a benchmark, on a socket directory of its own.

The one launcher of daemons in Python (tests/support/daemon_process.h is the one in C++). It needs
only the standard library. Nothing stays behind: setpriv asks the kernel to kill the daemon when
the thread that started it ends.
"""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("TESTED_BIN_DIR", ROOT / "build/release/bin"))

# A deadline ends a test that would hang; no test asserts that something takes less.
DEADLINE_S = 60.0


def clean_environment():
    """This process's, without what would configure a daemon or a client of the tests."""
    return {
        k: v
        for k, v in os.environ.items()
        if not k.startswith(("HAKMEM_", "ARENAD_")) and k != "NOTIFY_SOCKET"
    }


def wait_until(what, condition, deadline_s=DEADLINE_S):
    """Asks until `condition` is true, and returns its value. Fails with `what` at the deadline."""
    end = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"not within {deadline_s} s: {what}"
        time.sleep(0.002)  # between two looks


class DaemonFailed(Exception):
    """A daemon did not start, or did not end as it must. Its log is in the text."""


class Daemon:
    """Started by the constructor, and it serves when the constructor returns.

    As a context manager it is stopped at the end of the block, which must give exit code 0.
    """

    started = []  # all that were not discarded, for whoever shows their logs

    def __init__(self, *flags, env=None, command=(), program=None):
        """command: words in front of the program, for example unshare. program: another server
        that knows --socket-dir, says "ready" and ends at SIGTERM."""
        self.flags, self.env, self.command = flags, env or {}, command
        self.program = pathlib.Path(program or BIN / "arenad")
        # Short: a socket's path has at most 107 characters.
        self.dir = tempfile.mkdtemp(prefix="arenad-test-")
        os.chmod(self.dir, 0o755)  # other users may be its clients
        self.sockets = os.path.join(self.dir, "sockets")
        os.mkdir(self.sockets, 0o755)
        self.log_path = os.path.join(self.dir, "log")
        self.target = f"unix:{self.sockets}/arenad.sock"
        self.process = None
        self.log_before_start = 0
        Daemon.started.append(self)
        try:
            self.start()
        except BaseException:
            self.discard()
            raise

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                self.stop()
        finally:
            self.discard()

    def start(self):
        """Starts it, again after its end too: same directory, flags and environment."""
        self.spawn()
        try:
            wait_until("ready", self.is_ready)
        except AssertionError:
            raise DaemonFailed(f"{self.program.name} is not ready:\n{self.log()}") from None

    def spawn(self):
        """The same, and does not wait until it serves."""
        with open(self.log_path, "ab") as log:
            self.log_before_start = log.tell()
            try:
                self.process = subprocess.Popen(
                    [
                        "setpriv",
                        "--pdeathsig",
                        "KILL",
                        *map(str, self.command),
                        self.program,
                        "--socket-dir",
                        self.sockets,
                        *map(str, self.flags),
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={**clean_environment(), **self.env},
                )
            except OSError as error:
                raise DaemonFailed(f"{self.program} cannot be started: {error}") from None

    def is_ready(self):
        """Whether it has said that it serves. Raises when it has ended instead."""
        code = self.process.poll()
        if code is not None:
            raise DaemonFailed(f"{self.program.name} ended with {code}:\n{self.log()}")
        return re.search(r"\bready\b", self.log(self.log_before_start))

    def log(self, since=0):
        """What it has written, of all starts, from that byte on."""
        with open(self.log_path, "rb") as log:
            log.seek(since)
            return log.read().decode("utf-8", "replace")

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def wait(self, deadline_s=DEADLINE_S):
        """Its exit code."""
        return self.process.wait(deadline_s)

    def stop(self):
        """Drains by SIGTERM. The exit code must be 0."""
        if self.process.poll() is None:
            self.terminate()
        try:
            code = self.wait()
        except subprocess.TimeoutExpired:
            code = "nothing: it did not end after SIGTERM"
        if code != 0:
            raise DaemonFailed(f"{self.program.name} ended with {code}:\n{self.log()}")

    def discard(self):
        """Whatever happened: no process and no file stays."""
        if self in Daemon.started:
            Daemon.started.remove(self)
        if self.process and self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)
