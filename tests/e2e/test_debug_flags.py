"""Debug flags of an arena: a client's mistake is a line of the daemon's log, and counts.

Each mistake is made in an arena with its flag, and in one that has all the others.
"""
import re

import grpc
import pytest

from client import MIB, Session

SIZE = 112


def written_behind(session, arena, data):
    """Writes one byte behind a block and frees the block."""
    got = session.allocate(arena.id, SIZE, tag=42)
    data[got.offsets[0] + got.usable_bytes[0]] ^= 0xFF
    assert session.free(arena.id, got.refs).freed == 1
    return got


def written_after_free(session, arena, data):
    """Writes to a block that was freed, and allocates until the block is handed out again."""
    got = session.allocate(arena.id, SIZE, tag=42)
    assert session.free(arena.id, got.refs).freed == 1
    data[got.offsets[0] + 3] ^= 0xFF
    for _ in range(100):
        again = session.allocate(arena.id, SIZE, count=100)
        if got.offsets[0] in again.offsets:
            return got
    raise AssertionError("the block never came again")


def freed_twice(session, arena, data):
    got = session.allocate(arena.id, SIZE, tag=42)
    assert session.free(arena.id, got.refs).freed == 1
    assert len(session.free(arena.id, got.refs).errors) == 1
    return got


MISTAKES = {
    "Z": (written_behind, r"the byte at \+112 of 112 was overwritten with 0x[0-9a-f]{2}; "
                          r"held by session ID, tag 42; freed by session ID now"),
    "P": (written_after_free, r"the byte at 3 of 112 was overwritten with 0x94 while nobody had "
                              r"the block; last given to session ID, tag 42"),
    "F": (freed_twice, r"session ID tried to free it a second time; now nobody has it"),
}


def findings(daemon):
    return re.findall(r"\[BLOCK_DEBUG\] .*", daemon.log())


@pytest.mark.parametrize("flag", MISTAKES)
def test_mistake_is_a_line_of_the_log_that_names_block_holder_and_tag(daemon, client, flag):
    arena = client.create_arena("pool", 16 * MIB, debug=flag)
    session = Session(client, "careless").bind()
    _, data = session.map("pool")
    make, text = MISTAKES[flag]
    got = make(session, arena, data)
    [line] = findings(daemon)
    assert re.search(
        rf"\[BLOCK_DEBUG\] {flag} arena={arena.id} ref=0x{got.refs[0]:016x} "
        rf"offset={got.offsets[0]} usable=112: " + text.replace("ID", str(session.key.id)),
        line,
    ), line
    assert client.arena("pool").debug_findings == 1


@pytest.mark.parametrize("flag", MISTAKES)
def test_mistake_is_not_found_by_the_other_flags(daemon, client, flag):
    arena = client.create_arena("pool", 16 * MIB, debug="FZPU".replace(flag, ""))
    session = Session(client, "careless").bind()
    _, data = session.map("pool")
    MISTAKES[flag][0](session, arena, data)
    assert findings(daemon) == []
    assert client.arena("pool").debug_findings == 0


def test_tracking_is_told_by_describe_and_by_the_log(daemon, client):
    arena = client.create_arena("pool", 16 * MIB, debug="ZU")
    session, other = Session(client, "careless").bind(), Session(client, "other")
    _, data = session.map("pool")
    other.attach("pool")
    kept = session.allocate(arena.id, SIZE, tag=42)
    [block] = session.describe(arena.id, kept.refs)
    assert (block.track.allocated.session, block.track.allocated.tag) == (session.key.id, 42)
    assert other.free(arena.id, kept.refs).freed == 1
    [block] = session.describe(arena.id, kept.refs)
    assert (block.track.freed.session, block.track.freed.tag) == (other.key.id, 42)
    assert block.track.allocated.time_ns <= block.track.freed.time_ns
    written_behind(session, arena, data)
    [line] = findings(daemon)
    assert re.search(
        rf"; allocated by session {session.key.id}, tag 42 at \d{{4}}-\d\d-\d\dT[0-9:.]+Z; freed",
        line,
    ), line


def test_without_tracking_describe_tells_no_track(daemon, client):
    arena = client.create_arena("pool", 16 * MIB, debug="FZP")
    session = Session(client, "careless")
    session.attach("pool")
    [block] = session.describe(arena.id, session.allocate(arena.id, SIZE).refs)
    assert not block.HasField("track")


@pytest.mark.parametrize("options", [
    {"debug": "X"}, {"debug": "ZZ"}, {"debug": "fz"}, {"debug": "P", "zero": True},
    {"debug": "FP", "scrub": True}])
def test_impossible_flags_are_refused(daemon, client, options):
    with pytest.raises(grpc.RpcError) as refused:
        client.create_arena("pool", 16 * MIB, **options)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "debug" in refused.value.details()


def test_alignment_beyond_sixteen_needs_an_arena_without_records_around_blocks(daemon, client):
    for letters, allowed in (("FP", True), ("Z", False), ("U", False)):
        arena = client.create_arena(f"pool-{letters}", 16 * MIB, debug=letters)
        session = Session(client, "aligner")
        session.attach(arena.name)
        if allowed:
            assert session.allocate(arena.id, SIZE, align_bytes=4096).offsets[0] % 4096 == 0
            continue
        with pytest.raises(grpc.RpcError, match="with debug flag Z or U: up to 16"):
            session.allocate(arena.id, SIZE, align_bytes=32)
