#!/usr/bin/python3
"""One block of shared memory from Python, without a client library, from the proto files alone.

The program creates an arena, opens a session, and gets the arena's memory through the handoff
socket. Then it allocates a block, writes through mmap, reads back, describes, frees, closes the
session and deletes the arena. It prints each step. It attaches as writer, so each allocation is a
call to the daemon. A Python program cannot be a peer: that takes the C++ library.

usage: python_roundtrip.py [--socket DIR] [--proto DIR] [--arena NAME]

The program needs Debian's python3-grpcio and protobuf-compiler-grpc (protoc and
grpc_python_plugin), so run it with /usr/bin/python3. It exits with 0 when every step did what it
should. Otherwise the exception says which step did not.
"""
import argparse
import mmap
import os
import pathlib
import queue
import socket
import struct
import subprocess
import sys
import tempfile

import grpc


def load_contract(proto_dir):
    """Compiles the proto files into a temporary directory, and imports the modules."""
    with tempfile.TemporaryDirectory(prefix="arenad-proto-") as out:
        protos = [f"arenad/v1/{name}.proto" for name in ("common", "arenas", "sessions", "blocks")]
        subprocess.run(["protoc", f"-I{proto_dir}", f"--python_out={out}", f"--grpc_out={out}",
                        "--plugin=protoc-gen-grpc=/usr/bin/grpc_python_plugin", *protos],
                       check=True)
        sys.path.insert(0, out)
        sys.dont_write_bytecode = True
        try:
            # X_pb2 has the messages of a service, and X_pb2_grpc has its client.
            from arenad.v1 import arenas_pb2, arenas_pb2_grpc, blocks_pb2, blocks_pb2_grpc
            from arenad.v1 import common_pb2, sessions_pb2, sessions_pb2_grpc
        finally:
            sys.path.remove(out)
    return (common_pb2, arenas_pb2, arenas_pb2_grpc, sessions_pb2, sessions_pb2_grpc, blocks_pb2,
            blocks_pb2_grpc)


# The frames of the handoff socket are described in proto/handoff/README.md.
# Magic, token, version, reserved.
HANDOFF_REQUEST = struct.Struct("<8s16sII")
# Magic, status, reason, descriptors, mode, data bytes, control bytes, arena id, message bytes,
# reserved.
HANDOFF_ANSWER = struct.Struct("<8sIIIIQQII16s")


def receive(door, count):
    data = b""
    while len(data) < count:
        more = door.recv(count - len(data))
        if not more:
            raise ConnectionError("the handoff socket ended in the middle of an answer")
        data += more
    return data


