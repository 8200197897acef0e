"""What a daemon finds in its state directory.

Damaged files, files of another layout version, arenas that are half made; another daemon; huge
pages.
"""
import os
import pathlib
import re
import subprocess
import tempfile
import urllib.error
import urllib.request

import pytest

from audit import exact
from client import MIB, Session, refusal_of
from contract import arenas
from daemon import BIN, DEADLINE_S, clean_environment, wait_until

LIFE_CREATING, LIFE_DELETING = 0x11, 0x33
LAYOUT_VERSION = 5
VERSION_AT, LIFE_AT = 8, 136  # in a ledger's header


@pytest.fixture
def daemon(start_daemon, state):
    return start_daemon("--shards", "2", "--state-dir", str(state))


def poke(path, at, data):
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(data)


# ---- what is found ----


def truncate_ledger(state):
    os.truncate(state / "hurt.ledger", 5000)


def flip_ledger(state):
    poke(state / "hurt.ledger", 20, b"\xff")


def zero_ledger(state):
    poke(state / "hurt.ledger", 0, bytes(256))


def forge_run(state):
    size = os.path.getsize(state / "hurt.ledger")
    poke(state / "hurt.ledger", size - 4096, b"\xee" * 8)


def rename_ledger(state):
    for ending in ("ledger", "control", "data"):
        os.rename(state / f"hurt.{ending}", state / f"other.{ending}")


def flip_control(state):
    poke(state / "hurt.control", 0, b"\xff")


def truncate_control(state):
    os.truncate(state / "hurt.control", 4096)


def truncate_data(state):
    os.truncate(state / "hurt.data", MIB)


def lose_data(state):
    os.remove(state / "hurt.data")


def lose_ledger(state):
    os.remove(state / "hurt.ledger")


@pytest.mark.parametrize(
    "damage",
    [
        truncate_ledger,
        flip_ledger,
        zero_ledger,
        forge_run,
        rename_ledger,
        flip_control,
        truncate_control,
        truncate_data,
        lose_data,
        lose_ledger,
    ],
)
def test_damaged_files_are_set_aside_and_the_others_go_on(damage, daemon, client, restart, state):
    hurt, well = client.create_arena("hurt", 16 * MIB), client.create_arena("well", 16 * MIB)
    session = Session(client, "tester").bind()
    for arena in (hurt, well):
        session.map(arena.name)
        session.allocate(arena.id, 256, 100)
    left = {}

    def spoil():
        damage(state)
        for file in (*state.glob("hurt.*"), *state.glob("other.*")):
            left[file.name] = file.read_bytes()

    again = restart(spoil)
    assert refusal_of(again.arena, "hurt").reason == "UNKNOWN_ARENA"
    exact(again, 100)
    name = "other" if damage is rename_ledger else "hurt"
    aside = state / "quarantine" / f"{name}.1"
    assert {
        file.name: file.read_bytes() for file in aside.iterdir()
    } == left, "set aside as they were"
    assert f"arena '{name}' is damaged" in daemon.log() and str(aside) in daemon.log()
    # The name can be used again, and what is damaged again goes beside the other.
    session.client = again
    again.create_arena("hurt", 16 * MIB)
    restart(lambda: lose_ledger(state))
    assert (state / "quarantine" / ("hurt.1" if name == "other" else "hurt.2")).is_dir()


def test_files_of_another_layout_version_are_left_alone(daemon, client, restart, state):
    client.create_arena("old", 16 * MIB)
    before = {}

    def age():
        poke(state / "old.ledger", VERSION_AT, (1).to_bytes(4, "little"))
        before.update({file: file.read_bytes() for file in state.glob("old.*")})

    again = restart(age)
    assert refusal_of(again.arena, "old").reason == "UNKNOWN_ARENA"
    refusal = refusal_of(again.create_arena, "old", 16 * MIB)
    assert refusal.reason == "ARENA_EXISTS" and "layout version 1" in refusal.message, refusal
    assert {file: file.read_bytes() for file in before} == before
    assert "layout version 1" in daemon.log()
    # The arenad that made it comes back.
    again = restart(
        lambda: poke(state / "old.ledger", VERSION_AT, LAYOUT_VERSION.to_bytes(4, "little"))
    )
    assert again.arena("old").capacity_bytes == 16 * MIB


