"""arena-load against a daemon: every workload, its exit codes and its reports."""
import csv
import json
import re
import signal
import subprocess
import time

import pytest

from daemon import BIN, clean_environment

SHORT = ("--duration", "0.5", "--capacity", "64MiB")


def command(*words):
    return [BIN / "arena-load", *words]


def load(ctl, *words, timeout=60):
    environment = {**clean_environment(), "ARENAD_SOCKET": ctl.sockets}
    return subprocess.run(command(*words), env=environment, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=timeout, check=False)


def passes(ctl, *words):
    done = load(ctl, *words)
    assert done.returncode == 0, done
    assert "conservation holds" in done.stdout
    return done.stdout


def row(output, workload):
    return next(line.split() for line in output.splitlines()
                if line.startswith(workload + " ") and "blocks/s" not in line)


@pytest.mark.parametrize("workload", ["pair", "batch", "churn", "larson"])
@pytest.mark.parametrize("mode", ["inproc", "unary", "exchange"])
def test_workload_moves_blocks_and_conserves_them(ctl, workload, mode):
    moved = row(passes(ctl, workload, "--mode", mode, *SHORT), workload)
    assert moved[1] == mode and int(moved[2]) > 0


@pytest.mark.parametrize("workload", ["pair", "batch", "churn", "larson", "handoff", "xmalloc"])
def test_peers_move_blocks_and_hardly_call(ctl, tmp_path, workload):
    report = tmp_path / "r.json"
    out = passes(ctl, workload, "--mode", "peer", "--warm-up", "1", "--json", report, *SHORT)
    assert "peer" in " ".join(row(out, workload)[1:3])
    result = json.loads(report.read_text())
    moved = result["workloads"][0]
    assert moved["operations"] > 100_000 and 0 <= moved["calls"] < moved["operations"] / 1000
    shards = result["conservation"]["shards"]
    assert sum(s["remote_frees"] for s in shards) == 0, "a shard freed what peers are to free"


def test_frames_go_round_and_over_to_another_process(ctl, tmp_path):
    report = tmp_path / "r.json"
    out = passes(ctl, "frames", "--warm-up", "0.2", "--json", report, "--duration", "0.5",
                 "--capacity", "256MiB")
    assert "frame (mean of 4)" in out
    rows = json.loads(report.read_text())["workloads"]
    assert [(r["workload"], r["mode"]) for r in rows] == [("frames", "peer"), ("frames", "2 peers")]
    for r in rows:
        assert r["operations"] > 0 and r["bad_stamps"] == 0 and r["left_held"] == 0, r


def test_small_frames_need_no_calls(ctl, tmp_path):
    report = tmp_path / "r.json"
    passes(ctl, "frames", "--size", "4KiB", "--warm-up", "1", "--json", report, *SHORT)
    for r in json.loads(report.read_text())["workloads"]:
        assert r["operations"] > 1000 and r["calls"] < r["operations"] / 100, r


def test_frames_have_room_for_their_stamps_and_one_mode(ctl):
    assert load(ctl, "frames", "--size", "15").returncode == 2
    assert load(ctl, "frames", "--mode", "unary").returncode == 2
    passes(ctl, "frames", "--size", "16", "--warm-up", "0", *SHORT)
    assert "default 4MiB" in " ".join(load(ctl, "frames", "--help").stdout.split())


def test_a_frame_left_held_is_not_conserved(ctl):
    done = load(ctl, "frames", "--warm-up", "0", "--leave-block", *SHORT)
    assert done.returncode == 3 and "left held" in done.stdout, done


def test_calls_are_counted_in_every_mode(ctl, tmp_path):
    report = tmp_path / "r.json"
    # A message allocates 64 blocks, another frees them.
    for mode, blocks_a_call in (("unary", 32), ("exchange", 32)):
        passes(ctl, "pair", "--mode", mode, "--json", report, *SHORT)
        moved = json.loads(report.read_text())["workloads"][0]
        assert moved["calls"] > 0, moved
        assert abs(moved["operations"] / moved["calls"] - blocks_a_call) < 8, moved
    passes(ctl, "pair", "--mode", "inproc", "--json", report, *SHORT)
    assert json.loads(report.read_text())["workloads"][0]["calls"] is None


def test_rpc_has_no_peers(ctl):
    done = load(ctl, "rpc", "--mode", "peer", *SHORT)
    assert done.returncode == 2 and "--mode" in done.stdout + done.stderr
    assert "A peer makes no calls" in " ".join(load(ctl, "rpc", "--help").stdout.split())


@pytest.mark.parametrize("workload", ["handoff", "xmalloc"])
def test_every_free_between_processes_is_remote(ctl, tmp_path, workload):
    report = tmp_path / "r.json"
    passes(ctl, workload, "--json", report, *SHORT)
    result = json.loads(report.read_text())
    moved = result["workloads"][0]["operations"]
    shards = result["conservation"]["shards"]
    assert moved > 0 and sum(s["remote_frees"] for s in shards) >= moved
    assert all(s["remote_frees_to"][s["shard"]] == 0 for s in shards), "a remote free to oneself"


