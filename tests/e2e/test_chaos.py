"""Peers and the daemon are killed at random moments, and the daemon is stopped.

Nothing is lost, nothing is given to two, nothing is quarantined, and the audit is exact. This is
the size for every run of the tests; test_chaos_long.py has the large one. A failure prints the
seed.
"""
import json

import pytest

from chaos import DONE, WRONG, chaos, result, wrong

# Without --most-stop-ms a stop may last 6 s.
SHORT_STOPS = ("--most-stop-ms", "2000")


@pytest.mark.parametrize("flags", [(), ("--kill-daemon",)], ids=["peers", "peers and daemon"])
def test_300_kills_and_all_else(tmp_path, flags):
    report = tmp_path / "r.json"
    done = chaos("--kills", "300", *SHORT_STOPS, "--json", report, *flags, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    counts, found = result(done), json.loads(report.read_text())
    assert wrong(done) == {} and counts["kills"] == 300
    assert (counts["daemon_kills"] > 0) == bool(flags)
    assert counts["stops"] >= 3 and counts["deletes"] >= 10
    assert counts["execs"] >= 10 and counts["closes"] >= 5
    possible = bool(flags) and found["boot_ids_impossible"] == ""
    assert counts["boot_ids"] == (3 if possible else 0)
    assert ("no other boot id" in done.stdout) == (found["boot_ids_impossible"] != "")
    assert {name: found[name] for name in DONE + WRONG} == counts and found["findings"] == []
    assert f"seed {found['seed']}" in done.stdout.splitlines()[0] and found["operations"] > 300


def test_the_result_as_json():
    none = ("--stops", "0", "--deletes", "0", "--execs", "0", "--closes", "0")
    done = chaos("--kills", "5", *none, "-o", "json", timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert [found[name] for name in DONE + WRONG] == [5] + [0] * 10
    assert "kills" in done.stderr


def test_a_run_that_is_cut_short_fails_and_says_so():
    done = chaos("--kills", "1000000", "--seconds", "1", timeout=100)
    assert done.returncode == 1 and "ended before all was done" in done.stdout
    assert wrong(done) == {}


@pytest.mark.parametrize(
    "plant, shows", [("double", "doubled"), ("damage", "mismatches"), ("leak", "lost")]
)
def test_what_is_wrong_is_seen(plant, shows):
    done = chaos("--kills", "20", *SHORT_STOPS, "--plant", plant, timeout=100)
    assert done.returncode == 3, done.stdout
    assert shows in wrong(done) and "FOUND: " in done.stdout and "--seed" in done.stdout


def test_usage():
    assert chaos("--peers", "1").returncode == 2
    described = chaos("--help")
    assert described.returncode == 0
    for option in ("--stops", "--most-stop-ms", "--deletes", "--execs", "--closes", "--boot-ids"):
        assert option in described.stdout
    alone = chaos("--boot-ids", "1")
    assert alone.returncode == 2 and "--kill-daemon" in alone.stderr
    nobody = chaos("--arenad", "/nowhere/arenad")
    assert nobody.returncode == 1 and "--arenad" in nobody.stderr
