"""The daemon dies, or its operator restarts it.

With a state directory nobody who lives loses anything. What belonged to the dead is given back
before the first call is served.
"""
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from audit import exact, sessions_of
from client import MIB, READER, Session, refusal_of, refusal_of_ref
from daemon import wait_until
from peer import Peer

VICTIM = pathlib.Path(__file__).with_name("victim.py")


@pytest.fixture
def daemon(start_daemon, state):
    return start_daemon("--shards", "2", "--state-dir", str(state))


# ---- who lives goes on ----


def test_sessions_of_every_mode_go_on_with_their_blocks(client, restart, peers):
    arena = client.create_arena("pool", 64 * MIB)
    writer = Session(client, "writer").bind()
    _, data = writer.map("pool")
    written = writer.allocate(arena.id, 4096, 100)
    for i, offset in enumerate(written.offsets):
        data[offset] = i
    reader = Session(client, "reader").bind()
    _, seen = reader.map("pool", READER)
    remote = Session(client, "remote")
    remote.attach("pool")
    remote_refs = remote.allocate(arena.id, 256, 50).refs
    peer = peers("pool")
    ref = peer.ask("allocate", 1000, "hello")

    again = restart()
    remote.keep_alive(again)
    for session in (writer, reader):
        session.client = again
    assert set(again.live_sessions()) == {"writer", "reader", "remote", "peer-process"}
    assert again.stats().sessions_reaped == 0
    exact(again, 151)
    facts = again.arena("pool")
    assert (facts.id, facts.held_blocks, facts.sessions) == (arena.id, 151, 4)
    assert [data[offset] for offset in written.offsets] == list(range(100))
    assert [seen[offset] for offset in written.offsets] == list(range(100))
    assert {b.holder for b in writer.describe(arena.id, written.refs)} == {writer.key.id}
    assert peer.ask("read", ref) == "hello"
    # The peer gets on with its own, with others' blocks, and with more memory than it had.
    assert peer.ask("take", *remote_refs[:10]) == "ok"
    wait_until("the peer leases again", lambda: peer.ask("many", 60000, 100) == "ok")
    assert remote.free(arena.id, remote_refs[10:]).freed == 40
    # The slab still holds blocks, so it cannot go back: a ref into it is not stale for that reason.
    assert writer.free(arena.id, written.refs[:1]).freed == 1
    again_freed = writer.free(arena.id, written.refs[:1])
    assert refusal_of_ref(again_freed.errors[0]).reason == "DOUBLE_FREE"
    assert writer.free(arena.id, written.refs[1:]).freed == 99
    more = writer.allocate(arena.id, 4096, 1000).refs
    exact(again, 1 + 10 + 100 + 1000)
    assert writer.free(arena.id, more).freed == 1000
    peer.kill()
    wait_until("the peer's are back", lambda: again.arena("pool").held_blocks == 0)
    exact(again, 0)


def test_peers_allocate_on_while_the_daemon_dies_again_and_again(client, restart, peers, connect):
    client.create_arena("pool", 256 * MIB)
    churning = [peers("pool") for _ in range(3)]
    for peer in churning:
        assert peer.ask("churn") == "ok"
    again = client
    for _ in range(5):
        again = restart()
        wait_until("all peers are back", lambda: sum(s.keepalive for s in sessions_of(again)) == 3)
    assert all(peer.process.poll() is None for peer in churning)
    churning[0].kill()
    again = restart(churning[1].kill)
    churning[2].kill()
    wait_until(
        "all is back", lambda: not again.live_sessions() and again.arena("pool").held_blocks == 0
    )
    exact(again, 0)