def test_rpc_closed_and_open_loop(ctl):
    assert row(passes(ctl, "rpc", "--in-flight", "8", *SHORT), "rpc")[1] == "closed"
    moved = row(passes(ctl, "rpc", "--rate", "400", *SHORT), "rpc")
    # 400 calls a second are 200 blocks a second.
    assert moved[1] == "open" and 10 <= int(moved[2]) <= 200


def test_suite_shows_every_part_of_the_main_job(ctl, tmp_path):
    report = tmp_path / "r.json"
    out = passes(ctl, "suite", "--json", report, "--duration", "1")
    for workload in ("rpc", "batch", "handoff", "xmalloc"):
        assert re.search(rf"^{workload} +\S.* 1 s +\S+ blocks/s", out, re.M), (
            f"no live line of {workload}")
        assert row(out, workload)
    assert "P0_COUNTER_OK" in out and "mismatches: 0" in out and "remote frees to shard" in out
    by_peers = re.findall(r"^(\S+) +(?:2 )?peers? +(\d+) +\d+ ", out, re.M)
    assert [name for name, _ in by_peers] == ["batch", "handoff", "xmalloc", "frames", "frames"]
    assert all(int(moved) >= 1000 for name, moved in by_peers if name != "frames")
    for shard in json.loads(report.read_text())["conservation"]["shards"]:
        assert shard["drains"] > 0 and shard["splices"] > 0 and shard["carves"] > 0
        assert sum(shard["remote_frees_to"]) > 0


@pytest.mark.parametrize("mode", ["inproc", "exchange", "peer"])
def test_a_block_left_held_is_not_conserved(ctl, mode):
    done = load(ctl, "churn", "--mode", mode, "--leave-block", *SHORT)
    assert done.returncode == 3 and "left held" in done.stdout, done


def test_reports_have_their_shape(ctl, tmp_path):
    files = {kind: tmp_path / f"r.{kind}" for kind in ("json", "csv", "html")}
    reports = [word for kind, file in files.items() for word in (f"--{kind}", file)]
    out = passes(ctl, "pair", "--seed", "42", *SHORT, *reports)
    assert "seed 42" in out
    result = json.loads(files["json"].read_text())
    assert result["seed"] == 42 and result["conservation"]["ok"]
    latency = result["workloads"][0]["latency"]
    assert 0 < latency["p50_ns"] <= latency["p99_ns"] <= latency["p99.99_ns"] <= latency["max_ns"]
    rows = list(csv.DictReader(files["csv"].open()))
    assert [r["workload"] for r in rows] == ["pair"]
    assert int(rows[0]["operations"]) == result["workloads"][0]["operations"]
    page = files["html"].read_text()
    assert "<svg" in page and "http://" not in page and "https://" not in page


def test_a_named_arena_is_created_and_kept(ctl):
    try:
        passes(ctl, "pair", "--arena", "kept", *SHORT)
        assert ctl.json("arena", "get", "kept")["capacity_bytes"] == 64 << 20
        passes(ctl, "pair", "--arena", "kept", *SHORT)
    finally:
        ctl("arena", "delete", "kept", "--force")


def test_temporary_arenas_go_away(ctl):
    passes(ctl, "pair", *SHORT)
    names = [a["name"] for a in ctl.json("arena", "list")["arenas"]]
    assert not [name for name in names if name.startswith("arena-load-")]


def test_usage_and_refusals_have_their_exit_codes(ctl, tmp_path):
    assert load(ctl, "nonsense").returncode == 2
    assert load(ctl, "pair", "--batch", "0").returncode == 2
    assert load(ctl, "pair", "--size", "0").returncode == 2
    assert load(ctl, "suite", "--help").returncode == 0
    nobody = load(ctl, "pair", "--socket", tmp_path, *SHORT)
    assert nobody.returncode == 1 and "UNAVAILABLE" in nobody.stderr
    too_large = load(ctl, "pair", "--size", "1GiB", *SHORT)
    assert too_large.returncode == 1 and "INVALID_SIZE" in too_large.stderr
    no_shard = load(ctl, "pair", "--shards", "9", *SHORT)
    assert no_shard.returncode == 1 and "shard 9 does not exist" in no_shard.stderr


def test_interrupt_ends_the_run_early_and_still_audits(ctl):
    run = subprocess.Popen(command("pair", "--duration", "60", "--capacity", "64MiB"),
                           stdout=subprocess.PIPE, text=True,
                           env={**clean_environment(), "ARENAD_SOCKET": ctl.sockets})
    began = time.monotonic()
    assert " 1 s" in run.stdout.readline()
    run.send_signal(signal.SIGINT)
    rest, _ = run.communicate(timeout=30)
    assert run.returncode == 0 and "conservation holds" in rest
    assert time.monotonic() - began < 30
