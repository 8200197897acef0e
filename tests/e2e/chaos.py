"""arena-load chaos as a child process."""
import re
import subprocess

from daemon import BIN, clean_environment

RESULT = re.compile(r"kills=(\d+) daemon_kills=(\d+) lost=(\d+) doubled=(\d+) mismatches=(\d+)")


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
