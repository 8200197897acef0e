"""A client process that a test kills.

It does what its first argument says, prints one line of JSON, and waits for its end.

usage: victim.py MODE TARGET ARENA
  open        OpenSession, nothing else
  attach      OpenSession, AttachArena as writer, 1000 blocks; no handoff shown, no KeepAlive
  hold        a writer bound by its handoff, with 400 MiB in blocks of 4 KiB, each written
  exchange    the same binding; allocates and frees on an Exchange stream without end
  keepalive   a remote session; allocates and frees on an Exchange stream without end
  forked      a remote session with 1000 blocks; a forked child has its connections, too, and lives
              until stdin ends
  exec        a writer bound by its handoff, with 1000 blocks; becomes another program (cat)
"""
import json
import os
import sys
import threading

from client import MIB, WRITER, Client, Session
from contract import blocks


def ready(session, **facts):
    print(json.dumps({"session": session.key.id, "pid": os.getpid(), **facts}), flush=True)


def hold(session, arena, data):
    refs = []
    while len(refs) * 4096 < 400 * MIB:
        answer = session.allocate(arena.id, 4096, min(10240, 102400 - len(refs)))
        for offset in answer.offsets:
            data[offset] = 0x5A
        refs += answer.refs
    ready(session, blocks=len(refs), first_refs=refs[:10])


def exchange(session, arena):
    """Always some answers outstanding: the kill comes in the middle of it."""
    slots = threading.Semaphore(16)
    held = []

    def requests():
        call = 0
        while True:
            slots.acquire()
            call += 1
            if len(held) > 8:
                yield blocks.ExchangeRequest(
                    id=call,
                    free=blocks.FreeRequest(
                        session=session.key, arena_id=arena.id, refs=held.pop(0)
                    ),
                )
            else:
                yield blocks.ExchangeRequest(
                    id=call,
                    allocate=blocks.AllocateRequest(
                        session=session.key, arena_id=arena.id, size_bytes=2048, count=64
                    ),
                )

    answers = 0
    for answer in session.client.blocks.Exchange(requests()):
        assert answer.WhichOneof("result") != "error", answer
        if answer.HasField("allocate"):
            held.append(list(answer.allocate.refs))
        slots.release()
        answers += 1
        if answers == 200:
            ready(session)


def main():
    mode, target, name = sys.argv[1:]
    client = Client(target)
    session = Session(client, f"victim-{mode}", keepalive=mode in ("keepalive", "forked"))
    if mode == "open":
        ready(session)
    elif mode == "attach":
        arena = session.attach(name, WRITER).arena
        session.allocate(arena.id, 4096, 1000)
        ready(session)
    elif mode == "hold":
        hold(session, *session.bind().map(name))
    elif mode == "exchange":
        exchange(session, session.bind().map(name)[0])
    elif mode == "forked":
        session.allocate(session.attach(name).arena.id, 4096, 1000)
        child = os.fork()
        if child == 0:
            os.read(0, 1)
            os._exit(0)
        ready(session, child=child)
    elif mode == "exec":
        arena, _ = session.bind().map(name)
        session.allocate(arena.id, 4096, 1000)
        session.keep_alive(client)
        ready(session)
        os.execvp("cat", ["cat"])
    elif mode == "keepalive":
        exchange(session, session.attach(name).arena)
    sys.stdin.read()


main()
