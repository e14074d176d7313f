"""Clients that hold their connections and are in no hurry, in one process; `slowloris.py` starts it.

    trickler.py PORT COUNT SECONDS

When all have begun it prints `standing N`, with the number of those that have not been ended. When all
have been ended, or after so many seconds, it writes what each has seen to `seen.json` and prints
`ended N`. Until it is told to stop it closes nothing itself, and goes on to send where it can: roundel
has to get rid of these connections alone.
"""

import collections
import itertools
import json
import resource
import select
import socket
import sys
import time

# An address that no other client has, so that these are found in the access log.
SOURCE = "127.0.0.2"
SPARE_DESCRIPTORS = 100
OCTET_SECONDS = 1

# How many begin before the others are looked after again, and how long a look waits for something.
BATCH = 100
POLL_SECONDS = 0.02

# What each kind says at once, what an octet a second after it, and its share in eighths. A body's first
# octet comes with its head. Those that roundel bears longest begin first, so that all stand together.
Kind = collections.namedtuple("Kind", "first then eighths")
POST = b"POST /held?id=slow HTTP/1.1\r\nHost: slow.example\r\n"
KINDS = {
    "body by length": Kind(POST + b"Content-Length: 100000\r\n\r\nx", lambda: itertools.repeat(b"x"[0]), 1),
    "chunked body": Kind(POST + b"Transfer-Encoding: chunked\r\n\r\n5",
                         lambda: itertools.cycle(b"\r\nhello\r\n5"), 1),
    "silent": Kind(b"", lambda: iter(b""), 2),
    "stopped head": Kind(b"GET /quick?id=slow HTTP/1.1\r\n", lambda: iter(b""), 2),
    "trickling head": Kind(b"G", lambda: itertools.chain(b"ET /quick?id=slow HTTP/1.1\r\n",
                                                         itertools.cycle(b"X-Slow: x\r\n")), 2),
}


class Connection:
    """Its time counts from its first octet; that of a silent one from its beginning."""

    def __init__(self, port, kind):
        self.kind = kind
        self.octets = KINDS[kind].then()
        self.received = b""
        # Those behind what it says at once, as long as it was not ended.
        self.octets_sent = 0
        self.seconds = self.how = None
        self.socket = socket.create_connection(("127.0.0.1", port), 10, source_address=(SOURCE, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.address = "{}:{}".format(*self.socket.getsockname())
        self._begun = time.monotonic()
        self.socket.sendall(KINDS[kind].first)
        self.socket.setblocking(False)

    def send_octet(self):
        """Whether there is anything to send and anybody who takes it."""
        octet = next(self.octets, None)
        if octet is None:
            return False
        try:
            self.socket.send(bytes([octet]))
        except OSError:
            return False
        self.octets_sent += self.seconds is None
        return True

    def read(self):
        """Whether more may come."""
        try:
            data = self.socket.recv(4096)
        except OSError as error:
            data, self.how = b"", type(error).__name__
        self.received += data
        if not data:
            self.how = self.how or "closed"
            self.seconds = time.monotonic() - self._begun
        return bool(data)

    def seen(self):
        status = self.received[9:12].decode(errors="replace")
        return {"kind": self.kind, "address": self.address, "status": status, "how": self.how,
                "seconds": self.seconds, "octets_sent": self.octets_sent}


class Siege:
    def __init__(self, port, count, seconds):
        self._port = port
        self._count = count
        self._seconds = seconds
        kinds = [[name] * (count * kind.eighths // 8) for name, kind in KINDS.items()]
        self._planned = collections.deque(itertools.chain(*kinds))
        self._connections = {}
        # The pause is the same for all: who has sent last is the last to send again.
        self._turns = collections.deque()
        self._ended = 0
        self._poll = select.epoll()

    def run(self):
        while self._planned:
            self._open_some()
            self._look_after(0)
        print(f"standing {len(self._connections) - self._ended}", flush=True)
        end = time.monotonic() + self._seconds
        while self._ended < self._count and time.monotonic() < end:
            self._look_after(POLL_SECONDS)
        with open("seen.json", "w", encoding="ascii") as file:
            json.dump([each.seen() for each in self._connections.values()], file)
        print(f"ended {self._ended}", flush=True)
        while True:
            self._look_after(POLL_SECONDS)

    def _open_some(self):
        for _ in range(min(BATCH, len(self._planned))):
            connection = Connection(self._port, self._planned.popleft())
            descriptor = connection.socket.fileno()
            self._connections[descriptor] = connection
            self._poll.register(descriptor, select.EPOLLIN)
            self._turns.append((time.monotonic() + OCTET_SECONDS, connection))

    def _look_after(self, seconds):
        for descriptor, _ in self._poll.poll(seconds):
            if not self._connections[descriptor].read():
                self._poll.unregister(descriptor)
                self._ended += 1
        now = time.monotonic()
        while self._turns and self._turns[0][0] <= now:
            _, connection = self._turns.popleft()
            if connection.send_octet():
                self._turns.append((now + OCTET_SECONDS, connection))


def main():
    port, count, seconds = (int(word) for word in sys.argv[1:])
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(count + SPARE_DESCRIPTORS, hard), hard))
    Siege(port, count, seconds).run()


if __name__ == "__main__":
    main()
