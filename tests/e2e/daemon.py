"""arenad as a child process of a test, on a socket directory of its own."""
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

import grpc

from contract import ROOT, HealthRequest, HealthResponse

BIN = pathlib.Path(os.environ.get("TESTED_BIN_DIR", ROOT / "build/release/bin"))

# What the person who runs the tests has set for a daemon of theirs is not for these.
CLEAN_ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith(("HAKMEM_", "ARENAD_"))}


def wait_until(what, condition, deadline_s=10.0):
    """Asks `condition` again and again until it is true (and returns it), and fails with `what` at the deadline."""
    end = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"not within {deadline_s} s: {what}"
        time.sleep(0.002)


class Daemon:
    """Started by the constructor and healthy when it returns. `stop` asserts a clean end."""

    def __init__(self, *flags, env=None, command=()):
        self.flags, self.env, self.command = flags, env or {}, command   # command: what arenad is started by
        self.dir = tempfile.mkdtemp(prefix="arenad-e2e-")  # short: a socket's path has at most 107 characters
        os.chmod(self.dir, 0o755)  # other users may be its clients
        self.log_path = os.path.join(self.dir, "arenad.log")
        self.target = f"unix:{self.dir}/sockets/arenad.sock"
        self.process = None
        try:
            self.start()
        except BaseException:
            self.discard()
            raise

    def start(self):
        """Starts it, again after its end too: same directory, flags and environment."""
        self.spawn()
        wait_until("arenad is healthy", self.healthy, 20)

    def spawn(self):
        """The same, and does not wait for it."""
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [*self.command, BIN / "arenad", "--socket-dir", f"{self.dir}/sockets", *self.flags],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**CLEAN_ENVIRONMENT, **self.env})

    def healthy(self):
        assert self.process.poll() is None, f"arenad ended with {self.process.returncode}:\n{self.log()}"
        with grpc.insecure_channel(self.target) as channel:
            check = channel.unary_unary(
                "/grpc.health.v1.Health/Check", request_serializer=HealthRequest.SerializeToString,
                response_deserializer=HealthResponse.FromString)
            try:
                return check(HealthRequest(), timeout=2).status == HealthResponse.SERVING
            except grpc.RpcError:
                return False

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def wait(self, deadline_s=20):
        return self.process.wait(deadline_s)

    def stop(self):
        """Drains by SIGTERM; exit code 0 or the test fails with the log."""
        if self.process.poll() is None:
            self.terminate()
        code = self.wait()
        assert code == 0, f"arenad ended with {code}:\n{self.log()}"

    def discard(self):
        """Whatever happened: no process and no file stays."""
        if self.process and self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)
