"""arena-load chaos as a child process."""
import re
import subprocess

from daemon import BIN, clean_environment

DONE = ("kills", "daemon_kills", "stops", "deletes", "execs", "closes", "boot_ids")
WRONG = ("lost", "doubled", "quarantined", "mismatches")


def result(done):
    """The counts of the last line, by name."""
    last = done.stdout.splitlines()[-1]
    counts = {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", last)}
    assert tuple(counts) == DONE + WRONG, last
    return counts


def wrong(done):
    """What a run must not have: the counts of the last line that are not 0."""
    counts = result(done)
    return {name: counts[name] for name in WRONG if counts[name] != 0}


def chaos(*words, timeout=60):
    done = subprocess.run(
        [BIN / "arena-load", "chaos", *map(str, words)],
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    print(done.stdout, done.stderr)  # pytest shows it when the test fails: the seed is in it
    return done
