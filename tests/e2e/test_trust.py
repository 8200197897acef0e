"""Who may do what, tried as another user beside a victim who loses nothing.

Needs root, which makes the other user's process.
"""
import os
import stat

import pytest

from client import MIB, PEER, READER, REMOTE, WRITER, Session
from contract import arenas
from other_user import OtherUser, Refused

STRANGER = 65534
GROUP = 54321


@pytest.fixture
def as_user(daemon):
    users = []

    def make(uid=STRANGER, gid=STRANGER, groups=()):
        users.append(OtherUser(daemon.sockets, uid, gid, groups))
        return users[-1]

    yield make
    for user in users:
        user.close()


@pytest.fixture
def stranger(as_user):
    return as_user()


@pytest.fixture
def victim(client):
    """Root's arena of mode 0600, with blocks of root's session in it."""
    client.create_arena("private", 16 * MIB, access=arenas.ArenaAccess(mode=0o600))
    session = Session(client, "victim")
    session.arena = session.attach("private")
    session.allocate(session.arena.arena.id, 4096, 100)
    yield session
    assert client.arena("private").held_blocks == 100
    assert client.audit().exact


def refused(call, *args, **named):
    with pytest.raises(Refused) as caught:
        call(*args, **named)
    assert (caught.value.code, caught.value.reason) == ("PERMISSION_DENIED", "NOT_PERMITTED")
    return caught.value.message


def test_a_private_arena_is_nobody_elses(daemon, victim, stranger):
    stranger.open("s")
    for mode in (REMOTE, READER, WRITER, PEER):
        message = refused(stranger.attach, "s", "private", mode)
        assert f"uid {STRANGER}" in message and "mode 0600" in message
    refused(stranger.get, "private")
    refused(stranger.delete, "private")
    refused(stranger.slab_info, "private")
    refused(stranger.holders, "private")
    refused(stranger.stats, "private")
    assert stranger.list() == [] and stranger.slab_info("") == []
    log = daemon.log()
    assert "refused, uid 65534" in log and "may not delete arena 'private'" in log


def test_what_the_mode_gives_is_given(client, as_user, victim):
    client.create_arena("readable", 16 * MIB, access=arenas.ArenaAccess(mode=0o644))
    client.create_arena("shared", 16 * MIB, access=arenas.ArenaAccess(mode=0o666))
    client.create_arena("group", 16 * MIB, access=arenas.ArenaAccess(gid=GROUP, mode=0o660))
    user = as_user(groups=[GROUP])  # a supplementary group
    user.open("s")
    assert user.list() == ["group", "readable", "shared"]
    assert user.attach("s", "readable", READER) > 0
    for mode in (REMOTE, WRITER, PEER):
        refused(user.attach, "s", "readable", mode)
    for name in ("shared", "group"):
        for mode in (REMOTE, READER, WRITER, PEER):
            assert user.attach("s", name, mode) > 0
        refused(user.delete, name)  # writing is not owning
    nobody = as_user()
    nobody.open("s")
    refused(nobody.attach, "s", "group", READER)


def test_who_creates_an_arena_owns_it(client, as_user, stranger, victim):
    assert stranger.create("mine", mode=0o600)[:2] == [STRANGER, STRANGER]
    other = as_user(uid=STRANGER - 1, gid=STRANGER)
    refused(other.delete, "mine")
    refused(other.get, "mine")
    refused(stranger.create, "theirs", uid=1000)
    refused(stranger.create, "theirs", gid=GROUP)
    assert as_user(groups=[GROUP]).create("ours", gid=GROUP)[1] == GROUP
    assert client.arena("mine").access.uid == STRANGER  # root sees it
    stranger.delete("mine")
    listed = client.arenas.ListArenas(arenas.ListArenasRequest()).arenas
    assert "theirs" not in [arena.name for arena in listed]


def test_a_session_is_its_openers(client, as_user, stranger, victim):
    message = refused(stranger.keep_alive, victim.key.id, victim.key.secret)
    assert "uid 0" in message
    assert stranger.live_sessions() == []
    stranger.open("theirs")
    assert stranger.live_sessions() == ["theirs"]
    assert sorted(client.live_sessions()) == ["theirs", "victim"]


def test_rights_outlive_the_daemon(start_daemon, connect, state):
    daemon = start_daemon("--shards", "1", "--state-dir", state)
    client = connect(daemon.target)
    client.create_arena("private", 16 * MIB, access=arenas.ArenaAccess(mode=0o600))
    client.create_arena("group", 16 * MIB, access=arenas.ArenaAccess(gid=GROUP, mode=0o660))
    user = OtherUser(daemon.sockets, groups=[GROUP])
    try:
        user.create("own", mode=0o600)
        user.open("s")
        daemon.kill()
        daemon.start()
        user.come_back("s")
        refused(user.attach, "s", "private", REMOTE)
        refused(user.delete, "private")
        for name in ("group", "own"):
            assert user.attach("s", name, PEER) > 0
        user.delete("own")
    finally:
        user.close()


def test_holders_of_others_are_not_shown(client, stranger, victim):
    shared = client.create_arena("shared", 16 * MIB, access=arenas.ArenaAccess(mode=0o666))
    victim.attach("shared")
    victim.allocate(shared.id, 64, 10)
    stranger.open("s")
    stranger.attach("s", "shared", REMOTE)
    stranger.allocate("s", shared.id, 64)
    assert stranger.holders("shared") == [["s"], 1]
    assert stranger.holders("") == [["s"], 1]


def test_administration_is_for_administrators(daemon, client, as_user, stranger, victim):
    before = client.tunables()
    assert "admin.sock" in refused(stranger.audit)
    refused(stranger.set_tunables, idle_drain_ms="1")
    assert client.tunables() == before
    refused_root = as_user(uid=0, gid=0)
    assert refused_root.audit() is True  # root_is_admin


def test_admin_sock_is_for_its_owner(daemon, stranger, victim):
    admin = os.path.join(daemon.sockets, "admin.sock")
    assert stat.S_IMODE(os.stat(admin).st_mode) == 0o600
    stranger.over("admin.sock")
    with pytest.raises(Refused) as caught:
        stranger.audit()
    assert caught.value.code == "UNAVAILABLE"


def test_admin_sock_is_for_the_admin_group(start_daemon, connect):
    with_group = start_daemon("--shards", "1", "--admin-group", str(GROUP), "--root-is-admin=0")
    admin = os.stat(os.path.join(with_group.sockets, "admin.sock"))
    assert stat.S_IMODE(admin.st_mode) == 0o660 and admin.st_gid == GROUP
    user = OtherUser(with_group.sockets, groups=[GROUP])
    try:
        user.create("mine", mode=0o600)
        refused(user.audit)
        root = connect(with_group.target)
        with pytest.raises(Exception, match="may not"):
            root.arena("mine")  # root is a user like others here
        user.over("admin.sock")
        assert user.audit() is True
        user.set_tunables(idle_drain_ms="50")
        log = with_group.log()
        assert f"idle_drain_ms is set to 50 by uid {STRANGER}" in log
        assert f"arena 'mine' is created by uid {STRANGER}" in log
        assert connect(f"unix:{with_group.sockets}/admin.sock").arena("mine").sessions == 0
    finally:
        user.close()


def test_a_group_that_there_is_not(start_daemon):
    from daemon import DaemonFailed

    with pytest.raises(DaemonFailed, match="no group"):
        start_daemon("--admin-group", "there-is-no-such-group")
