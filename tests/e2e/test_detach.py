"""DetachArena, and what a session hears of deleted arenas, on the wire."""
import pytest

from client import MIB, PEER, REMOTE, WRITER, Session, expect, refusal_of
from contract import arenas, sessions

pytestmark = pytest.mark.usefixtures("exact_afterwards")


def detach(session, arena_id, **more):
    return session.client.sessions.DetachArena(
        sessions.DetachArenaRequest(session=session.key, arena_id=arena_id, **more)
    )


@pytest.mark.parametrize("mode", [REMOTE, WRITER, PEER])
def test_a_session_leaves_an_arena_and_comes_back(client, arena, mode):
    session = Session(client, "restless")
    assert session.attach(arena.name, mode).epoch == 0
    refs = session.allocate(arena.id, 4096, 10).refs
    expect(
        refusal_of(detach, session, arena.id),
        "FAILED_PRECONDITION",
        "BLOCKS_HELD",
        "10 blocks of 40 KiB",
        arena.name,
        "give_up_blocks",
    )
    assert session.free(arena.id, refs[:6]).freed == 6, "it is attached still"
    given = detach(session, arena.id, give_up_blocks=True)
    assert (given.blocks_given_back, given.bytes_given_back) == (4, 4 * 4096)
    assert client.arena(arena.name).held_blocks == 0
    expect(
        refusal_of(session.allocate, arena.id, 64),
        "FAILED_PRECONDITION",
        "NOT_ATTACHED",
        arena.name,
    )
    expect(refusal_of(detach, session, arena.id), "FAILED_PRECONDITION", "NOT_ATTACHED")
    assert session.attach(arena.name, mode).epoch == 1, "above all epochs of before"
    expect(refusal_of(detach, session, arena.id), "ABORTED", "STALE_EPOCH", arena.name)
    detach(session, arena.id, epoch=1)
    client.arenas.DeleteArena(arenas.DeleteArenaRequest(name=arena.name))
    expect(refusal_of(detach, session, arena.id, epoch=1), "NOT_FOUND", "UNKNOWN_ARENA")


def test_a_busy_arena_says_who_must_detach(client, arena, session):
    refusal = refusal_of(client.arenas.DeleteArena, arenas.DeleteArenaRequest(name=arena.name))
    expect(refusal, "FAILED_PRECONDITION", "ARENA_BUSY", "'tester'", "DetachArena", "detach in C++")
    detach(session, arena.id)
    client.arenas.DeleteArena(arenas.DeleteArenaRequest(name=arena.name))


def test_sessions_hear_of_deleted_arenas_on_their_streams(client, arena, session):
    elsewhere = client.create_arena("elsewhere", MIB)
    other = Session(client, "other")
    other.attach(elsewhere.name)
    client.arenas.DeleteArena(arenas.DeleteArenaRequest(name=arena.name, force=True))
    deleted = session.next_event().deleted
    assert [(gone.arena_id, gone.name) for gone in deleted] == [(arena.id, arena.name)]
    expect(refusal_of(session.allocate, arena.id, 64), "NOT_FOUND", "UNKNOWN_ARENA", arena.name)
    # The other session was not attached, and hears of its own arena only.
    client.arenas.DeleteArena(arenas.DeleteArenaRequest(name=elsewhere.name, force=True))
    assert [gone.name for gone in other.next_event().deleted] == [elsewhere.name]
