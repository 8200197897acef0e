"""What is shown of large blocks and of breathing beside times: calls, failures and the goals."""
import re

import report

HELP = """Large blocks (256 KiB to 64 MiB; wall time, calls included, ns):
  large_pair      allocate one block, write its first byte, free it
  large_rotation  four blocks in rotation, each written whole; _to_plain: the time divided by that
                  of the same writes to four fixed buffers of plain memory
  large_handoff   a block from a producer through a ring to a consumer that takes it over and
                  frees it; arenad and Boost: two processes, others: two threads
  large_churn     an allocation of 64 KiB to 32 MiB, in an arena of twice what is live;
                  _failed: percent of the allocations; lasts --churn-seconds
  large_growth    a page of 4 KiB, from nothing to 512 MiB of blocks, each page written
  breathing       a block of 256 B, 1 KiB or 4 KiB: 100,000 are allocated, then freed, over and
                  over; _2_threads: each thread has half of them
Rows that end with _calls are gRPC calls of a peer: per operation, per block (large_growth) or per
swing of 100,000 blocks (breathing).
"""

NO_CALLS = 0.001  # an operation; a process of large_handoff counts the calls of its start too

PAIR_NS, ROTATION, HANDOFF_NS, GROWTH, BREATHING, BREATHING_2 = 150, 1.15, 300, 1.1, 1.2, 1.3


def goal_of(samples, workload):
    """(what is measured, its value, the goal) of a workload that has a goal; None otherwise."""
    peer = samples.median(workload, report.PEER)

    def of(subject):
        return samples.median(workload, subject)

    def over(subject):
        base = of(subject)
        return peer / base if base else None

    if re.fullmatch(r"large_pair_[^_]+", workload):
        return "ns", peer, PAIR_NS
    if re.fullmatch(r"large_rotation_[^_]+_to_plain", workload):
        return "times plain memory", peer, ROTATION
    if re.fullmatch(r"large_handoff_[^_]+", workload):
        ring = of("no allocator")
        return "ns beside the ring", None if ring is None else peer - ring, HANDOFF_NS
    if re.fullmatch(r"large_growth_[^_]+", workload):
        return "times commit and touch", over("no allocator"), GROWTH
    if workload == "large_churn_failed":
        return "percent failed", peer, 0
    if re.fullmatch(r"breathing_[^_]+", workload):
        return "times mimalloc", over("mimalloc"), BREATHING
    if re.fullmatch(r"breathing_[^_]+_2_threads", workload):
        return "times mimalloc", over("mimalloc"), BREATHING_2
    return None


def print_tables(samples, out):
    print_others(samples, out)
    print_goals(samples, out)


def print_others(samples, out):
    """Ratios, calls and failures, by subject."""
    rows = [w for w in samples.workloads() if samples.metric(w) in report.LARGE]
    if not rows:
        return
    subjects = [s for s in report.SUBJECTS if any(s in samples.subjects(w) for w in rows)]
    lines = [
        [w, samples.metric(w)] + [report.number(samples.median(w, s)) for s in subjects]
        for w in rows
    ]
    report.print_table(
        "Large blocks and breathing: beside times", ["what", "unit"] + subjects, lines, out
    )


def print_goals(samples, out):
    lines = []
    for workload in samples.workloads():
        if report.PEER not in samples.subjects(workload):
            continue
        found = goal_of(samples, workload)
        if found is None or found[1] is None:
            continue
        unit, value, goal = found
        # Calls of the load that was measured; those of growth are part of its time.
        loop = workload.replace("_to_plain", "").replace("_failed", "")
        row = loop + "_calls"
        calls = samples.median(row, report.PEER) if row in samples.workloads() else None
        may_call = calls is None or loop.startswith(("large_growth", "large_churn"))
        reached = value <= goal and (may_call or calls < NO_CALLS)
        lines.append(
            [
                loop,
                report.number(value),
                report.number(goal),
                unit,
                "-" if calls is None else report.number(calls),
                "reached" if reached else "missed",
            ]
        )
    if lines:
        report.print_table(
            "Goals of large blocks: peers",
            ["workload", "measured", "goal at most", "unit", "calls", ""],
            lines,
            out,
        )