def hand_over(path, token):
    """Shows a one-time token. Returns the descriptor of the arena's data, and the data's size.

    The daemon binds the session to the life of this process.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.settimeout(10)
        door.connect(path)
        door.sendall(HANDOFF_REQUEST.pack(b"ARNDHND1", token, 1, 0))
        data, fds, _, _ = socket.recv_fds(door, HANDOFF_ANSWER.size, 1)
        data += receive(door, HANDOFF_ANSWER.size - len(data))
        (magic, status, reason, _, _, data_bytes, _, _, message_bytes,
         _) = HANDOFF_ANSWER.unpack(data)
        message = receive(door, message_bytes).decode()
    if magic != b"ARNDHND1" or status != 0 or len(fds) != 1:
        raise PermissionError(f"handoff refused: code {status}, reason {reason}: {message}")
    return fds[0], data_bytes


class KeepAlive:
    """The stream that keeps a session alive. The constructor waits until the daemon confirms it."""

    def __init__(self, stub, sessions_pb2, key):
        self.requests = queue.SimpleQueue()
        self.requests.put(sessions_pb2.KeepAliveRequest(session=key))
        # Sends each request that is put into the queue; None ends the stream. The object is kept:
        # gRPC cancels the stream of an object that goes away, and the session ends with its stream.
        self.events = stub.KeepAlive(iter(self.requests.get, None))
        next(self.events)

    def close(self):
        self.requests.put(None)


def main():
    here = pathlib.Path(__file__).resolve()
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--socket", default=os.environ.get("ARENAD_SOCKET") or "/run/arenad",
                         help="the daemon's socket directory")
    options.add_argument("--proto", default=str(here.parents[2] / "proto"),
                         help="arenad's proto directory")
    options.add_argument("--arena", default=f"python-example-{os.getpid()}",
                         help="name of the arena to create")
    args = options.parse_args()

    (common, arenas_pb2, arenas_rpc, sessions_pb2, sessions_rpc, blocks_pb2,
     blocks_rpc) = load_contract(args.proto)
    channel = grpc.insecure_channel(f"unix:{os.path.abspath(args.socket)}/arenad.sock")
    arenas = arenas_rpc.ArenasStub(channel)
    sessions = sessions_rpc.SessionsStub(channel)
    blocks = blocks_rpc.BlocksStub(channel)

    arena = arenas.CreateArena(arenas_pb2.CreateArenaRequest(
        name=args.arena, capacity_bytes=16 << 20))
    print(f"created   arena {arena.name} (id {arena.id}), {arena.capacity_bytes >> 20} MiB")

    opened = sessions.OpenSession(sessions_pb2.OpenSessionRequest(name="python-example"))
    keep_alive = KeepAlive(sessions, sessions_pb2, opened.session)
    print(f"opened    session {opened.session.id}, its KeepAlive stream is confirmed")

    attached = sessions.AttachArena(sessions_pb2.AttachArenaRequest(
        session=opened.session, arena=arena.name, mode=common.ATTACH_MODE_WRITER))
    # The daemon names the path as it sees it. A container may mount the directory elsewhere.
    handoff_path = os.path.join(args.socket, os.path.basename(opened.handoff_path))
    descriptor, data_bytes = hand_over(handoff_path, attached.handoff_token)
    memory = mmap.mmap(descriptor, data_bytes, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
    os.close(descriptor)
    memory.madvise(mmap.MADV_DONTFORK)   # a child must not write what this process holds
    print(f"attached  as writer, {data_bytes >> 20} MiB mapped")

    allocated = blocks.Allocate(blocks_pb2.AllocateRequest(
        session=opened.session, arena_id=arena.id, size_bytes=1000, count=1, tag=0xE6))
    ref, offset, usable = allocated.refs[0], allocated.offsets[0], allocated.usable_bytes[0]
    print(f"allocated block {ref:#018x} at offset {offset}, {usable} bytes usable")

    text = b"written by Python through mmap"
    memory[offset:offset + len(text)] = text
    read_back = memory[offset:offset + len(text)]
    assert read_back == text, read_back
    print(f"wrote and read back {read_back.decode()!r}")

    info = blocks.Describe(blocks_pb2.DescribeRequest(
        session=opened.session, arena_id=arena.id, refs=[ref])).blocks[0]
    assert info.state == blocks_pb2.BLOCK_STATE_HELD, info
    assert info.holder == opened.session.id and info.offset_bytes == offset, info
    print(f"described it: {blocks_pb2.BlockState.Name(info.state)}, holder {info.holder}, "
          f"tag {info.tag:#x}, shard {info.heap}")

    freed = blocks.Free(blocks_pb2.FreeRequest(
        session=opened.session, arena_id=arena.id, refs=[ref]))
    assert freed.freed == 1 and not freed.errors, freed
    print("freed     it")
    again = blocks.Free(blocks_pb2.FreeRequest(
        session=opened.session, arena_id=arena.id, refs=[ref]))
    assert again.freed == 0 and len(again.errors) == 1, again
    refusal = again.errors[0]
    print("freed     it again, which is refused: "
          f"{common.Reason.Name(refusal.reason)}: {refusal.message}")

    memory.close()
    given_back = sessions.CloseSession(sessions_pb2.CloseSessionRequest(session=opened.session))
    keep_alive.close()
    print(f"closed    the session; it still held {given_back.blocks_given_back} blocks")
    arenas.DeleteArena(arenas_pb2.DeleteArenaRequest(name=arena.name))
    print(f"deleted   arena {arena.name}")
    channel.close()


if __name__ == "__main__":
    main()