def test_an_operators_restart_costs_nobody_a_block(daemon, client, connect):
    arena = client.create_arena("pool", 64 * MIB, holder_only=True, debug="FZPU")
    session = Session(client, "writer").bind()
    _, data = session.map("pool")
    written = session.allocate(arena.id, 100, 1000)
    data[written.offsets[7]] = 77
    # Nobody has to close. If the daemon waited for this deadline, stop() would fail.
    client.set_tunables(drain_deadline_ms="600000")
    daemon.stop()  # exit code 0
    daemon.start()
    session.client = connect(daemon.target)
    facts = session.client.arena("pool")
    assert (facts.holder_only, facts.debug, facts.access.mode, facts.held_blocks) == (
        True,
        "FZPU",
        0o660,
        1000,
    )
    exact(session.client, 1000)
    assert data[written.offsets[7]] == 77
    assert session.free(arena.id, written.refs).freed == 1000
    assert session.close() is not None
    exact(session.client, 0)


def test_processes_of_another_pid_namespace_are_told_apart_from_the_dead(
    start_daemon, state, connect
):
    """The daemon is in one container and its clients are in others.

    The daemon sees no pid of theirs, and after a restart it has no pidfd.
    """
    daemon = start_daemon(
        "--shards",
        "2",
        "--state-dir",
        str(state),
        "--restart-grace-ms",
        "1000",
        command=("unshare", "--pid", "--fork", "--kill-child=KILL"),
    )

    def arenad():
        of_unshare = daemon.process.pid
        return int(
            pathlib.Path(f"/proc/{of_unshare}/task/{of_unshare}/children").read_text(
                encoding="ascii"
            )
        )

    def restart(meanwhile):
        killed = arenad()
        daemon.kill()
        wait_until("the daemon is gone", lambda: not os.path.exists(f"/proc/{killed}"))
        meanwhile()
        daemon.start()
        return connect(daemon.target)

    client = connect(daemon.target)
    client.create_arena("pool", 64 * MIB)
    lives, dies_meanwhile, dies_later = (Peer(daemon, "pool") for _ in range(3))
    python = Session(
        client, "python"
    ).bind()  # bound, and without memory: only its client can say that it lives
    assert [s.pid for s in sessions_of(client)] == [0, 0, 0, 0]
    kept = lives.ask("allocate", 100, "kept")
    for peer in (lives, dies_meanwhile, dies_later):
        assert peer.ask("many", 256, 1000) == "ok"
    again = restart(dies_meanwhile.kill)
    assert "3 live out of sight" not in daemon.log() and "2 live out of sight" in daemon.log()
    assert str(dies_meanwhile.session) not in [str(s.id) for s in sessions_of(again)]
    exact(again, 2001)
    assert lives.ask("many", 256, 1000) == "ok" and lives.ask("read", kept) == "kept"
    dies_later.kill()
    wait_until("its blocks are back", lambda: again.arena("pool").held_blocks == 2001)
    assert lives.ask("free", kept) == "ok"
    # The same once more, with nobody dead.
    again = restart(lambda: None)
    exact(again, 2000)
    assert lives.ask("many", 256, 1000) == "ok"
    lives.kill()
    wait_until("all is back", lambda: again.arena("pool").held_blocks == 0)
    exact(again, 0)
    wait_until(
        "its stream did not come back within the grace",
        lambda: python.key.id not in [s.id for s in sessions_of(again)],
    )
    os.kill(arenad(), signal.SIGTERM)
    assert daemon.wait() == 0


def test_limits_of_sessions_hold_after_a_restart(start_daemon, state, connect):
    daemon = start_daemon("--state-dir", str(state), "--max-session-bytes", str(1 * MIB))
    client = connect(daemon.target)
    arena = client.create_arena("pool", 64 * MIB)
    session = Session(client, "limited").bind()
    session.map("pool")
    refs = session.allocate(arena.id, 4096, 200).refs
    daemon.kill()
    daemon.start()
    session.client = connect(daemon.target)
    refusal = refusal_of(session.allocate, arena.id, 4096, 100)
    assert refusal.reason == "QUOTA_SESSION", refusal
    assert session.free(arena.id, refs).freed == 200
    assert len(session.allocate(arena.id, 4096, 250).refs) == 250


# ---- the dead ----


