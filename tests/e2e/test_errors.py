"""Every refusal of a call has the documented code and reason, and says what to do.

Afterwards the audit is exact. What tokens, keys and modes refuse is in test_access.py.
"""
import pytest

from client import MIB, Session, expect, refusal_of, refusal_of_ref
from contract import arenas, blocks

pytestmark = pytest.mark.usefixtures("exact_afterwards")


def one_error(answer):
    assert answer.freed == 0 and len(answer.errors) == 1, answer
    return refusal_of_ref(answer.errors[0])


def test_double_free(session, arena):
    refs = session.allocate(arena.id, 256, 1).refs
    assert session.free(arena.id, refs).freed == 1
    # The generation went on at the first free, so the ref is stale, too: both words are documented.
    refusal = one_error(session.free(arena.id, refs))
    assert refusal.reason in ("DOUBLE_FREE", "STALE_REF")
    expect(refusal, "FAILED_PRECONDITION", refusal.reason)


def test_double_free_while_the_block_is_on_its_way_home(session, arena, shards):
    refs = session.allocate(arena.id, 256, 1, client=shards[0]).refs
    assert session.free(arena.id, refs, client=shards[1]).freed == 1
    refusal = one_error(session.free(arena.id, refs, client=shards[1]))
    assert refusal.code == "FAILED_PRECONDITION" and refusal.reason in (
        "DOUBLE_FREE",
        "STALE_REF",
    ), refusal


def test_the_same_ref_twice_in_one_call(session, arena):
    ref = session.allocate(arena.id, 256, 1).refs[0]
    answer = session.free(arena.id, [ref, ref])
    assert answer.freed == 1
    assert [error.index for error in answer.errors] == [1]


def test_stale_ref_of_a_block_in_use_again(session, arena, shards):
    old = session.allocate(arena.id, 256, 1, client=shards[0]).refs[0]
    session.free(arena.id, [old], client=shards[0])
    everything = session.allocate(arena.id, 256, 1000, client=shards[0]).refs
    place = {b.offset_bytes: b for b in session.describe(arena.id, everything)}
    assert session.describe(arena.id, [old])[0].state == blocks.BLOCK_STATE_STALE
    refusal = one_error(session.free(arena.id, [old]))
    expect(refusal, "FAILED_PRECONDITION", "STALE_REF")
    assert all(b.state == blocks.BLOCK_STATE_HELD for b in place.values())
    assert session.free(arena.id, everything).freed == 1000


def test_ref_of_another_arena(client, session, arena):
    other = client.create_arena("other", 16 * MIB)
    session.attach(other.name)
    theirs = session.allocate(other.id, 256, 1).refs
    expect(one_error(session.free(arena.id, theirs)), "INVALID_ARGUMENT", "FOREIGN_REF")
    assert session.free(other.id, theirs).freed == 1


@pytest.mark.parametrize("ref", [0, 1, 0xFFFFFFFFFFFFFFFF, 0x123456789ABCDEF0])
def test_what_is_no_ref_at_all(session, arena, ref):
    refusal = one_error(session.free(arena.id, [ref]))
    assert refusal.code in ("INVALID_ARGUMENT", "FAILED_PRECONDITION"), refusal
    assert refusal.reason in ("FOREIGN_REF", "STALE_REF", "DOUBLE_FREE"), refusal
    assert session.describe(arena.id, [ref])[0].state in (
        blocks.BLOCK_STATE_INVALID,
        blocks.BLOCK_STATE_STALE,
    )


def test_ref_of_another_session_in_a_holder_only_arena(client, connect, daemon):
    strict = client.create_arena("strict", 16 * MIB, holder_only=True)
    owner, other = Session(client, "owner"), Session(connect(daemon.target), "other")
    for session in (owner, other):
        session.attach(strict.name)
    refs = owner.allocate(strict.id, 256, 2).refs
    expect(one_error(other.free(strict.id, refs[:1])), "PERMISSION_DENIED", "NOT_HOLDER")
    # What the message says to do works: take over first, then free.
    assert other.acquire(strict.id, refs[:1]).acquired == 1
    assert other.free(strict.id, refs[:1]).freed == 1
    assert owner.free(strict.id, refs[1:]).freed == 1


