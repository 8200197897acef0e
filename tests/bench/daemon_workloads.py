"""Workloads through the daemon: arenad or the bare echo as a process, bench_rpc as its client."""
import json
import os
import pathlib

import subject_process
from daemon import Daemon, clean_environment

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
        for subject, call, in_flight in (
            (EXCHANGE, "exchange", EXCHANGE_MESSAGES),
            (UNARY, "unary", 32),
        ):
            if wanted(subject):
                done = measure(programs, args, "arenad", call, in_flight)
                samples.add(workload, subject, "ns_per_op", 1e9 / done["blocks_per_s"])
    else:
        for shards in SHARDS:
            for subject, program, call in CALLS:
                if wanted(subject):
                    done = measure(
                        programs, args, program, call, IN_FLIGHT_PER_SHARD * shards, shards
                    )
                    samples.add(f"shards_{shards}", subject, "calls_per_s", done["calls_per_s"])
                    samples.add(
                        f"shards_{shards}_cpu", subject, "ns_per_op", done["cpu_ns_per_call"]
                    )


def measure(programs, args, server, call, in_flight, shards=2):
    """One run of bench_rpc against a fresh server.

    What bench_rpc printed, and the processor time of both sides for a call.
    """
    with serve(programs / server, shards) as daemon:
        before = cpu_ns(daemon.process.pid)  # without what the start took
        command = [
            str(programs / "bench_rpc"),
            "--call",
            call,
            "--in-flight",
            str(in_flight),
            "--milliseconds",
            str(5 * args.milliseconds),
            "--warm-up-milliseconds",
            str(5 * args.warm_up_milliseconds),
        ]
        for shard in range(shards):
            command += ["--address", f"unix:{daemon.sockets}/shard-{shard}.sock"]
        result = json.loads(subject_process.run(command, poll_environment(), daemon.log))
        cpu = result["cpu_ns"] + cpu_ns(daemon.process.pid) - before
        result["cpu_ns_per_call"] = cpu / max(1, result["calls"])
        return result


def serve(program, shards):
    """A server with its sockets in a fresh directory, for a with statement."""
    return Daemon(
        "--shards", shards, *NO_HTTP.get(program.name, ()), program=program, env=poll_environment()
    )


def poll_environment():
    """The environment of servers and clients: a poller for each queue, unless told otherwise."""
    return {"GRPC_POLL_STRATEGY": "poll", **clean_environment()}


def cpu_ns(pid):
    """User and system time of a process so far."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * 1e9 / os.sysconf("SC_CLK_TCK")
