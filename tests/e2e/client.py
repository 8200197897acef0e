"""A small client of arenad for tests: thin calls, nothing hidden, errors with their three parts."""
import mmap
import os
import queue
import socket
import struct
from typing import NamedTuple

import grpc

import contract
from contract import admin, arenas, blocks, sessions
from contract import common as pb

REMOTE, READER, WRITER, PEER = (
    pb.ATTACH_MODE_REMOTE,
    pb.ATTACH_MODE_READER,
    pb.ATTACH_MODE_WRITER,
    pb.ATTACH_MODE_PEER,
)
MIB = 1 << 20


class Refusal(NamedTuple):
    """One refused call, as a program sees it."""

    code: str
    reason: str
    message: str


def refusal_of(call, *args, **kwargs):
    """Makes the call, which must be refused. Returns how: with code, message and ErrorInfo."""
    try:
        answer = call(*args, **kwargs)
    except grpc.RpcError as error:
        packed = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin")
        assert packed, f"no status details in {error}"
        status = contract.Status.FromString(packed)
        assert status.code == error.code().value[0]
        infos = [
            contract.ErrorInfo.FromString(detail.value)
            for detail in status.details
            if detail.type_url.endswith("/google.rpc.ErrorInfo")
        ]
        assert len(infos) == 1 and infos[0].domain == "arenad", status
        return Refusal(error.code().name, infos[0].reason, error.details())
    raise AssertionError(f"not refused, answered {answer}")


def refusal_of_ref(error):
    """The same from a RefError or an ExchangeError."""
    code = next(c.name for c in grpc.StatusCode if c.value[0] == error.code)
    return Refusal(code, pb.Reason.Name(error.reason).removeprefix("REASON_"), error.message)


def expect(refusal, code, reason, *words):
    """The refusal is this one, and its message has the words and says what to do."""
    assert (refusal.code, refusal.reason) == (code, reason), refusal
    assert len(refusal.message) > 20, f"a message must say what to do: {refusal}"
    for word in words:
        assert word in refusal.message, f"'{word}' is not in: {refusal.message}"


class HandoffAnswer(NamedTuple):
    status: int
    reason: str
    mode: int
    data_bytes: int
    arena_id: int
    message: str
    fds: tuple


def show_token(path, token):
    """Shows a token on the handoff socket and returns the daemon's answer with its descriptors."""
    header = struct.Struct("<8sIIIIQQII16s")  # the frames: proto/handoff/README.md
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.settimeout(60)
        door.connect(path)
        door.sendall(struct.pack("<8s16sII", b"ARNDHND1", token, 1, 0))
        data, fds, _, _ = socket.recv_fds(door, header.size, 4)
        while len(data) < header.size:
            more = door.recv(header.size - len(data))
            assert more, f"handoff answer ended after {len(data)} bytes"
            data += more
        (
            magic,
            status,
            reason,
            fd_count,
            mode,
            data_bytes,
            _,
            arena_id,
            message_bytes,
            _,
        ) = header.unpack(data)
        assert magic == b"ARNDHND1" and fd_count == len(fds)
        message = b""
        while len(message) < message_bytes:
            message += door.recv(message_bytes - len(message))
        name = pb.Reason.Name(reason).removeprefix("REASON_")
        return HandoffAnswer(status, name, mode, data_bytes, arena_id, message.decode(), tuple(fds))


