"""A small backend in Python for what nginx cannot be told to do.

It shows the request head as it came, sends bodies in every framing, takes bodies and says their
digest, can be slow, answers early, and speaks WebSocket. One thread per connection.
"""

import hashlib
import re
import socket
import threading
import time

import content
import websocket

RECEIVE_BYTES = 1 << 20
SLOW_BYTES_PER_SECOND = 1 << 20


class Origin:
    """Listens while its `with` block runs. `heads` holds each request head that came."""

    def __init__(self):
        self.heads = []
        self.slow_bytes = 0
        self._connections = set()
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                accepted, _ = self._socket.accept()
            except OSError:
                return
            self._connections.add(accepted)
            threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def _serve(self, accepted):
        connection = Connection(accepted)
        try:
            while (request := connection.read_request()) is not None:
                self.heads.append(request.head)
                if not self._answer(connection, request):
                    break
        except OSError:
            pass  # The other side went away; what that means is for the check to say.
        finally:
            self._connections.discard(accepted)
            accepted.close()

    def _answer(self, connection, request):
        """Answers one request; true when the connection may carry another."""
        action, _, argument = request.path.strip("/").partition("/")
        if action == "chunked":
            connection.discard_body(request)
            connection.send_chunked(int(argument))
        elif action == "length":
            connection.discard_body(request)
            connection.send_length(int(argument))
        elif action == "until-close":
            connection.send_until_close(int(argument))
            return False
        elif action == "slow":
            self._read_slowly(connection)
            return False
        elif action == "refuse":
            connection.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n"
                            b"Connection: close\r\n\r\nno\n")
            connection.linger()
            return False
        elif action == "hints":
            connection.send(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n")
            connection.send_text("after the hints\n")
        elif action == "websocket":
            websocket.serve(connection, request)
            return False
        else:
            connection.send_text(connection.describe(request))
        return True

    def _read_slowly(self, connection):
        """Takes a body at a fixed rate, for as long as the other side likes to send."""
        step = SLOW_BYTES_PER_SECOND // 20
        while data := connection.socket.recv(step):
            self.slow_bytes += len(data)
            time.sleep(len(data) / SLOW_BYTES_PER_SECOND)

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self.close()

    def close(self):
        """Listens no more and ends all connections. May be called again."""
        if self._socket.fileno() < 0:
            return
        # A close alone does not wake the thread that waits in accept.
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for accepted in list(self._connections):
            try:
                accepted.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Request:
    def __init__(self, head):
        self.head = head
        self.method, self.path, self.version = head.split("\r\n", 1)[0].split(" ", 2)

    def field(self, name):
        found = re.search(rf"(?im)^{name}:[ \t]*(.*?)[ \t]*\r?$", self.head)
        return found.group(1) if found else None


class Connection:
    """One accepted connection and the octets that were read too far."""

    def __init__(self, accepted):
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = accepted
        self._early = b""

    def read(self, count):
        """What is there, at most so much; nothing at the end."""
        if self._early:
            data, self._early = self._early[:count], self._early[count:]
            return data
        return self.socket.recv(count)

    def read_exactly(self, count):
        data = bytearray()
        while len(data) < count:
            more = self.read(count - len(data))
            if not more:
                raise ConnectionError("the other side closed in the middle")
            data += more
        return bytes(data)

    def read_until(self, end):
        data = b""
        while end not in data:
            more = self.read(RECEIVE_BYTES)
            if not more:
                return None
            data += more
        found, _, self._early = data.partition(end)
        return found

    def read_request(self):
        head = self.read_until(b"\r\n\r\n")
        return Request(head.decode("latin-1") + "\r\n") if head is not None else None

    def body(self, request):
        """The request's body, piece by piece; says 100 Continue when that is waited for."""
        if (request.field("Expect") or "").lower() == "100-continue":
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "chunked" in (request.field("Transfer-Encoding") or ""):
            while size := int(self.read_until(b"\r\n").split(b";")[0], 16):
                yield from self._pieces(size)
                self.read_exactly(2)
            while self.read_until(b"\r\n"):
                pass
        else:
            yield from self._pieces(int(request.field("Content-Length") or 0))

    def _pieces(self, left):
        while left:
            data = self.read(min(left, RECEIVE_BYTES))
            if not data:
                raise ConnectionError("the other side closed inside a body")
            left -= len(data)
            yield data

    def discard_body(self, request):
        for _ in self.body(request):
            pass

    def describe(self, request):
        """The head as it came, and what the body was."""
        sha, count = hashlib.sha256(), 0
        for data in self.body(request):
            sha.update(data)
            count += len(data)
        return f"{request.head}\r\nbody {count} {sha.hexdigest()}\n"

    def send(self, data):
        self.socket.sendall(data)

    def send_text(self, text):
        body = text.encode("latin-1")
        self.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b"
                  % (len(body), body))

    def send_chunked(self, total):
        self.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for block in content.blocks(total):
            self.send(content.chunks(block))
        self.send(b"0\r\n\r\n")

    def send_length(self, total):
        self.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        for block in content.blocks(total):
            self.send(block)

    def send_until_close(self, total):
        self.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        for block in content.blocks(total):
            self.send(block)

    def linger(self):
        """Ends our direction and takes what still comes, so that the answer is not lost to a reset."""
        self.socket.shutdown(socket.SHUT_WR)
        self.socket.settimeout(2)
        while self.socket.recv(RECEIVE_BYTES):
            pass
