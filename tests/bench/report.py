"""What was measured, and how it is shown: samples, rows and tables."""
import collections
import re
import statistics

FAR_NS = 100  # as client/load/kernels/cores.h

# The columns' order; subjects that are not named here come after these.
SUBJECTS = (
    "arenad peer",
    "arenad in-process",
    "arenad in-process P0 no drain",
    "arenad in-process P0 off",
    "glibc",
    "mimalloc",
    "jemalloc",
    "tcmalloc",
    "tbb",
    "boost_interprocess",
    "no allocator",
)
MEMORY_PEERS = ("glibc", "mimalloc", "jemalloc", "tcmalloc", "tbb", "boost_interprocess")
ARENAD = "arenad in-process"
PEER = "arenad peer"
LARGE = ("ratio", "calls_per_op", "calls_per_swing", "percent_of_allocations")  # large_report.py
FACTS = ("ms", "percent", "calls", "ns_per_256B")  # metrics that are not compared between subjects


class Samples:
    """Figures by workload, subject and metric, in order, each with the cores' distance or None."""

    def __init__(self):
        self._values = collections.OrderedDict()

    def add(self, workload, subject, metric, value, one_way_ns=None):
        self._values.setdefault((workload, subject, metric), []).append((value, one_way_ns))

    def workloads(self):
        return list(dict.fromkeys(workload for workload, _, _ in self._values))

    def subjects(self, workload):
        return [s for w, s, _ in self._values if w == workload]

    def metric(self, workload):
        return next(m for w, _, m in self._values if w == workload)

    def all(self, workload, subject):
        return self._values.get((workload, subject, self.metric(workload)), [])

    def kept(self, workload, subject):
        """The values that may be compared.

        The host moves its cores, and cores that are near and cores that are far apart are two
        different machines. So a workload of two cores keeps the values of the distance that it
        mostly had.
        """
        values = self.all(workload, subject)
        mode = self.mode(workload)
        kept = [
            v for v, distance in values if mode is None or (distance >= FAR_NS) == (mode == "far")
        ]
        return kept or [v for v, _ in values]

    def mode(self, workload):
        distances = self.distances(workload)
        if not distances:
            return None
        return "far" if sum(d >= FAR_NS for d in distances) * 2 > len(distances) else "near"

    def distances(self, workload):
        return [
            d
            for (w, _, _), values in self._values.items()
            if w == workload
            for _, d in values
            if d is not None
        ]

    def median(self, workload, subject):
        values = self.kept(workload, subject)
        return statistics.median(values) if values else None

    def rows(self):
        rows = []
        for workload, subject, metric in self._values:
            values = self.kept(workload, subject)
            rows.append(
                {
                    "workload": workload,
                    "subject": subject,
                    "metric": metric,
                    "median": round(statistics.median(values), 3),
                    "min": round(min(values), 3),
                    "max": round(max(values), 3),
                    "runs": len(values),
                }
            )
        distances = [d for w in self.workloads() for d in self.distances(w)]
        if distances:
            rows.append(
                {
                    "workload": "cache_line_one_way",
                    "subject": "two cores",
                    "metric": "ns_per_op",
                    "median": round(statistics.median(distances), 1),
                    "min": round(min(distances), 1),
                    "max": round(max(distances), 1),
                    "runs": len(distances),
                }
            )
        return rows


def print_table(title, header, lines, out):
    widths = [max(len(str(line[i])) for line in [header] + lines) for i in range(len(header))]
    print(f"\n{title}", file=out)
    for number, line in enumerate([header] + lines):
        cells = [str(line[0]).ljust(widths[0])] + [
            str(c).rjust(w) for c, w in zip(line[1:], widths[1:])
        ]
        print("  ".join(cells).rstrip(), file=out)
        if number == 0:
            print("  ".join("-" * w for w in widths), file=out)


def number(value):
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 1000 else f"{value:.1f}" if value >= 100 else f"{value:.2f}"


def ratio(value, base):
    return f"{value / base:.2f}" if value is not None and base else "-"


# Families of workloads that should cost the same; each is compared with its first member.
FAMILIES = (
    (r"batch_arena_(.+)", "Batch, by the arena's size: ns per operation"),
    (r"churn_arena_(.+)", "Churn, by the arena's size: ns per operation"),
    (r"batch_heaps_(.+)", "Batch, by the number of heaps that take turns: ns per operation"),
    (r"shards_(\d+)", "Unary calls, by the number of shards: calls per second"),
    (
        r"shards_(\d+)_cpu",
        "Unary calls, by the number of shards: processor time of both sides, ns per call",
    ),
)


