"""arenactl as an operator or a script meets it: what it prints, in both forms, and exit codes."""
import concurrent.futures
import contextlib
import json
import os
import re
import subprocess

import grpc
import pytest
from google.protobuf import descriptor_pb2

from daemon import BIN, ROOT, clean_environment


@contextlib.contextmanager
def running_peer(ctl, arena):
    """A process that is a peer of the arena, and the id of its session."""
    with subprocess.Popen([BIN / "client_peer", ctl.sockets, arena], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as peer:
        yield peer, peer.stdout.readline().split()[1]
        peer.stdin.close()


def asked(peer, command):
    print(command, file=peer.stdin, flush=True)
    return peer.stdout.readline()


def test_arena_is_created_shown_listed_and_deleted(ctl):
    created = ctl.json("arena", "create", "frames", "--capacity", "16MiB")
    assert created["name"] == "frames" and created["capacity_bytes"] == 16 << 20
    assert created["access"]["mode"] == "0660"
    assert not created["holder_only"] and created["debug"] == ""
    assert ctl.json("arena", "get", "frames")["id"] == created["id"]
    assert [a["name"] for a in ctl.json("arena", "list")["arenas"]] == ["frames"]
    assert ctl.ok("arena", "delete", "frames") == "deleted frames\n"
    assert ctl.json("arena", "list") == {"arenas": []}


def test_arena_table_has_a_title_and_a_line_per_arena(ctl, arena):
    title, line = ctl.ok("arena", "list").splitlines()
    assert title.split() == ["NAME", "ID", "CAPACITY", "COMMITTED", "HELD", "BLOCKS", "SESSIONS",
                             "UID:GID", "MODE", "OPTIONS"]
    assert line.split()[0] == arena and "16 MiB" in line


@pytest.mark.parametrize("text, capacity_bytes", [
    ("4194304", 4 << 20), ("64M", 64 << 20), ("64MiB", 64 << 20), ("64 mib", 64 << 20),
    ("64MB", 64 << 20), ("1G", 1 << 30), ("3M", 4 << 20)])
def test_sizes_have_units_and_round_up_to_superslabs(ctl, text, capacity_bytes):
    try:
        assert ctl.json("arena", "create", "sized", "-c", text)["capacity_bytes"] == capacity_bytes
    finally:
        ctl("arena", "delete", "sized")


def test_access_and_options_of_an_arena(ctl):
    made = ctl.json("arena", "create", "mine", "-c", "2M", "--mode", "0640", "--gid", "7",
                    "--holder-only", "--debug", "UZ")
    assert made["access"] == {"uid": os.geteuid(), "gid": 7, "mode": "0640"}
    assert made["holder_only"] and made["debug"] == "ZU" and made["debug_findings"] == 0
    line = ctl.ok("arena", "get", "mine").splitlines()[1]
    assert "0640" in line and "holder-only debug=ZU" in line
    ctl.ok("arena", "delete", "mine")


def test_pinned_arena_is_committed_at_once_and_may_be_locked(ctl):
    made = ctl.json("arena", "create", "dma", "-c", "4M", "--pinned")
    assert made["pinned"] and not made["locked"] and made["committed_bytes"] == 4 << 20
    ctl.ok("trim", "dma")
    assert ctl.json("arena", "get", "dma")["committed_bytes"] == 4 << 20
    assert ctl.ok("arena", "get", "dma").splitlines()[1].split()[-1] == "pinned"
    ctl.ok("arena", "delete", "dma")
    assert ctl.json("arena", "create", "dma", "-c", "2M", "--pinned", "--lock")["locked"]
    ctl.ok("arena", "delete", "dma")


def test_arena_that_wipes(ctl):
    made = ctl.json("arena", "create", "clean", "-c", "2M", "--zero", "--scrub")
    assert made["zero"] and made["scrub"] and not made["pinned"]
    assert ctl.ok("arena", "get", "clean").splitlines()[1].split()[-2:] == ["zero", "scrub"]
    ctl.ok("arena", "delete", "clean")


def test_arena_says_what_came_of_huge_pages_and_numa(ctl):
    made = ctl.json("arena", "create", "wide", "-c", "4M", "--pinned", "--huge-pages",
                    "--numa", "0")
    huge, numa = made["huge_pages"], made["numa"]
    assert huge["wanted"] and numa["policy"] == "0"
    assert (huge["bytes"] == 4 << 20) == (huge["fallback"] == "")
    table, _, rest = ctl.ok("arena", "get", "wide").partition("\nwide: ")
    assert table.split()[-3:] == ["pinned", "huge-pages", "numa=0"]
    assert "4 MiB in huge pages" in rest and huge["fallback"] in rest and numa["fallback"] in rest
    ctl.ok("arena", "delete", "wide")


def test_topology_says_where_shards_are(ctl):
    shards = ctl.json("topology")["shards"]
    assert all(shard["cpu"] in os.sched_getaffinity(0) for shard in shards)
    lines = [line.split() for line in ctl.ok("topology").splitlines()]
    rows = lines[lines.index(["SHARD", "CPU", "NUMA", "ADDRESS"]) + 1:]
    assert [row[:3] for row in rows] == [
        [str(shard["index"]), str(shard["cpu"]), str(shard["numa_node"])] for shard in shards]


def test_blocks_shows_who_has_a_block_and_who_had_it(ctl, fields):
    made = ctl.json("arena", "create", "tracked", "-c", "4M", "--debug", "U")
    with running_peer(ctl, "tracked") as (peer, session):
        ref = asked(peer, "allocate 256 text").strip()  # under tag 77
        [block] = ctl.json("blocks", "tracked", ref)["blocks"]
        assert block["state"] == "held" and block["holder"] == int(session) and block["tag"] == 77
        allocated = block["track"]["allocated"]
        assert (allocated["session"], allocated["tag"]) == (int(session), 77)
        assert block["track"]["freed"]["time_ns"] == 0
        assert set(block) == fields("BlockInfo") and set(allocated) == fields("BlockEvent")
        title, line = ctl.ok("blocks", "tracked", ref).splitlines()
        assert title.split()[0] == "REF" and title.split()[-2:] == ["ALLOCATED", "FREED"]
        assert re.search(rf"session {session} tag 0x4d \d{{4}}-\d\d-\d\dT[0-9:.]+Z +unknown", line)
    assert made["debug"] == "U"
    ctl.ok("arena", "delete", "tracked", "--force")


@pytest.mark.parametrize("words, reason", [
    (["arena", "create", "far", "-c", "2M", "--numa", "61"], "INVALID_OPTION"),
    (["arena", "create", "far", "-c", "2M", "--numa", "everywhere"], "INVALID_OPTION"),
    (["arena", "get", "nowhere"], "UNKNOWN_ARENA"),
    (["blocks", "nowhere", "0x1"], "UNKNOWN_ARENA"),
    (["arena", "create", "bugs", "-c", "2M", "--debug", "Q"], "INVALID_OPTION"),
    (["arena", "create", "bugs", "-c", "2M", "--debug", "P", "--zero"], "INVALID_OPTION"),
    (["arena", "create", "bad name", "-c", "2M"], "INVALID_NAME"),
    (["arena", "create", "empty", "-c", "0"], "INVALID_CAPACITY"),
    (["holders", "nowhere"], "UNKNOWN_ARENA"),
    (["audit", "nowhere"], "UNKNOWN_ARENA"),
    (["tune", "set", "no_such_tunable=1"], "INVALID_OPTION"),
    (["tune", "get", "no_such_tunable"], "INVALID_OPTION")])
def test_refusal_exits_1_with_message_and_reason_on_stderr(ctl, words, reason):
    refused = ctl(*words)
    assert refused.returncode == 1 and refused.stdout == ""
    assert refused.stderr.startswith("arenactl: ") and f"({reason})" in refused.stderr
    as_json = ctl(*words, "-o", "json")
    assert as_json.returncode == 1 and as_json.stdout == ""
    assert json.loads(as_json.stderr)["error"]["reason"] == reason


@pytest.mark.parametrize("words", [
    [], ["arena"], ["no-such-command"], ["arena", "create", "x"],
    ["arena", "create", "x", "-c", "lots"], ["arena", "create", "x", "-c", "2M", "--lock"],
    ["arena", "create", "x", "-c", "2M", "--mode", "999"],
    ["holders"], ["audit", "-o", "xml"], ["tune", "set", "p0_log"]])
def test_usage_errors_exit_2_and_reach_no_daemon(ctl, words):
    wrong = ctl(*words, env={"ARENAD_SOCKET": "/tmp/arenad-is-not-here"})
    assert wrong.returncode == 2 and wrong.stdout == "" and wrong.stderr


@pytest.mark.parametrize("program", ["arenad", "arenactl", "arena-load"])
def test_every_program_says_the_version_of_the_project(program):
    line = re.search(r"project\(arenad VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text())
    said = subprocess.run([BIN / program, "--version"], env=clean_environment(),
                          capture_output=True, text=True, check=True)
    assert (said.stdout, said.stderr) == (f"{program} {line[1]}\n", "")


def test_help_says_units_defaults_and_exit_codes():
    text = subprocess.run([BIN / "arenactl", "--help"], capture_output=True, text=True,
                          check=True).stdout
    for part in ["Exit codes: 0 ok", "3 an audit was not exact", "/run/arenad", "milliseconds"]:
        assert part in " ".join(text.split()), part


def test_nobody_there_exits_1_and_says_where_it_looked(ctl):
    gone = ctl("health", "--socket", "/tmp/arenad-is-not-here")
    assert gone.returncode == 1 and "UNAVAILABLE" in gone.stderr
    assert "/tmp/arenad-is-not-here/arenad.sock" in gone.stderr


def test_health_and_topology(ctl):
    assert ctl.ok("health") == "SERVING\n"
    assert ctl.json("health") == {"status": "SERVING"}
    topology = ctl.json("topology")
    assert [s["index"] for s in topology["shards"]] == [0, 1]
    assert topology["shards"][1]["address"] == f"unix:{ctl.sockets}/shard-1.sock"
    assert topology["handoff_path"] == f"{ctl.sockets}/handoff.sock"
    # The same through a socket file, and flags in front of the command.
    same = ctl.json("--socket", f"{ctl.sockets}/shard-1.sock", "topology")
    assert same["shards"] == topology["shards"]


def test_audit_of_a_quiet_arena_is_exact(ctl, arena):
    report = ctl.json("audit", arena)
    assert report["exact"] and report["p0_counter_mismatch"] == 0
    found = [(a["arena"], a["held"], a["mismatches"], a["findings"]) for a in report["arenas"]]
    assert found == [(arena, 0, 0, [])]
    text = ctl.ok("audit").splitlines()
    assert text[-1] == "audit: exact" and text[-2].startswith("[P0_COUNTER_OK] ")


def test_tune_shows_and_changes(ctl):
    tunables = {t["name"]: t for t in ctl.json("tune", "get")["tunables"]}
    assert {"p0_enable", "p0_no_drain", "p0_log", "idle_drain_ms"} <= set(tunables)
    assert all(t["description"] for t in tunables.values())
    before = tunables["idle_drain_ms"]["value"]
    answer = ctl.json("tune", "set", "idle_drain_ms=70", "p0_log=1")
    changed = {t["name"]: t["value"] for t in answer["tunables"]}
    assert changed["idle_drain_ms"] == "70" and changed["p0_log"] == "1"
    line = ctl.ok("tune", "get", "idle_drain_ms").splitlines()[1]
    assert line.split()[:3] == ["idle_drain_ms", "70", tunables["idle_drain_ms"]["default_value"]]
    ctl.ok("tune", "set", f"idle_drain_ms={before}", "p0_log=0")


def test_stats_slabinfo_holders_and_sessions_in_both_forms(ctl, arena):
    assert len(ctl.json("stats")["shards"]) == 2
    assert "from shard 1" in ctl.ok("stats", arena)
    assert ctl.json("slabinfo", arena) == {"rows": []}
    assert ctl.ok("slabinfo").split()[:3] == ["ARENA", "SHARD", "SIZE"]
    assert ctl.json("holders", arena) == {"holders": [], "total_blocks": 0, "total_bytes": 0}
    assert ctl.ok("holders", arena).splitlines()[-1] == "total: 0 blocks, 0 B"
    assert ctl.json("sessions") == {"sessions": []}
    assert ctl.ok("sessions").split()[:2] == ["ID", "NAME"]


def test_trim(ctl, arena):
    answer = ctl.json("trim", arena)
    assert answer["committed_bytes"] <= answer["committed_bytes_before"]
    assert "committed" in ctl.ok("trim")
    assert ctl("trim", "nowhere").returncode == 1


def test_sessions_limit(ctl, arena):
    with running_peer(ctl, arena) as (peer, session):
        answer = ctl.json("sessions", "limit", session, "64KiB")
        assert answer["limit_bytes"] == 64 << 10
        assert "QUOTA_SESSION" in asked(peer, "many 4096 1000")
        assert ctl.ok("sessions", "limit", session, "0") == "no limit\n"
        assert asked(peer, "many 4096 1000") == "ok\n"


def test_sessions_evict(ctl, arena):
    with running_peer(ctl, arena) as (peer, session):
        assert asked(peer, "many 4096 3") == "ok\n"
        assert ctl.json("sessions", "evict", session) == {
            "blocks_given_back": 3, "bytes_given_back": 3 * 4096}
        assert ctl.json("sessions") == {"sessions": []}
        assert "EVICTED" in asked(peer, "many 4096 3")
        refused = ctl("sessions", "evict", session)
        assert refused.returncode != 0 and "does not exist" in refused.stderr


def test_sessions_show_what_a_peer_holds_and_leases(ctl, arena):
    with running_peer(ctl, arena) as (peer, session):
        assert asked(peer, "many 4096 3") == "ok\n"
        row = ctl.json("sessions")["sessions"][0]
        assert str(row["id"]) == session and row["limit_bytes"] == 0
        attached = row["attachments"][0]
        assert (attached["arena"], attached["mode"]) == (arena, "peer")
        assert (attached["held_blocks"], attached["held_bytes"]) == (3, 3 * 4096)
        assert attached["leased_bytes"] >= 1 << 16
        head, line = (text.split() for text in ctl.ok("sessions").splitlines())
        assert head[-6:] == ["MODE", "BLOCKS", "HELD", "LEASED", "LIMIT", "RESERVE"]
        assert line[-2:] == ["-", "-"] and "peer" in line
        assert asked(peer, "allocate 100 text")  # under tag 77
        assert 77 in [row["tag"] for row in ctl.json("holders", arena)["holders"]]
        assert "0x4d" in ctl.ok("holders", arena)


@pytest.fixture(scope="module")
def fields(tmp_path_factory):
    """The names of a message's fields, as the proto files have them."""
    out = tmp_path_factory.mktemp("descriptors") / "set"
    names = ["admin", "arenas", "blocks", "sessions"]
    subprocess.run(["protoc", "-I", ROOT / "proto", f"--descriptor_set_out={out}",
                    *[f"arenad/v1/{name}.proto" for name in names]], check=True)
    files = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file
    messages = {m.name: {f.name for f in m.field} for file in files for m in file.message_type}
    return lambda message: messages[message] - {"next_page_token"}  # arenactl asks for all pages


def test_json_has_every_field_of_the_contract_and_no_other(ctl, arena, fields):
    with subprocess.Popen([BIN / "client_peer", ctl.sockets, arena], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as peer:
        peer.stdout.readline()
        assert asked(peer, "many 4096 3") == "ok\n"
        stats, sessions = ctl.json("stats"), ctl.json("sessions")
        slabs, holders, audit = ctl.json("slabinfo"), ctl.json("holders", arena), ctl.json("audit")
        tunables, topology = ctl.json("tune", "get"), ctl.json("topology")
        arenas = ctl.json("arena", "list")
    shown = [
        ("Stats", stats), ("ShardStats", stats["shards"][0]),
        ("HeapCounters", stats["shards"][0]["heap"]),
        ("ListSessionsResponse", sessions), ("SessionInfo", sessions["sessions"][0]),
        ("Attachment", sessions["sessions"][0]["attachments"][0]),
        ("GetSlabInfoResponse", slabs), ("SlabInfoRow", slabs["rows"][0]),
        ("ListHoldersResponse", holders), ("HolderRow", holders["holders"][0]),
        ("AuditReport", audit), ("ArenaAudit", audit["arenas"][0]),
        ("Tunables", tunables), ("Tunable", tunables["tunables"][0]),
        ("Topology", topology), ("ShardInfo", topology["shards"][0]),
        ("ListArenasResponse", arenas), ("Arena", arenas["arenas"][0]),
        ("ArenaAccess", arenas["arenas"][0]["access"])]
    for message, answer in shown:
        assert set(answer) == fields(message), message


def test_stats_table_has_a_line_with_a_meaning_for_every_counter(ctl, fields):
    lines = [line.split() for line in ctl.ok("stats").splitlines()]
    table = {words[0]: words[1:] for words in lines if words}
    shard = fields("ShardStats") - {"shard", "heap", "remote_frees_to"}
    for name in fields("HeapCounters") | shard:
        numbers, meaning = table[name][:2], table[name][2:]
        assert all(number.isdigit() for number in numbers) and meaning, name


def encoded(message, text):
    """A message of the admin service as bytes, from its text form."""
    return subprocess.run(["protoc", "-I", ROOT / "proto", f"--encode=arenad.v1.{message}",
                           "arenad/v1/admin.proto"],
                          input=text.encode(), capture_output=True, check=True).stdout


@pytest.fixture
def inexact(tmp_path_factory):
    """A socket file. The server behind it answers an audit that is not exact."""
    topology = 'version: "fake" shards { address: "unix:/tmp/arenad-is-not-here" }'
    audit = ('arenas { arena: "broken" mismatches: 3 findings: "slab 3: held 5, counted 6" } '
             'p0_counter_mismatch: 1')
    answers = {"GetTopology": encoded("Topology", topology),
               "Audit": encoded("AuditReport", audit)}
    handlers = {name: grpc.unary_unary_rpc_method_handler(lambda request, context, out=answer: out)
                for name, answer in answers.items()}
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("arenad.v1.Admin", handlers)])
    path = str(tmp_path_factory.mktemp("s") / "x.sock")
    server.add_insecure_port(f"unix:{path}")
    server.start()
    yield path
    server.stop(None).wait()


def test_audit_that_is_not_exact_exits_3_and_shows_the_findings(ctl, inexact):
    text = ctl("audit", "--socket", inexact)
    assert (text.returncode, text.stderr) == (3, "")
    assert "broken: slab 3: held 5, counted 6" in text.stdout
    assert "broken: 2 more findings" in text.stdout
    assert "[P0_COUNTER_MISMATCH]" in text.stdout and "NOT EXACT" in text.stdout
    report = ctl("audit", "--socket", inexact, "-o", "json")
    assert report.returncode == 3
    assert json.loads(report.stdout)["arenas"][0]["findings"] == ["slab 3: held 5, counted 6"]