def test_what_the_dead_held_is_given_back_before_the_first_call(daemon, client, restart, peers):
    arena = client.create_arena("pool", 1024 * MIB)
    survivor = Session(client, "survivor").bind()
    survivor.map("pool")
    kept = survivor.allocate(arena.id, 4096, 10).refs
    peer = peers("pool")
    assert peer.ask("many", 256, 100000) == "ok"
    shared = peer.ask("allocate", 64, "shared")
    assert peer.ask("share", shared) == "ok"
    assert peer.ask("take", *kept[:3]) == "ok"
    with subprocess.Popen(
        [sys.executable, VICTIM, "hold", daemon.target, "pool"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as victim:
        victim.stdout.readline()

        def both_die():
            victim.kill()
            victim.wait()
            peer.kill()

        again = restart(both_die)
    assert set(again.live_sessions()) == {"survivor"}
    stats = again.stats()
    assert stats.sessions_reaped == 2 and stats.leased_slabs == 0
    exact(again, 7)
    survivor.client = again
    assert survivor.free(arena.id, kept[3:]).freed == 7
    log = daemon.log()
    assert "'victim-hold' ended while the daemon was away" in log and "2 were dead" in log
    # All of the arena can be had again.
    for _ in range(1000):
        survivor.allocate(arena.id, MIB, 1)


def test_a_daemon_that_dies_again_while_it_recovers_loses_nothing(daemon, client, connect, peers):
    client.create_arena("pool", 256 * MIB)
    begun = time.monotonic()
    daemon.kill()
    daemon.start()
    start_s = time.monotonic() - begun
    living = [peers("pool") for _ in range(2)]
    kept = [peer.ask("allocate", 100, f"text-{i}") for i, peer in enumerate(living)]
    assert living[0].ask("churn") == "ok"
    for i in range(24):  # from the first instruction to after the first call is served
        dead = peers("pool") if i % 3 == 0 else None
        if dead is not None:
            assert dead.ask("many", 256, 20000) == "ok"
            assert dead.ask("take", kept[1]) == "ok"
            assert living[1].ask("take", kept[1]) == "ok"
        daemon.kill()
        if dead is not None:
            dead.kill()
        daemon.spawn()
        with pytest.raises(subprocess.TimeoutExpired):
            daemon.process.wait(start_s * i / 20)
        daemon.kill()
        daemon.start()
    again = connect(daemon.target)
    assert living[1].ask("read", kept[1]) == "text-1"
    living[0].kill()
    wait_until("what the churning peer held is back", lambda: len(again.live_sessions()) == 1)
    exact(again, 1)
    assert living[1].ask("free", kept[1]) == "ok"
    wait_until("all is back", lambda: again.arena("pool").held_blocks == 0)
    exact(again, 0)


def test_a_session_without_a_process_waits_for_its_client_a_while(start_daemon, state, connect):
    daemon = start_daemon("--state-dir", str(state), "--restart-grace-ms", "300")
    client = connect(daemon.target)
    arena = client.create_arena("pool", 16 * MIB)
    session = Session(client, "remote")
    session.attach("pool")
    session.allocate(arena.id, 256, 100)
    daemon.kill()
    daemon.start()
    again = connect(daemon.target)
    wait_until("it is given up", lambda: not again.live_sessions())
    exact(again, 0)
    session.client = again
    assert refusal_of(session.allocate, arena.id, 256).reason == "UNKNOWN_SESSION"


def test_without_a_state_directory_sessions_are_told_to_start_afresh(start_daemon, connect):
    daemon = start_daemon()
    client = connect(daemon.target)
    arena = client.create_arena("pool", 16 * MIB)
    session = Session(client, "writer").bind()
    session.map("pool")
    left = session.allocate(arena.id, 256, 10).refs
    daemon.kill()
    daemon.start()
    session.client = connect(daemon.target)
    refusal = refusal_of(session.allocate, arena.id, 256)
    assert refusal.reason == "UNKNOWN_SESSION" and "open a session" in refusal.message, refusal
    arena = session.client.create_arena("pool", 16 * MIB)
    fresh = Session(session.client, "writer").bind()
    fresh.map("pool")
    assert len(fresh.allocate(arena.id, 256, 10).refs) == 10
    assert fresh.free(arena.id, left).freed == 0  # of the arena that was lost
