"""The Python example is a program that works, as it stands."""
import subprocess

from daemon import ROOT


def test_round_trip_prints_every_step_and_leaves_nothing(ctl):
    before = ctl.json("stats")
    example = ROOT / "client/examples/python_roundtrip.py"
    done = subprocess.run(["/usr/bin/python3", example, "--socket", ctl.sockets],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240,
                          check=False)
    assert done.returncode == 0, done.stderr
    steps = [line.split()[0] for line in done.stdout.splitlines()]
    assert steps == ["created", "opened", "attached", "allocated", "wrote", "described", "freed",
                     "freed", "closed", "deleted"]
    assert "'written by Python through mmap'" in done.stdout
    # STALE_REF when the daemon has reclaimed the empty slab before the second free.
    assert any(f"refused: REASON_{r}" in done.stdout for r in ("DOUBLE_FREE", "STALE_REF"))
    assert "still held 0 blocks" in done.stdout
    after = ctl.json("stats")
    for fact in ("arenas", "sessions", "sessions_reaped"):
        assert after[fact] == before[fact], fact
