"""What a user without rights can do to others: nothing. Each test says one such sentence.

Each attack is made by a process of another user, beside a victim: root's arena of mode 0600, in
which root's sessions work. The victim's calls all succeed, and nothing of it is lost. Its figures
are printed, quiet and beside the attack: run with -s. No test asserts a time. Floods of calls are
in test_hostile_calls.py. Needs root, which makes the other user's process.
"""
import os
import subprocess
import sys

import pytest

from attack import Attack
from beside import Victim, memory
from client import MIB, REMOTE
from daemon import wait_until
from other_user import OtherUser, Refused


@pytest.fixture
def victim(client, shards):
    watched = Victim(client, shards)
    yield watched
    watched.lost_nothing()


@pytest.fixture
def attacked(daemon, victim):
    """attacked("Audits") makes the attack while the victim works. Answers its counts."""

    def run(name, **more):
        quiet = victim.quiet()
        with Attack(daemon.sockets, name, **more) as attack:
            beside = victim.work()
        print(f"\n{name}: {attack.counts}, p50 p99 max: quiet {quiet}, beside {beside} ms")
        assert attack.counts["steps"] > 0
        return attack.counts

    return run


def test_who_is_no_administrator_stops_no_shard_and_sets_nothing(attacked, client):
    counts = attacked("Administration")
    assert counts["NOT_PERMITTED"] == 3 * counts["steps"]
    assert client.stats().arenas


def test_guessed_refs_and_arena_ids_free_nothing(attacked, victim):
    counts = attacked("GuessedRefs", arena=victim.sessions[0][1])
    assert counts["NOT_ATTACHED"] == counts["UNKNOWN_ARENA"] == 2 * counts["steps"]


def test_empty_arenas_of_4_tib_cost_nobody_anything(attacked, daemon):
    before = memory(daemon)
    counts = attacked("HugeArenas")
    assert counts["created"] + counts.get("QUOTA_USER", 0) + counts.get("MACHINE_FULL", 0) > 0
    assert memory(daemon) - before < 256 * MIB


def test_a_writer_that_commits_and_punches_its_file_stops_nobody(attacked):
    attacked("Fallocate")


@pytest.mark.parametrize("attack", ["Touches", "TouchesControl"])
def test_what_a_client_touches_is_given_back(attacked, daemon, attack):
    attacked(attack)
    wait_until("the pages are given back", lambda: "it was given back" in daemon.log())


def test_a_peer_that_scribbles_ruins_its_own_arena(attacked, client):
    attacked("Scribbles")
    assert client.topology().shards


def test_a_forged_holder_is_charged_for_nothing_and_the_forger_for_all(start_daemon):
    limit = 8 * MIB
    daemon = start_daemon("--shards", "2", "--max-user-bytes", str(limit))
    other = OtherUser(daemon.sockets, uid=65532, gid=65532)
    try:
        session = other.open("victim")
        other.create("theirs")
        arena = other.attach("victim", "theirs", REMOTE)
        with Attack(daemon.sockets, "ForgedHolders", victim=session) as attack:
            for _ in range(3):
                refs = [other.allocate("victim", arena, MIB) for _ in range(limit // MIB)]
                with pytest.raises(Refused) as refused:
                    other.allocate("victim", arena, 64)
                assert refused.value.reason == "QUOTA_USER"
                other.free("victim", arena, refs)
        assert attack.counts["forged"] > 0
        assert attack.counts["bytes"] == limit
        assert attack.counts["QUOTA_USER"] > 0
    finally:
        other.close()


def test_a_lock_file_is_nobody_elses(daemon, victim):
    script = "import os, sys; os.setuid(65533); os.open(sys.argv[1], os.O_RDONLY)"
    locks = [name for name in os.listdir(daemon.sockets) if "lock" in name]
    assert locks
    for name in locks:
        path = os.path.join(daemon.sockets, name)
        assert os.stat(path).st_mode & 0o077 == 0
        assert subprocess.run([sys.executable, "-c", script, path]).returncode != 0
