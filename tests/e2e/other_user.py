"""A client of another user, as a process: OtherUser makes it, and calls through it.

The process imports everything as the user of the tests, and then becomes the other one. So it needs
no right to read the tree.
"""
import fcntl
import json
import mmap
import os
import queue
import socket
import struct
import subprocess
import sys

import grpc

from client import READER, WRITER, Client, Session, refusal_of, show_token
from contract import admin, arenas, blocks, sessions
from contract import common as pb


class Refused(Exception):
    """code, reason and message of a refusal."""

    def __init__(self, code, reason, message):
        super().__init__(f"{code} {reason}: {message}")
        self.code, self.reason, self.message = code, reason, message


class OtherUser:
    """user.create("a", mode=0o600) makes the call of that name below, and returns its answer."""

    def __init__(self, sockets, uid=65534, gid=65534, groups=()):
        self.process = subprocess.Popen(
            [sys.executable, __file__, sockets, json.dumps([uid, gid, list(groups)])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __getattr__(self, name):
        def call(*args, **named):
            self.process.stdin.write(json.dumps([name, args, named]) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
            assert line, "the other user's process has ended"
            answer = json.loads(line)
            if "refused" in answer:
                raise Refused(*answer["refused"])
            return answer["value"]

        return call

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Calls:
    def __init__(self, sockets):
        self.sockets = sockets
        self.client = Client(f"unix:{sockets}/arenad.sock")
        self.sessions = {}
        self.silent = []

    def over(self, name):
        """From here on over that socket of the directory."""
        self.client = Client(f"unix:{self.sockets}/{name}")

    def create(self, name, capacity_bytes=16 << 20, **access):
        made = self.client.create_arena(name, capacity_bytes, access=arenas.ArenaAccess(**access))
        return [made.access.uid, made.access.gid, made.access.mode]

    def get(self, name):
        return self.client.arena(name).capacity_bytes

    def keep_memory(self, name, arena, mode=WRITER):
        """Maps the arena, and takes the mark away by which the daemon knows of it."""
        attached = self.sessions[name].attach(arena, mode)
        answer = show_token(self.sessions[name].opened.handoff_path, attached.handoff_token)
        unlock = struct.pack("hhqqi4x", fcntl.F_UNLCK, os.SEEK_SET, 0, 0, 0)
        fcntl.fcntl(answer.fds[0], fcntl.F_OFD_SETLK, unlock)
        access = mmap.ACCESS_READ if mode == READER else mmap.ACCESS_WRITE
        self.memory = mmap.mmap(answer.fds[0], answer.data_bytes, access=access)
        os.close(answer.fds[0])
        return attached.arena.id

    def touch_memory(self):
        """Reads a byte of each page until the kernel has no page any more."""
        child = os.fork()
        if child == 0:
            for at in range(0, len(self.memory), mmap.PAGESIZE):
                self.memory[at]  # ends in SIGBUS
            os._exit(0)
        return os.waitpid(child, 0)[1]

    def drop_memory(self):
        self.memory.close()

    def list(self):
        return [a.name for a in self.client.arenas.ListArenas(arenas.ListArenasRequest()).arenas]

    def delete(self, name, force=True):
        self.client.arenas.DeleteArena(arenas.DeleteArenaRequest(name=name, force=force))

    def open(self, name, **options):
        self.sessions[name] = Session(self.client, name, **options)
        return self.sessions[name].key.id

    def bind(self, name):
        self.sessions[name].bind()

    def close_session(self, name):
        self.sessions.pop(name).close()

    def come_back(self, name):
        """After a restart of the daemon."""
        self.client = Client(f"unix:{self.sockets}/arenad.sock")
        self.sessions[name].keep_alive(self.client)

    def attach(self, session, arena, mode):
        return self.sessions[session].attach(arena, mode).arena.id

    def allocate(self, session, arena_id, size_bytes, **more):
        return self.sessions[session].allocate(arena_id, size_bytes, **more).refs[0]

    def allocate_many(self, session, arena_id, size_bytes, count):
        return list(self.sessions[session].allocate(arena_id, size_bytes, count).refs)

    def free(self, session, arena_id, refs):
        return self.sessions[session].free(arena_id, refs).freed

    def share(self, session, arena_id, refs):
        answer = self.sessions[session].share(arena_id, refs)
        return [[pb.Reason.Name(e.reason), e.message] for e in answer.errors]

    def start_waiting(self, session, arena_id, size_bytes, wait_ms):
        """A call that nobody waits for here."""
        request = blocks.AllocateRequest(
            session=self.sessions[session].key,
            arena_id=arena_id,
            size_bytes=size_bytes,
            count=1,
            wait_ms=wait_ms,
        )
        self.waiting = self.client.blocks.Allocate.future(request)

    def connect(self, name, count):
        """Silent connections to that socket of the directory."""
        for _ in range(count):
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.connect(f"{self.sockets}/{name}")
            self.silent.append(connection)
        return count

    def disconnect(self):
        for connection in self.silent:
            connection.close()
        self.silent.clear()

    def evict(self, session_id):
        self.client.evict(session_id)

    def keep_alive(self, id, secret):
        requests = queue.SimpleQueue()  # not at its end
        key = pb.SessionKey(id=id, secret=secret)
        requests.put(sessions.KeepAliveRequest(session=key))
        next(self.client.sessions.KeepAlive(iter(requests.get, None)))

    def live_sessions(self):
        return sorted(self.client.live_sessions())

    def holders(self, arena):
        answer = self.client.admin.ListHolders(admin.ListHoldersRequest(arena=arena))
        return [sorted(h.session_name for h in answer.holders), answer.total_blocks]

    def slab_info(self, arena):
        answer = self.client.admin.GetSlabInfo(admin.GetSlabInfoRequest(arena=arena))
        return sorted({row.arena for row in answer.rows})

    def stats(self, arena):
        return self.client.stats(arena).arenas

    def audit(self):
        return self.client.audit().exact

    def set_tunables(self, **values):
        self.client.set_tunables(**values)


def main():
    sockets, (uid, gid, groups) = sys.argv[1], json.loads(sys.argv[2])
    os.setgroups(groups)
    os.setgid(gid)
    os.setuid(uid)
    calls = Calls(sockets)
    for line in sys.stdin:
        name, args, named = json.loads(line)
        try:
            answer = {"value": getattr(calls, name)(*args, **named)}
        except grpc.RpcError as error:
            answered = dict(error.trailing_metadata() or ())
            if "grpc-status-details-bin" in answered:
                answer = {"refused": refusal_of(again, error)}
            else:  # gRPC's own
                answer = {"refused": [error.code().name, "", error.details()]}
        print(json.dumps(answer), flush=True)


def again(error):
    raise error


if __name__ == "__main__":
    main()
