"""Who may do what: session keys, attachment modes, handoff tokens, an arena's owner and mode.

Every refusal has the documented code and reason. Afterwards the audit is exact.
"""
import os

import grpc
import pytest

from client import (
    MIB,
    PEER,
    READER,
    REMOTE,
    WRITER,
    Session,
    expect,
    refusal_of,
    show_token,
)
from contract import arenas, blocks, sessions
from contract import common as pb

pytestmark = pytest.mark.usefixtures("exact_afterwards")


@pytest.mark.parametrize("change", [{"id": 1}, {"secret": 1}], ids=["another id", "another secret"])
def test_a_forged_session_key(client, session, arena, change):
    forged = pb.SessionKey(
        id=session.key.id ^ change.get("id", 0) * 77,
        secret=session.key.secret ^ change.get("secret", 0),
    )
    call = client.blocks.Allocate
    expect(
        refusal_of(call, blocks.AllocateRequest(session=forged, arena_id=arena.id, size_bytes=64)),
        "UNAUTHENTICATED",
        "UNKNOWN_SESSION",
    )
    expect(
        refusal_of(client.sessions.CloseSession, sessions.CloseSessionRequest(session=forged)),
        "UNAUTHENTICATED",
        "UNKNOWN_SESSION",
    )


def test_a_closed_session_is_unknown(client, session, arena):
    session.allocate(arena.id, 4096, 10)
    assert session.close().blocks_given_back == 10
    expect(refusal_of(session.allocate, arena.id, 64), "UNAUTHENTICATED", "UNKNOWN_SESSION")


def test_an_arena_the_session_did_not_attach(client, session):
    other = client.create_arena("other", 16 * MIB)
    expect(
        refusal_of(session.allocate, other.id, 64),
        "FAILED_PRECONDITION",
        "NOT_ATTACHED",
        "AttachArena",
    )
    expect(refusal_of(session.free, other.id, [1]), "FAILED_PRECONDITION", "NOT_ATTACHED")


def test_a_reader_allocates_and_frees_nothing(session, arena):
    refs = session.allocate(arena.id, 64, 1).refs
    session.attach(arena.name, READER)
    expect(refusal_of(session.allocate, arena.id, 64), "PERMISSION_DENIED", "READ_ONLY")
    expect(refusal_of(session.free, arena.id, refs), "PERMISSION_DENIED", "READ_ONLY")


def test_a_reader_gets_a_descriptor_that_cannot_be_written(client, arena):
    session = Session(client, "reader").bind()
    attached = session.attach(arena.name, READER)
    answer = show_token(session.opened.handoff_path, attached.handoff_token)
    assert (
        answer.status == 0 and answer.mode == READER and answer.data_bytes == arena.capacity_bytes
    )
    with pytest.raises(OSError):
        os.write(answer.fds[0], b"x")
    with pytest.raises(OSError):
        os.ftruncate(answer.fds[0], 4096)
    os.close(answer.fds[0])


def test_peer_gets_data_and_control(session, arena):
    attached = session.attach(arena.name, PEER)
    answer = show_token(session.opened.handoff_path, attached.handoff_token)
    assert (answer.status, answer.mode, len(answer.fds)) == (0, PEER, 2), answer
    sizes = [os.fstat(fd).st_size for fd in answer.fds]
    assert sizes[0] == answer.data_bytes == arena.capacity_bytes and sizes[1] > 0
    for fd in answer.fds:
        with pytest.raises(OSError):
            os.ftruncate(fd, 4096)  # sealed
        os.close(fd)


def test_mode_that_there_is_not(session, arena):
    expect(refusal_of(session.attach, arena.name, 0), "FAILED_PRECONDITION", "MODE_UNAVAILABLE")


def test_tokens_forged_used_and_of_the_dead(client, session, arena):
    door = session.opened.handoff_path
    unauthenticated = grpc.StatusCode.UNAUTHENTICATED.value[0]
    for token in (bytes(16), os.urandom(16)):
        answer = show_token(door, token)
        assert (answer.status, answer.reason, answer.fds) == (
            unauthenticated,
            "BAD_TOKEN",
            (),
        ), answer
        assert len(answer.message) > 20
    token = session.attach(arena.name, WRITER).handoff_token
    first = show_token(door, token)
    assert first.status == 0 and len(first.fds) == 1
    os.close(first.fds[0])
    assert show_token(door, token).reason == "BAD_TOKEN", "a token is good once"
    token = session.attach(arena.name, WRITER).handoff_token
    session.close()
    assert show_token(door, token).reason in ("BAD_TOKEN", "UNKNOWN_SESSION")


def test_a_new_attachment_replaces_the_token_of_the_one_before(session, arena):
    old = session.attach(arena.name, WRITER).handoff_token
    new = session.attach(arena.name, READER).handoff_token
    assert show_token(session.opened.handoff_path, old).reason == "BAD_TOKEN"
    answer = show_token(session.opened.handoff_path, new)
    assert answer.status == 0 and answer.mode == READER
    os.close(answer.fds[0])


def show_token_as(uid, path, token):
    """Shows the token from a process of that user; returns the status and reason of the answer."""
    if os.geteuid() != 0:
        answer = show_token(
            path, token
        )  # not root: as whoever this is, which is not the arena's owner either
        return answer.status, answer.reason
    inlet, outlet = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            answer = show_token(path, token)
            os.write(outlet, f"{answer.status} {answer.reason}".encode())
        finally:
            os._exit(0)
    os.close(outlet)
    os.waitpid(child, 0)
    with os.fdopen(inlet) as said:
        status, reason = said.read().split()
    return int(status), reason


@pytest.mark.parametrize(
    "mode, attach, granted",
    [
        (0o660, WRITER, False),
        (0o660, READER, False),
        (0o664, WRITER, False),
        (0o664, READER, True),
        (0o666, WRITER, True),
    ],
)
def test_access_is_checked_against_the_peers_credentials(client, mode, attach, granted):
    arena = client.create_arena(
        "guarded", 16 * MIB, access=arenas.ArenaAccess(uid=54321, gid=54321, mode=mode)
    )
    session = Session(client, "someone")
    token = session.attach(arena.name, attach).handoff_token
    answer = show_token_as(54322, session.opened.handoff_path, token)
    refused = (grpc.StatusCode.PERMISSION_DENIED.value[0], "NOT_PERMITTED")
    assert answer == ((0, "UNSPECIFIED") if granted else refused)


def test_modes_that_are_none(session, arena):
    assert refusal_of(session.attach, arena.name, 0).code in (
        "INVALID_ARGUMENT",
        "FAILED_PRECONDITION",
    )
    assert session.attach(arena.name, REMOTE).handoff_token == b""
