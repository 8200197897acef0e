"""Workloads through the daemon: arenad, or the bare echo, as a process of its own, and bench_rpc as its client."""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import report

SHARDS = (1, 2, 4, 8, 16)
WORKLOADS = ("rpc", "rpc_2_in_flight", "exchange", "shards")

UNARY = "arenad daemon unary"
EXCHANGE = "arenad daemon exchange 64"
ECHO = "grpc echo"
CALLS = ((UNARY, "arenad", "unary"), (ECHO, "bench_echo", "echo"))  # subject, server, call
NO_HTTP = {"arenad": ("--http", "")}  # its port may be taken, and nobody asks
IN_FLIGHT = {"rpc": 32, "rpc_2_in_flight": 2}
IN_FLIGHT_PER_SHARD = 16
EXCHANGE_MESSAGES = 8  # in flight; of 64 blocks


def sample(workload, programs, args, samples):
    """Runs every subject of the workload once."""
    def wanted(subject):
        return not args.subject or any(subject.startswith(s) for s in args.subject)

    if workload in IN_FLIGHT:
        for subject, program, call in CALLS:
            if wanted(subject):
                done = measure(programs, args, program, call, IN_FLIGHT[workload])
                samples.add(workload, subject, "calls_per_s", done["calls_per_s"])
                samples.add(workload + "_cpu", subject, "ns_per_op", done["cpu_ns_per_call"])
    elif workload == "exchange":
        for subject, call, in_flight in ((EXCHANGE, "exchange", EXCHANGE_MESSAGES), (UNARY, "unary", 32)):
            if wanted(subject):
                done = measure(programs, args, "arenad", call, in_flight)
                samples.add(workload, subject, "ns_per_op", 1e9 / done["blocks_per_s"])
    else:
        for shards in SHARDS:
            for subject, program, call in CALLS:
                if wanted(subject):
                    done = measure(programs, args, program, call, IN_FLIGHT_PER_SHARD * shards, shards)
                    samples.add(f"shards_{shards}", subject, "calls_per_s", done["calls_per_s"])
                    samples.add(f"shards_{shards}_cpu", subject, "ns_per_op", done["cpu_ns_per_call"])


def measure(programs, args, server, call, in_flight, shards=2):
    """One run of bench_rpc against a fresh server. What it printed, and the processor time of both sides for a call."""
    with serve(programs / server, shards) as (process, directory):
        for shard in range(shards):
            wait_for_socket(directory / f"shard-{shard}.sock", process)
        before = cpu_ns(process.pid)  # without what the start took
        command = [str(programs / "bench_rpc"), "--call", call, "--in-flight", str(in_flight),
                   "--milliseconds", str(5 * args.milliseconds), "--warm-up-milliseconds", str(5 * args.warm_up_milliseconds)]
        for shard in range(shards):
            command += ["--address", f"unix:{directory}/shard-{shard}.sock"]
        try:
            done = subprocess.run(command, env=poll_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  timeout=120, universal_newlines=True)
        except subprocess.TimeoutExpired:
            raise report.BenchmarkFailed(f"{' '.join(command)} did not end within 120 s") from None
        if done.returncode != 0:
            raise report.BenchmarkFailed(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip()}\n"
                                         + (directory / "server.log").read_text(errors="replace")[-2000:])
        result = json.loads(done.stdout)
        result["cpu_ns_per_call"] = (result["cpu_ns"] + cpu_ns(process.pid) - before) / max(1, result["calls"])
        return result


@contextlib.contextmanager
def serve(program, shards):
    """A server with its sockets in a fresh directory; ended by SIGTERM, which it must obey with exit code 0."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="arenad-bench-"))
    command = [str(program), "--socket-dir", str(directory), "--shards", str(shards), *NO_HTTP.get(program.name, ())]
    try:
        with (directory / "server.log").open("wb") as log:
            try:
                process = subprocess.Popen(command, env=poll_environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            except FileNotFoundError:
                raise report.BenchmarkFailed(f"{program} does not exist; build the target 'benchmarks'") from None
        try:
            yield process, directory
            process.send_signal(signal.SIGTERM)
            code = process.wait(20)
            if code != 0:
                raise report.BenchmarkFailed(f"{' '.join(command)} ended with {code} after SIGTERM:\n"
                                             + (directory / "server.log").read_text(errors="replace")[-2000:])
        except subprocess.TimeoutExpired:
            raise report.BenchmarkFailed(f"{' '.join(command)} did not end within 20 s of SIGTERM") from None
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def wait_for_socket(path, process):
    """Returns when somebody listens at `path`."""
    deadline = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                return probe.connect(str(path))
            except OSError:
                time.sleep(0.005)
    raise report.BenchmarkFailed(f"nobody listens at {path}:\n" + (path.parent / "server.log").read_text(errors="replace")[-2000:])


def poll_environment():
    """The poller that BASELINE.md recommends, for both sides; whoever has set another keeps it."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("HAKMEM_TINY_", "ARENAD_"))}
    return dict({"GRPC_POLL_STRATEGY": "poll"}, **clean)


def cpu_ns(pid):
    """User and system time of a process so far."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * 1e9 / os.sysconf("SC_CLK_TCK")
