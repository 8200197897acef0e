"""Control memory is damaged from outside.

The arena is quarantined and says why. The daemon and the other arenas go on.
"""
import mmap
import os
import struct

from client import MIB, Session, refusal_of

HELD_BY_NOBODY = struct.pack("<Q", 1 << 62 | 0xDEAD)


def control_file(daemon, arena):
    """The daemon's control file of an arena, opened again: a peer can write to it."""
    for fd in os.listdir(f"/proc/{daemon.process.pid}/fd"):
        path = f"/proc/{daemon.process.pid}/fd/{fd}"
        if os.readlink(path).startswith(f"/memfd:arenad-control-{arena} "):
            return os.open(path, os.O_RDWR)
    raise AssertionError(f"no control file of {arena}")


def word_of(memory, fd, session_id, tag):
    """Where the block word lies that says HELD(session, tag); looks only at what is committed."""
    low = tag.to_bytes(3, "little") + session_id.to_bytes(2, "little")
    start = 0
    while True:
        start = os.lseek(fd, start, os.SEEK_DATA)
        end = os.lseek(fd, start, os.SEEK_HOLE)
        for at in range(start, end, 8):
            if memory[at : at + 5] == low and memory[at + 7] >> 6 == 1:
                return at
        start = end


def test_damaged_words_set_the_arena_aside_and_nothing_else(daemon, client):
    hurt, well = client.create_arena("hurt", 16 * MIB), client.create_arena("well", 16 * MIB)
    session = Session(client, "tester")
    session.attach("hurt")
    session.attach("well")
    held = session.allocate(hurt.id, 256, tag=0x5EED12).refs
    fd = control_file(daemon, "hurt")
    try:
        with mmap.mmap(fd, os.fstat(fd).st_size) as memory:
            at = word_of(memory, fd, session.key.id, 0x5EED12)
            for word in range(
                at + 8, at // 512 * 512 + 512, 8
            ):  # the rest of its 64: all of them free, many in a magazine
                memory[word : word + 8] = HELD_BY_NOBODY
    finally:
        os.close(fd)

    refusal = refusal_of(session.allocate, hurt.id, 256, 4000)
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "QUARANTINED"), refusal
    assert "hurt" in refusal.message and "another arena" in refusal.message
    again = refusal_of(session.allocate, hurt.id, 4096)
    assert again.reason == "QUARANTINED", "no allocation of any kind from now on"
    facts = client.arena("hurt")
    assert facts.quarantined and "FREE" in facts.quarantine_reason
    report = client.audit("hurt")
    assert not report.exact and any("quarantined" in f for f in report.arenas[0].findings)

    assert session.free(hurt.id, held).freed == 1, "frees are still accepted"
    refs = session.allocate(well.id, 256, 4000).refs
    assert session.free(well.id, refs).freed == 4000
    assert client.audit("well").exact and not client.arena("well").quarantined
