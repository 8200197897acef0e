"""Runs one program of the benchmark to its end."""
import subprocess

DEADLINE_S = 300
LOG_BYTES = 2000


class BenchmarkFailed(Exception):
    """A subject did not run; the text says what to do."""


def run(command, environment, server_log=lambda: "", deadline_s=DEADLINE_S):
    """What it prints. Raises BenchmarkFailed unless it exits with 0."""
    words = " ".join(map(str, command))
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=deadline_s,
            universal_newlines=True,
            check=False,
        )
    except FileNotFoundError:
        raise BenchmarkFailed(
            f"{command[0]} does not exist; build the target 'benchmarks'"
        ) from None
    except subprocess.TimeoutExpired:
        raise BenchmarkFailed(f"{words} did not end within {deadline_s} s") from None
    if done.returncode != 0:
        raise BenchmarkFailed(
            f"{words} ended with {done.returncode}: {done.stderr.strip()}\n"
            + server_log()[-LOG_BYTES:]
        )
    return done.stdout