class Client:
    """One connection, with all services on it."""

    def __init__(self, target, channel=None):
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
        self.target = target
        self.channel = channel or grpc.insecure_channel(target, options)
        self.arenas = contract.arenas_grpc.ArenasStub(self.channel)
        self.sessions = contract.sessions_grpc.SessionsStub(self.channel)
        self.blocks = contract.blocks_grpc.BlocksStub(self.channel)
        self.admin = contract.admin_grpc.AdminStub(self.channel)

    def close(self):
        self.channel.close()

    def create_arena(self, name, capacity_bytes, **options):
        return self.arenas.CreateArena(
            arenas.CreateArenaRequest(name=name, capacity_bytes=capacity_bytes, **options)
        )

    def arena(self, name):
        return self.arenas.GetArena(arenas.GetArenaRequest(name=name))

    def absent_id(self):
        """An id that no arena has: ids begin at a random place."""
        listed = self.arenas.ListArenas(arenas.ListArenasRequest()).arenas
        return next(id for id in range(1, 1024) if id not in {arena.id for arena in listed})

    def audit(self, arena=""):
        return self.admin.Audit(admin.AuditRequest(arena=arena))

    def stats(self, arena=""):
        return self.admin.GetStats(admin.GetStatsRequest(arena=arena))

    def tunables(self):
        return {
            t.name: t.value for t in self.admin.GetTunables(admin.GetTunablesRequest()).tunables
        }

    def set_tunables(self, **values):
        return self.admin.SetTunables(admin.SetTunablesRequest(values=values))

    def evict(self, session_id):
        return self.admin.EvictSession(admin.EvictSessionRequest(session_id=session_id))

    def topology(self):
        return self.admin.GetTopology(admin.GetTopologyRequest())

    def live_sessions(self):
        return {
            s.name: s for s in self.sessions.ListSessions(sessions.ListSessionsRequest()).sessions
        }


class Session:
    """A session. A KeepAlive stream keeps it, or this process does, after `bind`."""

    def __init__(self, client, name, keepalive=True, **options):
        self.client = client
        request = sessions.OpenSessionRequest(name=name, **options)
        self.opened = client.sessions.OpenSession(request)
        self.key = self.opened.session
        self._events = None
        if keepalive:
            self.keep_alive()

    def keep_alive(self, client=None):
        """Opens its KeepAlive stream. After a restart of the daemon: over a new connection."""
        self.client = client or self.client
        self._requests = queue.SimpleQueue()
        self._requests.put(sessions.KeepAliveRequest(session=self.key))
        self._events = self.client.sessions.KeepAlive(iter(self._requests.get, None))
        next(self._events)  # the daemon has seen it

    def next_event(self):
        return next(self._events)

    def lose_keepalive(self):
        self._events.cancel()

    def bind(self):
        answer = show_token(self.opened.handoff_path, self.opened.handoff_token)
        assert answer.status == 0, answer
        return self

    def attach(self, arena, mode=REMOTE):
        return self.client.sessions.AttachArena(
            sessions.AttachArenaRequest(session=self.key, arena=arena, mode=mode)
        )

    def map(self, arena, mode=WRITER):
        """Attaches and maps the data file. Returns (arena, mmap)."""
        attached = self.attach(arena, mode)
        answer = show_token(self.opened.handoff_path, attached.handoff_token)
        assert answer.status == 0, answer
        access = mmap.ACCESS_READ if mode == READER else mmap.ACCESS_WRITE
        data = mmap.mmap(answer.fds[0], answer.data_bytes, access=access)
        os.close(answer.fds[0])
        return attached.arena, data

    def allocate(self, arena_id, size_bytes=0, count=1, client=None, **more):
        return (client or self.client).blocks.Allocate(
            blocks.AllocateRequest(
                session=self.key, arena_id=arena_id, size_bytes=size_bytes, count=count, **more
            )
        )

    def free(self, arena_id, refs, client=None):
        return (client or self.client).blocks.Free(
            blocks.FreeRequest(session=self.key, arena_id=arena_id, refs=refs)
        )

    def acquire(self, arena_id, refs, tag=0, client=None):
        return (client or self.client).blocks.Acquire(
            blocks.AcquireRequest(session=self.key, arena_id=arena_id, refs=refs, tag=tag)
        )

    def share(self, arena_id, refs):
        return self.client.blocks.Share(
            blocks.ShareRequest(session=self.key, arena_id=arena_id, refs=refs)
        )

    def describe(self, arena_id, refs):
        return self.client.blocks.Describe(
            blocks.DescribeRequest(session=self.key, arena_id=arena_id, refs=refs)
        ).blocks

    def close(self):
        return self.client.sessions.CloseSession(sessions.CloseSessionRequest(session=self.key))
