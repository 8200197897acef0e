"""Workloads inside one process: each subject is a program that measures one workload."""
import json
import os

import report
import subject_process

ONE_THREAD = ("pair", "batch", "shuffled", "churn")
TWO_THREADS = ("producer_consumer", "xmalloc", "larson", "own")
LARGE = ("large_pair", "large_rotation", "large_handoff", "large_churn", "large_growth")
WORKLOADS = ONE_THREAD + TWO_THREADS + LARGE
WORKLOADS += ("breathing", "seed", "arena_sizes", "heap_counts", "debug_flags")

P0_ON = {"HAKMEM_TINY_P0_ENABLE": "1"}
P0_NO_DRAIN = {"HAKMEM_TINY_P0_ENABLE": "1", "HAKMEM_TINY_P0_NO_DRAIN": "1"}
P0_OFF = {"HAKMEM_TINY_P0_ENABLE": "0"}

# name, program, environment
ARENAD = (report.ARENAD, "bench_arenad", P0_ON)
ARENAD_NO_DRAIN = (report.ARENAD + " P0 no drain", "bench_arenad", P0_NO_DRAIN)
ARENAD_OFF = (report.ARENAD + " P0 off", "bench_arenad", P0_OFF)
PEERS = tuple((name, "bench_" + name, {}) for name in report.MEMORY_PEERS)
FLOOR = ("no allocator", "bench_no_allocator", {})


def subjects(workload):
    if workload in ("arena_sizes", "heap_counts", "debug_flags"):
        return (ARENAD,)
    if workload == "large_churn":
        return PEERS
    if workload == "breathing":
        return (ARENAD,) + PEERS
    if workload in LARGE:
        return PEERS + (FLOOR,)
    if workload == "seed":
        return (ARENAD, ARENAD_NO_DRAIN, ARENAD_OFF) + PEERS + (FLOOR,)
    return (ARENAD, ARENAD_OFF) + PEERS + (FLOOR,)


def sample(workload, programs, args, samples):
    """Runs every subject of the workload once."""
    for name, program, environment in subjects(workload):
        if args.subject and not any(name.startswith(s) for s in args.subject):
            continue
        for figure in figures(programs / program, workload, environment, args):
            samples.add(
                figure["workload"],
                name,
                figure["metric"],
                figure["value"],
                figure.get("one_way_ns"),
            )


def figures(program, workload, environment, args, *more):
    clean = {
        k: v
        for k, v in os.environ.items()
        if not k.startswith("HAKMEM_TINY_") and k != "LD_PRELOAD"
    }
    command = [
        str(program),
        "--workload",
        workload,
        "--milliseconds",
        str(args.milliseconds),
        "--warm-up-milliseconds",
        str(args.warm_up_milliseconds),
        "--seed",
        str(args.seed),
        "--churn-seconds",
        str(args.churn_seconds),
        *more,
    ]
    deadline = subject_process.DEADLINE_S + args.churn_seconds
    printed = subject_process.run(command, {**clean, **environment}, deadline_s=deadline)
    return [json.loads(line) for line in printed.splitlines()]
