"""What peers cost beside nanoseconds per operation, and bench_peer against a daemon of its own."""
import json
import pathlib

import daemon_workloads
import process_workloads
import report
import subject_process

PEER = report.PEER
WORKLOADS = ("growth", "reap", "metadata", "steady_calls")
PEER_LOOPS = ("pair", "batch", "shuffled", "churn", "producer_consumer", "xmalloc", "own")
PEER_LOOPS += process_workloads.LARGE + ("breathing",)
STEADY = ("pair", "batch", "churn", "handoff", "xmalloc")  # of arena-load
STEADY_SECONDS, SETTLE_SECONDS = 1, 5


def sample(workload, programs, args, samples):
    if args.subject and not any(PEER.startswith(s) for s in args.subject):
        return
    with daemon_workloads.serve(programs / "arenad", 2) as daemon:
        if workload == "steady_calls":
            for loop in STEADY:
                samples.add(
                    f"steady_calls_{loop}", PEER, "calls", steady_calls(programs, loop, daemon)
                )
            return
        for figure in figures(programs, workload, args, daemon):
            samples.add(figure["workload"], PEER, figure["metric"], figure["value"])


def sample_loop(workload, programs, args, samples):
    """A loop of process_workloads by peers: beside its other subjects, in the same turn."""
    if workload not in PEER_LOOPS or (
        args.subject and not any(PEER.startswith(s) for s in args.subject)
    ):
        return
    with daemon_workloads.serve(programs / "arenad", 2) as daemon:
        for figure in figures(programs, workload, args, daemon):
            samples.add(
                figure["workload"],
                PEER,
                figure["metric"],
                figure["value"],
                figure.get("one_way_ns"),
            )


def figures(programs, workload, args, daemon):
    return process_workloads.figures(
        programs / "bench_peer",
        workload,
        {},
        args,
        "--socket-dir",
        daemon.sockets,
        "--daemon-pid",
        str(daemon.process.pid),
    )


def steady_calls(programs, loop, daemon):
    """gRPC calls in a second of a load that has settled."""
    file = pathlib.Path(daemon.dir) / "steady.json"
    command = [
        str(programs / "arena-load"),
        loop,
        "--mode",
        "peer",
        "--socket",
        daemon.sockets,
        "--quiet",
        "--json",
        str(file),
        "--warm-up",
        str(SETTLE_SECONDS),
        "--duration",
        str(STEADY_SECONDS),
    ]
    subject_process.run(command, daemon_workloads.poll_environment(), daemon.log)
    return json.loads(file.read_text())["workloads"][0]["calls"]