@pytest.mark.parametrize("life", [LIFE_CREATING, LIFE_DELETING])
def test_an_arena_half_made_or_half_deleted_is_removed(life, daemon, client, restart, state):
    client.create_arena("half", 16 * MIB)
    ledger = state / "half.ledger"
    again = restart(lambda: poke(ledger, LIFE_AT, life.to_bytes(4, "little")))
    assert not list(state.glob("half.*")) and not (state / "quarantine").exists()
    assert f"'half' was being {'made' if life == LIFE_CREATING else 'deleted'}" in daemon.log()
    again.create_arena("half", 32 * MIB)


def test_a_deleted_arena_stays_deleted(client, restart, state):
    client.create_arena("gone", 16 * MIB)
    client.arenas.DeleteArena(arenas.DeleteArenaRequest(name="gone"))
    assert not list(state.glob("gone.*"))
    assert refusal_of(restart().arena, "gone").reason == "UNKNOWN_ARENA"


def test_with_the_table_of_sessions_lost_nothing_is_taken_from_those_who_may_live(
    daemon, client, restart, peers, state
):
    client.create_arena("pool", 64 * MIB)
    peer = peers("pool")
    peer.ask("allocate", 1000, "mine")
    again = restart(lambda: poke(state / "sessions.table", 0, b"\xff" * 8))
    assert (state / "quarantine" / "sessions.1" / "sessions.table").exists()
    assert set(again.live_sessions()) == {f"lost-{peer.session}"}
    exact(again, 1)  # the block that the peer holds, whether its client has been told by now or not
    wait_until("its client is told", lambda: "UNKNOWN_SESSION" in peer.ask("allocate", 64, "more"))


# ---- one daemon at a time ----


