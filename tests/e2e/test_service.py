"""The daemon as a service: what it offers, how it starts, how it ends."""
import os
import pathlib
import stat
import subprocess

import pytest

from client import MIB, Session, refusal_of
from contract import ReflectionRequest, ReflectionResponse, blocks
from daemon import BIN, clean_environment, wait_until


def test_reflection_lists_all_services(client):
    talk = client.channel.stream_stream(
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        request_serializer=ReflectionRequest.SerializeToString,
        response_deserializer=ReflectionResponse.FromString,
    )
    (answer,) = talk(iter([ReflectionRequest(list_services="*")]))
    offered = {service.name for service in answer.list_services_response.service}
    assert {
        "arenad.v1.Arenas",
        "arenad.v1.Sessions",
        "arenad.v1.Blocks",
        "arenad.v1.Admin",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    } <= offered


def test_topology_names_a_shard_and_an_address_each(start_daemon, connect):
    daemon = start_daemon("--shards", "3")
    topology = connect(daemon.target).topology()
    assert [shard.index for shard in topology.shards] == [0, 1, 2]
    assert len({shard.address for shard in topology.shards}) == 3
    for shard in topology.shards:
        assert len(connect(shard.address).topology().shards) == 3
    assert stat.S_ISSOCK(os.stat(topology.handoff_path).st_mode)


def cpus_of_threads(daemon):
    """By the name of the thread."""
    tasks = pathlib.Path(f"/proc/{daemon.process.pid}/task")
    return {
        (task / "comm").read_text().strip(): os.sched_getaffinity(int(task.name))
        for task in tasks.iterdir()
    }


def named_threads(daemon, name):
    threads = cpus_of_threads(daemon)
    return threads if name in threads else None


def test_shards_run_where_topology_and_log_say(start_daemon, connect):
    daemon = start_daemon("--shards", "3")
    for shard in connect(daemon.target).topology().shards:
        name = f"shard-{shard.index}"  # a thread takes its cpu, and then its name
        threads = wait_until("it has a name", lambda name=name: named_threads(daemon, name))
        assert threads[name] == {shard.cpu}
        where = f"shard {shard.index} on cpu {shard.cpu} of NUMA node {shard.numa_node}"
        assert where in daemon.log()


def test_hardware_threads_of_one_core_get_one_shard(start_daemon, connect):
    """hwloc takes the machine from the variable instead of looking."""
    daemon = start_daemon(env={"HWLOC_SYNTHETIC": "core:1 pu:1024"})
    assert len(connect(daemon.target).topology().shards) == 1


def test_without_hwloc_shards_take_the_cpus_in_order(start_daemon, connect):
    daemon = start_daemon(env={"HWLOC_COMPONENTS": "stop"})  # hwloc may ask nothing of the system
    assert "hwloc cannot read this machine" in daemon.log()
    shards = connect(daemon.target).topology().shards
    cpus = sorted(os.sched_getaffinity(0))
    assert [shard.cpu for shard in shards] == cpus[: len(shards)]
    assert {shard.numa_node for shard in shards} == {-1}


def test_every_service_answers_on_every_shard(client, shards):
    arena = client.create_arena("pool", 64 * MIB)
    for number, shard in enumerate(shards):
        session = Session(shard, f"on-{number}")
        session.attach("pool")
        refs = session.allocate(arena.id, 512, 100).refs
        assert {block.heap for block in session.describe(arena.id, refs)} == {
            number
        }, "the shard that is asked serves"
        assert shard.arena("pool").held_blocks == 100
        assert session.free(arena.id, refs).freed == 100
        session.close()
    assert client.audit().exact


def test_a_block_freed_on_another_shard_goes_home(client, shards):
    arena = client.create_arena("pool", 64 * MIB)
    session = Session(client, "both")
    session.attach("pool")
    for here, there in ((0, 1), (1, 0)):
        refs = session.allocate(arena.id, 300, 5000, client=shards[here]).refs
        assert session.free(arena.id, refs, client=shards[there]).freed == 5000
    wait_until(
        "both heaps drained",
        lambda: all(s.heap.drained_blocks == 5000 for s in client.stats().shards),
    )
    stats = client.stats().shards
    assert stats[1].remote_frees_to[0] == 5000 and stats[0].remote_frees_to[1] == 5000
    assert client.audit().exact


def test_sigterm_drains_and_ends_with_0(daemon, client, connect):
    client.set_tunables(drain_deadline_ms="600000")
    arena = client.create_arena("pool", 64 * MIB)
    session = Session(client, "last")
    session.attach("pool")
    refs = session.allocate(arena.id, 4096, 100).refs
    daemon.terminate()
    event = session.next_event()
    assert event.draining
    newcomer = connect(daemon.target)
    refusal = refusal_of(Session, newcomer, "late", keepalive=False)
    assert refusal.code == "UNAVAILABLE" and refusal.reason == "DRAINING", refusal
    # What is under way may be finished.
    assert session.free(arena.id, refs).freed == 100
    session.close()
    assert daemon.wait() == 0


def test_sigterm_ends_at_the_deadline_when_a_client_does_not_leave(start_daemon, connect):
    daemon = start_daemon("--shards", "2")
    client = connect(daemon.target)
    client.set_tunables(drain_deadline_ms="300")
    arena = client.create_arena("pool", 64 * MIB)
    session = Session(client, "stays")
    session.attach("pool")
    session.allocate(arena.id, 4096, 100)
    daemon.terminate()
    assert daemon.wait() == 0


@pytest.mark.parametrize(
    "flags, word",
    [
        (("--no-such-flag",), "--no-such-flag"),
        (("--shards", "many"), "shards"),
    ],
)
def test_a_wrong_command_line_is_an_error_that_names_it(flags, word):
    done = subprocess.run(
        [BIN / "arenad", *flags],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=clean_environment(),
    )
    assert done.returncode not in (0, -6, -11)
    assert word in done.stdout + done.stderr


def test_sockets_may_be_used_by_other_users(daemon):
    for name in ("arenad.sock", "handoff.sock"):
        mode = stat.S_IMODE(os.stat(f"{daemon.sockets}/{name}").st_mode)
        assert (
            mode & 0o666 == 0o666
        ), f"{name} has mode {mode:o}: who may use an arena is said by the arena"


def test_a_daemon_starts_where_another_was_killed(start_daemon, connect):
    daemon = start_daemon("--shards", "2")
    daemon.kill()
    assert os.path.exists(f"{daemon.sockets}/arenad.sock"), "what the dead one left is in the way"
    daemon.start()
    assert len(connect(daemon.target).topology().shards) == 2


def test_a_client_that_vanishes_in_a_call_does_no_harm(client, connect, daemon):
    arena = client.create_arena("pool", 64 * MIB)
    for _ in range(50):
        hasty = connect(daemon.target)
        session = Session(hasty, "hasty")
        session.attach("pool")
        hasty.blocks.Allocate.future(
            blocks.AllocateRequest(
                session=session.key, arena_id=arena.id, size_bytes=4096, count=4096
            )
        )
        hasty.close()
    wait_until("all of them are gone", lambda: "hasty" not in client.live_sessions())
    assert client.arena("pool").held_blocks == 0
    assert client.audit().exact
