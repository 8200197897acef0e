"""The C++ example is a program that works, as it stands."""
import re
import subprocess

from daemon import BIN


def test_blocks_go_from_peer_to_peer_without_a_call_each(ctl):
    done = subprocess.run([BIN / "arena-peers", ctl.sockets], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    said = re.fullmatch(r"(\d+) blocks from process to process, [\d.]+ ns each, "
                        r"(\d+) calls of the producer", done.stdout.splitlines()[0])
    blocks, calls = map(int, said.groups())
    assert blocks == 1 << 20 and calls < 1000
    assert done.stdout.splitlines()[1] == "audit: exact, 0 blocks held"
    assert ctl.json("arena", "list") == {"arenas": []} and ctl.json("sessions") == {"sessions": []}
