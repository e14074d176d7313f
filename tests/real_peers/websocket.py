"""As much of the WebSocket protocol (RFC 6455) as an echo needs, both sides, by hand."""

import base64
import hashlib
import os
import struct

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
BINARY, CLOSE, PING, PONG = 0x2, 0x8, 0x9, 0xA


def accept_value(key):
    return base64.b64encode(hashlib.sha1(key.encode() + GUID).digest()).decode()


def frame(opcode, payload, mask=None):
    """One final frame; a client's frames are masked."""
    size, masked = len(payload), 0x80 if mask else 0
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, masked | size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", 0x80 | opcode, masked | 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, masked | 127, size)
    return head + (mask + apply_mask(payload, mask) if mask else payload)


def apply_mask(payload, mask):
    """XOR with the repeated mask, as one large number: a loop over octets would take seconds."""
    size = len(payload)
    repeated = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(size, "big")


def read_frame(read_exactly):
    """The opcode and the unmasked payload of the next frame."""
    first, second = read_exactly(2)
    size = second & 0x7F
    if size == 126:
        (size,) = struct.unpack("!H", read_exactly(2))
    elif size == 127:
        (size,) = struct.unpack("!Q", read_exactly(8))
    mask = read_exactly(4) if second & 0x80 else None
    payload = read_exactly(size)
    return first & 0x0F, apply_mask(payload, mask) if mask else payload


def serve(connection, request):
    """Answers the handshake, greets at once in the same send, and echoes until the close frame."""
    connection.send(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n\r\n%b"
        % (accept_value(request.field("Sec-WebSocket-Key")).encode(), frame(BINARY, b"hello"))
    )
    while True:
        opcode, payload = read_frame(connection.read_exactly)
        if opcode == PING:
            connection.send(frame(PONG, payload))
        else:
            connection.send(frame(opcode, payload))
        if opcode == CLOSE:
            return


class Client:
    """The other side: shakes hands over a connected socket, then sends and reads frames."""

    def __init__(self, connected, path, early=()):
        """`early` payloads go out in the same send as the handshake's request."""
        self.socket = connected
        self._held = b""
        key = base64.b64encode(os.urandom(16)).decode()
        request = (
            f"GET {path} HTTP/1.1\r\nHost: chat.example\r\nUpgrade: websocket\r\n"
            f"Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n"
        )
        frames = b"".join(frame(BINARY, payload, os.urandom(4)) for payload in early)
        self.socket.sendall(request.encode() + frames)
        while b"\r\n\r\n" not in self._held:
            self._more()
        head, _, self._held = self._held.partition(b"\r\n\r\n")
        self.head = head.decode("latin-1")
        self.accepted = f"sec-websocket-accept: {accept_value(key)}".lower() in self.head.lower()

    def _more(self):
        data = self.socket.recv(1 << 20)
        if not data:
            raise ConnectionError("the tunnel was closed")
        self._held += data

    def _read_exactly(self, count):
        while len(self._held) < count:
            self._more()
        data, self._held = self._held[:count], self._held[count:]
        return data

    def send(self, payload, opcode=BINARY):
        self.socket.sendall(frame(opcode, payload, os.urandom(4)))

    def receive(self):
        return read_frame(self._read_exactly)

    def at_end(self):
        """True when the other side has closed and nothing is left."""
        return not self._held and self.socket.recv(1) == b""