def test_in_an_ordinary_arena_the_ref_is_the_right_to_free(client, arena, session):
    refs = session.allocate(arena.id, 256, 1).refs
    consumer = Session(client, "consumer")
    consumer.attach(arena.name)
    assert consumer.free(arena.id, refs).freed == 1


@pytest.mark.parametrize("way", ["unary", "exchange"])
def test_only_held_leaves_what_another_session_holds(client, arena, session, way):
    refs = session.allocate(arena.id, 256, 2).refs
    consumer = Session(client, "consumer")
    consumer.attach(arena.name)
    assert consumer.acquire(arena.id, refs[:1]).acquired == 1
    request = blocks.FreeRequest(session=session.key, arena_id=arena.id, refs=refs, only_held=True)
    if way == "unary":
        answer = client.blocks.Free(request)
    else:
        [answered] = client.blocks.Exchange(iter([blocks.ExchangeRequest(free=request)]))
        answer = answered.free
    assert answer.freed == 1 and answer.errors[0].index == 0, answer
    assert consumer.free(arena.id, refs[:1]).freed == 1


def test_free_of_1000_refs_of_which_3_are_bad_frees_997_and_names_the_3(session, arena):
    refs = list(session.allocate(arena.id, 512, 1000).refs)
    gone = session.allocate(arena.id, 512, 1).refs[0]
    session.free(arena.id, [gone])
    bad = {17: gone, 500: 0xDEADBEEF, 999: 0}
    sent = refs[:17] + [gone] + refs[17:499] + [0xDEADBEEF] + refs[499:997] + [0]
    assert len(sent) == 1000
    answer = session.free(arena.id, sent)
    assert answer.freed == 997
    assert {error.index: error.ref for error in answer.errors} == bad
    assert all(len(error.message) > 20 for error in answer.errors)
    assert session.free(arena.id, refs[997:]).freed == 3


@pytest.mark.parametrize("size", [0, 64 * MIB + 1, 1 << 40, (1 << 64) - 1])
def test_sizes_that_no_arena_of_this_capacity_has(session, arena, size):
    expect(refusal_of(session.allocate, arena.id, size, 1), "INVALID_ARGUMENT", "INVALID_SIZE")


@pytest.mark.parametrize("align", [3, 24, 8192, 1 << 31])
def test_alignments(session, arena, align):
    expect(
        refusal_of(session.allocate, arena.id, 64, 1, align_bytes=align),
        "INVALID_ARGUMENT",
        "INVALID_ALIGNMENT",
    )


def test_tag_of_more_than_24_bits(session, arena):
    refusal = refusal_of(session.allocate, arena.id, 64, 1, tag=1 << 24)
    expect(refusal, "INVALID_ARGUMENT", "INVALID_TAG")
    assert "16777215" in refusal.message
    refs = session.allocate(arena.id, 64, 1, tag=(1 << 24) - 1).refs
    expect(
        refusal_of(session.acquire, arena.id, refs, tag=1 << 24), "INVALID_ARGUMENT", "INVALID_TAG"
    )


def test_more_blocks_than_one_call_may_have(session, arena):
    expect(
        refusal_of(session.allocate, arena.id, 64, 16385),
        "INVALID_ARGUMENT",
        "INVALID_COUNT",
        "16384",
    )
    expect(
        refusal_of(session.free, arena.id, [1] * 16385),
        "INVALID_ARGUMENT",
        "INVALID_COUNT",
        "16384",
    )


def test_unknown_arena(client, session):
    get = client.arenas.GetArena
    expect(
        refusal_of(get, arenas.GetArenaRequest(name="nowhere")),
        "NOT_FOUND",
        "UNKNOWN_ARENA",
        "nowhere",
    )
    expect(refusal_of(session.attach, "nowhere"), "NOT_FOUND", "UNKNOWN_ARENA", "nowhere")
    expect(refusal_of(session.allocate, client.absent_id(), 64), "NOT_FOUND", "UNKNOWN_ARENA")
    expect(refusal_of(client.audit, "nowhere"), "NOT_FOUND", "UNKNOWN_ARENA", "nowhere")


