"""Peers and the daemon are killed at random moments.

Nothing is lost, nothing is given to two, and the audit is exact. This is the size for every run of
the tests; test_chaos_long.py has the large one. A failure prints the seed.
"""
import json

import pytest

from chaos import RESULT, chaos


@pytest.mark.parametrize("flags", [(), ("--kill-daemon",)], ids=["peers", "peers and daemon"])
def test_300_kills(tmp_path, flags):
    report = tmp_path / "r.json"
    done = chaos("--kills", "300", "--json", report, *flags, timeout=200)
    kills, daemon_kills, lost, doubled, mismatches = map(
        int, RESULT.fullmatch(done.stdout.splitlines()[-1]).groups()
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (kills, lost, doubled, mismatches) == (300, 0, 0, 0)
    assert (daemon_kills > 0) == bool(flags)
    found = json.loads(report.read_text())
    assert (
        found["kills"] == 300 and found["daemon_kills"] == daemon_kills and found["findings"] == []
    )
    assert f"seed {found['seed']}" in done.stdout.splitlines()[0] and found["operations"] > 300


def test_a_run_that_is_cut_short_fails_and_says_so():
    done = chaos("--kills", "1000000", "--seconds", "1", timeout=100)
    assert done.returncode == 1 and "ended before all kills were done" in done.stdout
    assert RESULT.fullmatch(done.stdout.splitlines()[-1]).groups()[2:] == ("0", "0", "0")


@pytest.mark.parametrize(
    "plant, shows", [("double", "doubled"), ("damage", "mismatches"), ("leak", "lost")]
)
def test_what_is_wrong_is_seen(plant, shows):
    done = chaos("--kills", "20", "--plant", plant, timeout=100)
    assert done.returncode == 3, done.stdout
    counts = dict(
        zip(
            ("kills", "daemon_kills", "lost", "doubled", "mismatches"),
            map(int, RESULT.fullmatch(done.stdout.splitlines()[-1]).groups()),
        )
    )
    assert counts[shows] > 0 and "FOUND: " in done.stdout and "--seed" in done.stdout


def test_usage():
    assert chaos("--peers", "1").returncode == 2
    assert chaos("--help").returncode == 0
    nobody = chaos("--arenad", "/nowhere/arenad")
    assert nobody.returncode == 1 and "--arenad" in nobody.stderr
