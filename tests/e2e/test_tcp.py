"""gRPC over TCP: TLS with certificates that this test makes, and plain text on loopback."""
import pathlib
import re
import signal
import subprocess

import grpc
import pytest

from client import MIB, Client, Session, expect, refusal_of
from contract import admin, arenas
from daemon import DaemonFailed, wait_until

USER = 43210


def openssl(*words, cwd):
    subprocess.run(["openssl", *words], cwd=cwd, check=True, capture_output=True)


class Authority:
    """A CA, and what it signs: NAME.crt and NAME.key in the directory."""

    def __init__(self, directory, name="ca"):
        self.dir, self.name = pathlib.Path(directory), name
        self.key(name)
        subject = f"/CN=authority {name}"
        openssl(
            "req", "-x509", "-new", "-key", f"{name}.key", "-subj", subject, "-days", "2",
            "-out", f"{name}.crt", cwd=self.dir,
        )  # fmt: skip

    def key(self, name):
        openssl(
            "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-out", f"{name}.key", cwd=self.dir,
        )  # fmt: skip

    def sign(self, name, common_name, alternative="DNS:localhost"):
        self.key(name)
        (self.dir / "extensions").write_text(f"subjectAltName={alternative}\n")
        openssl(
            "req", "-new", "-key", f"{name}.key", "-subj", f"/CN={common_name}",
            "-out", f"{name}.csr", cwd=self.dir,
        )  # fmt: skip
        openssl(
            "x509", "-req", "-in", f"{name}.csr", "-CA", f"{self.name}.crt",
            "-CAkey", f"{self.name}.key", "-CAcreateserial", "-days", "2",
            "-extfile", "extensions", "-out", f"{name}.crt", cwd=self.dir,
        )  # fmt: skip

    def file(self, name):
        return (self.dir / name).read_bytes()


class TlsClient(Client):
    def __init__(self, port, authority, name=None):
        pair = (authority.file(f"{name}.key"), authority.file(f"{name}.crt")) if name else ()
        credentials = grpc.ssl_channel_credentials(authority.file(f"{authority.name}.crt"), *pair)
        super().__init__(
            f"localhost:{port}", grpc.secure_channel(f"localhost:{port}", credentials, OPTIONS)
        )


OPTIONS = [("grpc.use_local_subchannel_pool", 1)]


def port_of(daemon, kind):
    return re.search(rf"serving {kind} on \S+:(\d+)", daemon.log())[1]


@pytest.fixture
def authority(tmp_path):
    made = Authority(tmp_path)
    made.sign("daemon", "arenad")
    made.sign("alice", "somebody", "DNS:alice.example,email:alice@example.org")
    made.sign("root", "root", "DNS:root.example")
    made.sign("stranger", "stranger", "DNS:stranger.example")
    return made


@pytest.fixture
def tls_daemon(start_daemon, authority):
    files = {key: str(authority.dir / name) for key, name in FILES.items()}
    users = ["--tls-user", f"alice@example.org:{USER}", "--tls-user", "root:0"]
    flags = [word for key, path in files.items() for word in (key, path)]
    return start_daemon("--shards", "2", "--listen", "127.0.0.1:0", *flags, *users)


FILES = {"--tls-cert": "daemon.crt", "--tls-key": "daemon.key", "--tls-client-ca": "ca.crt"}


@pytest.fixture
def over_tls(tls_daemon, authority):
    clients = []

    def connect(name=None, by=authority):
        clients.append(TlsClient(port_of(tls_daemon, "TLS"), by, name))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


def test_a_name_of_the_certificate_is_a_user(over_tls, tls_daemon, connect):
    alice, local = over_tls("alice"), connect(tls_daemon.target)
    made = alice.create_arena("hers", 16 * MIB, access=arenas.ArenaAccess(mode=0o600))
    assert made.access.uid == USER
    session = Session(alice, "s")
    session.attach("hers")
    assert session.allocate(made.id, 64).refs
    private = local.create_arena("roots", 16 * MIB, access=arenas.ArenaAccess(mode=0o600))
    assert private.access.uid == 0
    expect(refusal_of(alice.arena, "roots"), "PERMISSION_DENIED", "NOT_PERMITTED", str(USER))
    session.close()
    alice.arenas.DeleteArena(arenas.DeleteArenaRequest(name="hers"))