def print_tables(samples, out):
    families = [
        (
            title,
            [
                (m.group(1), m.string)
                for m in (re.fullmatch(pattern, w) for w in samples.workloads())
                if m
            ],
        )
        for pattern, title in FAMILIES
    ]
    in_families = {workload for _, members in families for _, workload in members}
    rest = [
        w for w in samples.workloads() if w not in in_families and samples.metric(w) not in LARGE
    ]
    facts = [w for w in rest if samples.metric(w) in FACTS]
    rest = [w for w in rest if w not in facts]
    memory = [w for w in rest if any(s in SUBJECTS for s in samples.subjects(w))]
    print_memory(samples, memory, out)
    print_facts(samples, facts, out)
    print_calls(samples, [w for w in rest if w not in memory], out)
    for title, members in families:
        print_family(samples, title, members, out)


def print_memory(samples, workloads, out):
    if not workloads:
        return
    subjects = [s for s in SUBJECTS if any(s in samples.subjects(w) for w in workloads)]
    lines = []
    for workload in workloads:
        ours = samples.median(workload, ARENAD) if ARENAD in samples.subjects(workload) else None
        process = samples.median(workload, PEER) if PEER in samples.subjects(workload) else None
        peers = [
            samples.median(workload, p) for p in MEMORY_PEERS if p in samples.subjects(workload)
        ]
        mimalloc = (
            samples.median(workload, "mimalloc")
            if "mimalloc" in samples.subjects(workload)
            else None
        )
        distances = samples.distances(workload)
        way = f"{statistics.median(distances):.0f} {samples.mode(workload)}" if distances else ""
        lines.append(
            [workload]
            + [number(samples.median(workload, s)) for s in subjects]
            + [
                ratio(ours, mimalloc),
                ratio(ours, min(peers) if peers else None),
                ratio(process, min(peers) if peers else None),
                way,
            ]
        )
    heads = [s.replace("arenad in-process", "arenad") for s in subjects]
    print_table(
        "Memory: ns per operation, median of the runs",
        ["workload"]
        + heads
        + ["arenad/mimalloc", "arenad/fastest", "peer/fastest", "line one way, ns"],
        lines,
        out,
    )
    for workload in workloads:
        distances = samples.distances(workload)
        other = sum((d >= FAR_NS) != (samples.mode(workload) == "far") for d in distances)
        if other:
            print(
                f"{workload}: {other} of {len(distances)} samples were set aside: the cores were "
                f"{'near' if samples.mode(workload) == 'far' else 'far'} then",
                file=out,
            )


def print_facts(samples, workloads, out):
    if not workloads:
        return
    lines = [
        [
            w,
            number(samples.median(w, PEER)),
            number(min(samples.kept(w, PEER))),
            number(max(samples.kept(w, PEER))),
            samples.metric(w),
        ]
        for w in workloads
    ]
    print_table(
        "Peers: growth, reap, metadata, calls",
        ["what", "median", "least", "most", "unit"],
        lines,
        out,
    )
    if "growth" in workloads:
        floor = samples.median("growth_floor", PEER)
        print(f"growth to its floor: {ratio(samples.median('growth', PEER), floor)}", file=out)


def print_family(samples, title, members, out):
    if not members:
        return
    subjects = samples.subjects(members[0][1])
    first = [samples.median(members[0][1], s) for s in subjects]
    lines = []
    for name, workload in members:
        values = [samples.median(workload, s) for s in subjects]
        lines.append(
            [name] + [cell for v, f in zip(values, first) for cell in (number(v), ratio(v, f))]
        )
    print_table(title, [""] + [head for s in subjects for head in (s, "to the first")], lines, out)


def print_calls(samples, workloads, out):
    if not workloads:
        return
    lines = []
    for workload in workloads:
        subjects = samples.subjects(workload)
        base = samples.median(workload, subjects[-1])
        for subject in subjects:
            value, metric = samples.median(workload, subject), samples.metric(workload)
            speed = ratio(value, base) if metric == "calls_per_s" else ratio(base, value)
            lines.append([workload, subject, number(value), metric, speed])
    print_table(
        "Through the daemon (gRPC)",
        ["workload", "subject", "median", "metric", "times the last one's speed"],
        lines,
        out,
    )
