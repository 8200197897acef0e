"""The C++ program of the top README works as the README shows it."""
import subprocess

from daemon import BIN, clean_environment


def run(sockets):
    return subprocess.run([BIN / "document_client"], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=120, check=False,
                          env={**clean_environment(), "ARENAD_SOCKET": sockets})


def test_program_hands_a_block_over_and_leaves_nothing(ctl):
    ctl.ok("arena", "create", "frames", "--capacity", "16MiB")
    done = run(ctl.sockets)
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello\n", "")
    assert ctl.json("arena", "get", "frames").get("held_blocks") == 0
    ctl.ok("arena", "delete", "frames")


def test_program_says_what_is_wrong(ctl, tmp_path):
    without_arena = run(ctl.sockets)
    assert without_arena.returncode == 1 and "UNKNOWN_ARENA" in without_arena.stderr
    without_daemon = run(str(tmp_path))
    assert without_daemon.returncode == 1 and "UNAVAILABLE" in without_daemon.stderr