def test_a_certificate_that_names_nobody_has_what_everybody_has(over_tls, tls_daemon, connect):
    stranger, local = over_tls("stranger"), connect(tls_daemon.target)
    local.create_arena("open", 16 * MIB, access=arenas.ArenaAccess(mode=0o666))
    local.create_arena("group", 16 * MIB, access=arenas.ArenaAccess(mode=0o660))
    session = Session(stranger, "s")
    assert session.attach("open").arena.id
    assert refusal_of(session.attach, "group").reason == "NOT_PERMITTED"
    assert refusal_of(stranger.create_arena, "new", 16 * MIB).reason == "NOT_PERMITTED"


def test_nobody_administrates_over_tls(over_tls):
    root = over_tls("root")
    assert root.create_arena("roots", 16 * MIB).access.uid == 0
    for call in (root.audit, lambda: root.set_tunables(idle_drain_ms="1")):
        assert refusal_of(call).reason == "NOT_PERMITTED"


@pytest.fixture
def other(tmp_path_factory):
    made = Authority(tmp_path_factory.mktemp("other"), "other")
    made.sign("daemon", "arenad")
    made.sign("alice", "alice@example.org")
    return made


def unavailable(client):
    try:
        client.admin.GetTopology(admin.GetTopologyRequest(), timeout=60)
    except grpc.RpcError as error:
        return error.code() is grpc.StatusCode.UNAVAILABLE
    return False


def test_who_shows_no_certificate_of_the_authority_gets_no_connection(
    over_tls, authority, other, tls_daemon, connect
):
    assert unavailable(over_tls())
    (authority.dir / "forged.key").write_bytes(other.file("alice.key"))
    (authority.dir / "forged.crt").write_bytes(other.file("alice.crt"))
    assert unavailable(over_tls("forged"))
    plain = connect(f"localhost:{port_of(tls_daemon, 'TLS')}")
    assert unavailable(plain)
    assert over_tls("alice").topology().shards


def test_new_files_count_for_new_connections(over_tls, authority, other, tls_daemon):
    before = over_tls("alice")
    assert before.topology().shards
    for name in ("daemon.key", "daemon.crt"):
        (authority.dir / name).write_bytes(other.file(name))
    (authority.dir / "ca.crt").write_bytes(other.file("other.crt"))
    tls_daemon.process.send_signal(signal.SIGHUP)
    wait_until("it says so", lambda: "SIGHUP: new connections over TLS" in tls_daemon.log())
    wait_until("the new certificate counts", lambda: not unavailable(over_tls("alice", other)))
    assert before.topology().shards, "connections that there are go on"
    (authority.dir / "daemon.crt").write_bytes(b"damaged")
    tls_daemon.process.send_signal(signal.SIGHUP)
    wait_until("it says so, too", lambda: "TLS goes on with the files" in tls_daemon.log())
    assert not unavailable(over_tls("alice", other))


def test_plain_text_is_on_loopback_and_is_nobody(start_daemon, connect):
    daemon = start_daemon("--shards", "2", "--listen-plaintext", "127.0.0.1:0")
    plain = connect(f"127.0.0.1:{port_of(daemon, 'plain text')}")
    local = connect(daemon.target)
    local.create_arena("open", 16 * MIB, access=arenas.ArenaAccess(mode=0o666))
    local.create_arena("group", 16 * MIB, access=arenas.ArenaAccess(mode=0o660))
    session = Session(plain, "s")
    arena = session.attach("open").arena
    assert session.allocate(arena.id, 64).refs
    assert refusal_of(session.attach, "group").reason == "NOT_PERMITTED"
    for call in (plain.audit, lambda: plain.set_tunables(idle_drain_ms="1")):
        assert refusal_of(call).reason == "NOT_PERMITTED"
    with pytest.raises(DaemonFailed, match="other hosts reach"):
        start_daemon("--listen-plaintext", "0.0.0.0:0")
    with pytest.raises(DaemonFailed, match="tls_cert"):
        start_daemon("--listen", "127.0.0.1:0")