def test_names_and_capacities(client, arena):
    create = client.create_arena
    expect(refusal_of(create, "no spaces", MIB), "INVALID_ARGUMENT", "INVALID_NAME")
    expect(refusal_of(create, "", MIB), "INVALID_ARGUMENT", "INVALID_NAME")
    expect(refusal_of(create, "n" * 65, MIB), "INVALID_ARGUMENT", "INVALID_NAME")
    expect(refusal_of(create, "empty", 0), "INVALID_ARGUMENT", "INVALID_CAPACITY")
    expect(refusal_of(create, "huge", 1 << 60), "INVALID_ARGUMENT", "INVALID_CAPACITY")
    expect(refusal_of(create, arena.name, MIB), "ALREADY_EXISTS", "ARENA_EXISTS", arena.name)


def test_an_arena_in_use_is_deleted_by_force_only(client, arena, session):
    session.allocate(arena.id, 4096, 10)
    delete = client.arenas.DeleteArena
    expect(
        refusal_of(delete, arenas.DeleteArenaRequest(name=arena.name)),
        "FAILED_PRECONDITION",
        "ARENA_BUSY",
        "force",
    )
    delete(arenas.DeleteArenaRequest(name=arena.name, force=True))
    expect(refusal_of(session.allocate, arena.id, 64), "NOT_FOUND", "UNKNOWN_ARENA")


def test_a_full_arena_names_limit_usage_and_holders(client, session, arena):
    held = [session.allocate(arena.id, MIB, 1, tag=0xABC).refs[0] for _ in range(50)]
    refusal = refusal_of(session.allocate, arena.id, MIB, 20)
    expect(refusal, "RESOURCE_EXHAUSTED", "ARENA_FULL", "tester", arena.name)
    assert client.arena(arena.name).held_blocks == 50, "all or nothing"
    # What was said to help helps.
    assert session.free(arena.id, held).freed == 50
    assert len(session.allocate(arena.id, MIB, 50).refs) == 50


def test_a_wait_for_memory_expires(session, arena):
    session.allocate(arena.id, 60 * MIB)
    expect(
        refusal_of(session.allocate, arena.id, 60 * MIB, 1, wait_ms=50),
        "DEADLINE_EXCEEDED",
        "WAIT_EXPIRED",
    )


def test_a_wait_for_memory_is_served_when_some_comes_back(session, arena, shards):
    big = session.allocate(arena.id, 60 * MIB).refs
    waiting = shards[1].blocks.Allocate.future(
        blocks.AllocateRequest(
            session=session.key, arena_id=arena.id, size_bytes=60 * MIB, count=1, wait_ms=600000
        )
    )
    assert not waiting.done()
    assert session.free(arena.id, big).freed == 1
    assert len(waiting.result(timeout=60).refs) == 1


def test_exchange_answers_a_failed_request_and_goes_on(client, session, arena):
    requests = [
        blocks.ExchangeRequest(
            id=1,
            allocate=blocks.AllocateRequest(
                session=session.key, arena_id=arena.id, size_bytes=0, count=1
            ),
        ),
        blocks.ExchangeRequest(
            id=2, allocate=blocks.AllocateRequest(arena_id=arena.id, size_bytes=64, count=3)
        ),
        blocks.ExchangeRequest(id=3, free=blocks.FreeRequest(arena_id=arena.id, refs=[0, 1])),
        blocks.ExchangeRequest(
            id=4,
            allocate=blocks.AllocateRequest(
                arena_id=client.absent_id(), size_bytes=64, count=1
            ),
        ),
    ]
    answers = list(client.blocks.Exchange(iter(requests)))
    assert [answer.id for answer in answers] == [1, 2, 3, 4]
    expect(refusal_of_ref(answers[0].error), "INVALID_ARGUMENT", "INVALID_SIZE")
    assert len(answers[1].allocate.refs) == 3
    assert answers[2].free.freed == 0 and len(answers[2].free.errors) == 2
    expect(refusal_of_ref(answers[3].error), "NOT_FOUND", "UNKNOWN_ARENA")
    assert session.free(arena.id, answers[1].allocate.refs).freed == 3
