"""HTTP/2 by hand: connections that do what no client library does."""
import socket

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING = 0, 1, 3, 4, 6
ACK, END_STREAM, END_HEADERS = 1, 1, 4


def frame(kind, flags, stream, payload=b""):
    size = len(payload).to_bytes(3, "big")
    return size + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def literal(name, value):
    """A header that no table keeps."""
    return b"\x00" + bytes((len(name),)) + name + bytes((len(value),)) + value


def request(stream, path, *more, flags=END_HEADERS):
    """The frame that begins a gRPC call. more: pairs of further headers."""
    block = b"\x83\x86" + literal(b":path", path.encode()) + literal(b":authority", b"localhost")
    block += literal(b"te", b"trailers") + literal(b"content-type", b"application/grpc")
    for name, value in more:
        block += literal(name, value)
    return frame(HEADERS, flags, stream, block)


def message(stream, payload, compressed=False):
    """The frames of a whole gRPC message that ends the stream."""
    data = bytes((compressed,)) + len(payload).to_bytes(4, "big") + payload
    parts = [data[at : at + 16384] for at in range(0, len(data), 16384)]
    frames = [frame(DATA, 0, stream, part) for part in parts[:-1]]
    return b"".join([*frames, frame(DATA, END_STREAM, stream, parts[-1])])


class Connection:
    """Says the preface. It acknowledges the settings of the server when it agrees."""

    def __init__(self, path, agrees=False):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(60)
        self.socket.connect(path)
        self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0) + frame(SETTINGS, ACK, 0) * agrees)
        self.socket.setblocking(False)
        self.stream = -1
        self.unsent = b""

    def next_stream(self):
        self.stream += 2
        return self.stream

    def push(self, data):
        """Sends as much as the server takes, after what it has not taken before."""
        self.unsent += data
        try:
            self.unsent = self.unsent[self.socket.send(self.unsent) :]
        except BlockingIOError:
            pass

    def pull(self):
        """What has come."""
        try:
            data = self.socket.recv(1 << 20)
        except BlockingIOError:
            return b""
        if not data:
            raise ConnectionResetError
        return data

    def close(self):
        self.socket.close()