def refused_start(*flags):
    ended = subprocess.run(
        [BIN / "arenad", "--http", "off", *flags],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1, ended
    return ended.stderr


def test_a_second_daemon_on_the_same_state_directory_refuses_to_start(daemon, client, state):
    arena = client.create_arena("pool", 16 * MIB)
    session = Session(client, "writer").bind()
    session.map("pool")
    refs = session.allocate(arena.id, 256, 100).refs
    message = refused_start("--socket-dir", f"{daemon.dir}/others", "--state-dir", str(state))
    assert (
        f"another arenad (process {daemon.process.pid}) uses the state directory {state} already"
        in message
    )
    assert "--state-dir" in message
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        message = refused_start("--socket-dir", daemon.sockets, "--state-dir", other)
    assert f"another arenad (process {daemon.process.pid}) uses the socket directory" in message
    exact(client, 100)
    assert session.free(arena.id, refs).freed == 100


def test_a_state_directory_that_others_can_reach_is_refused(daemon, state):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        os.chmod(other, 0o755)
        message = refused_start("--socket-dir", f"{daemon.dir}/others", "--state-dir", other)
        assert f"run 'chmod 0700 {other}'" in message


def test_arenas_of_the_configuration_are_made_once(start_daemon, state, connect):
    daemon = start_daemon("--state-dir", str(state), "--arena", "pool:16MiB")
    daemon.kill()
    daemon.start()
    assert connect(daemon.target).arena("pool").capacity_bytes == 16 * MIB


def test_a_second_daemon_refuses_to_start_though_the_lock_file_was_removed(daemon, state):
    (state / "lock").unlink()
    message = refused_start("--socket-dir", f"{daemon.dir}/others", "--state-dir", str(state))
    assert f"another arenad uses the state directory {state} already" in message


# ---- what an operator reads ----


def test_damage_is_said_at_level_warn_too(daemon, state):
    daemon.stop()
    (state / "hurt.ledger").write_bytes(b"no ledger")
    daemon.flags += ("--log-level", "warn")
    since = len(daemon.log())
    daemon.spawn()
    wait_until("the damage is said", lambda: "arena 'hurt' is damaged" in daemon.log(since))
    assert " info " not in daemon.log(since), daemon.log(since)


def readyz(daemon):
    address = re.findall(r"HTTP on (http://\S+)", daemon.log())[-1]
    try:
        with urllib.request.urlopen(f"{address}/readyz", timeout=DEADLINE_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


# The clean-up of a user's tmpfs at logout does this.
def test_files_that_are_removed_under_a_daemon_are_said_and_not_promised(
    start_daemon, state, connect
):
    daemon = start_daemon(
        "--state-dir", str(state), "--http", "127.0.0.1:0", "--drain-deadline-ms", "1"
    )
    client = connect(daemon.target)
    arena = client.create_arena("pool", 16 * MIB)
    session = Session(client, "writer").bind()
    session.map("pool")
    assert readyz(daemon)[0] == 200
    for file in state.iterdir():
        file.unlink()
    wait_until("the loss is said", lambda: "were removed from the state" in daemon.log())
    wait_until("/readyz is 503", lambda: readyz(daemon)[0] == 503)
    assert "files of the state directory were removed" in readyz(daemon)[1]
    refs = session.allocate(arena.id, 256, 100).refs
    assert session.free(arena.id, refs).freed == 100
    daemon.stop()
    assert "1 of 1 arenas are lost with this daemon" in daemon.log()
    assert "are kept for the next daemon" not in daemon.log()


# ---- huge pages ----


@pytest.fixture
def hugetlbfs():
    """A mounted hugetlbfs with 16 pages of 2 MiB, or None where the machine gives none."""
    pages = pathlib.Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")
    directory = tempfile.mkdtemp(prefix="arenad-huge-")
    before = pages.read_text() if pages.exists() else None
    mounted = False
    try:
        if before is not None:
            try:
                pages.write_text(str(int(before) + 16))
                mounted = (
                    subprocess.run(
                        [
                            "mount",
                            "-t",
                            "hugetlbfs",
                            "-o",
                            "pagesize=2M,mode=0700",
                            "none",
                            directory,
                        ],
                        capture_output=True,
                        check=False,
                    ).returncode
                    == 0
                )
                mounted = mounted and int(pages.read_text()) >= int(before) + 16
            except OSError:
                pass
        yield directory if mounted else None
    finally:
        subprocess.run(["umount", directory], capture_output=True, check=False)
        os.rmdir(directory)
        if before is not None:
            try:
                pages.write_text(before)
            except OSError:
                pass


def test_payload_may_lie_on_huge_pages(hugetlbfs, start_daemon, state, connect):
    if hugetlbfs is None:  # what an operator without any reads
        with tempfile.TemporaryDirectory() as directory, tempfile.TemporaryDirectory(
            dir="/dev/shm"
        ) as sockets:
            missing = f"{directory}/missing/huge"
            message = refused_start(
                "--socket-dir", sockets, "--state-dir", str(state), "--data-dir", missing
            )
            assert f"data directory {missing} cannot be made" in message, message
        return
    daemon = start_daemon("--state-dir", str(state), "--data-dir", hugetlbfs)
    client = connect(daemon.target)
    arena = client.create_arena("huge", 16 * MIB)
    session = Session(client, "writer").bind()
    _, data = session.map("huge")
    written = session.allocate(arena.id, 4096, 100)
    data[written.offsets[5]] = 55
    assert os.path.exists(f"{hugetlbfs}/huge.data") and not (state / "huge.data").exists()
    daemon.kill()
    daemon.start()
    session.client = connect(daemon.target)
    exact(session.client, 100)
    assert data[written.offsets[5]] == 55
    assert session.free(arena.id, written.refs).freed == 100
    data.close()
