"""A backend in Python for what nginx cannot be told: to take its time, and to close after 100 ms.

It answers each request with the id that the request carries. One thread serves all its ports.
"""

import heapq
import random
import re
import select
import socket
import threading
import time

RECEIVE_BYTES = 1 << 16
REQUEST_ID = re.compile(rb"^\S+ \S*[?&]id=([\w-]+)")
LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")


class Connection:
    def __init__(self, accepted):
        self.socket = accepted
        self.received = b""
        # A timer that was set for an earlier age has nothing to say any more.
        self.age = 0
        self.id = None


class Server:
    """Listens while its `with` block runs.

    A request is answered `hold_seconds` after it was complete. With `idle_seconds`, a pair, a
    connection that waits for a request is closed after a random time between the two, whatever has
    arrived meanwhile and was not read: that is how a request and the closing of its connection meet.
    """

    def __init__(self, ports=1, hold_seconds=0.0, idle_seconds=None, seed=1, address="127.0.0.1",
                 port=0):
        self._hold_seconds = hold_seconds
        self._idle_seconds = idle_seconds
        self._random = random.Random(seed)
        self._poll = select.epoll()
        self._timers = []
        self._connections = {}
        self._is_over = False
        self.closed_idle = 0
        self._listeners = {}
        for _ in range(ports):
            listener = socket.create_server((address, port), backlog=4096)
            listener.setblocking(False)
            self._listeners[listener.fileno()] = listener
            self._poll.register(listener, select.EPOLLIN)
        self.ports = [listener.getsockname()[1] for listener in self._listeners.values()]
        self.urls = [f"http://{address}:{port}" for port in self.ports]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._is_over:
            now = time.monotonic()
            wait = min(max(self._timers[0][0] - now, 0), 0.1) if self._timers else 0.1
            events = self._poll.poll(wait)
            self._run_timers()
            for descriptor, _ in events:
                if descriptor in self._listeners:
                    self._accept(self._listeners[descriptor])
                elif descriptor in self._connections:
                    self._read(self._connections[descriptor])

    def _set_timer(self, connection, seconds):
        connection.age += 1
        due = time.monotonic() + seconds
        heapq.heappush(self._timers, (due, id(connection), connection.age, connection))

    def _run_timers(self):
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            _, _, age, connection = heapq.heappop(self._timers)
            if age != connection.age:
                continue
            if connection.id is not None:
                self._answer(connection)
            else:
                self.closed_idle += 1
                self._close(connection)

    def _accept(self, listener):
        try:
            accepted, _ = listener.accept()
        except OSError:
            return
        accepted.setblocking(False)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = self._connections[accepted.fileno()] = Connection(accepted)
        self._poll.register(accepted, select.EPOLLIN)
        self._rest(connection)

    def _rest(self, connection):
        if self._idle_seconds:
            self._set_timer(connection, self._random.uniform(*self._idle_seconds))

    def _read(self, connection):
        try:
            data = connection.socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            return self._close(connection)
        # From the first octet of a request on, the connection is not idle.
        connection.age += 1
        connection.received += data
        head, end, body = connection.received.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if not end or len(body) < (int(length.group(1)) if length else 0):
            return
        connection.received = b""
        connection.id = REQUEST_ID.match(head).group(1)
        if self._hold_seconds:
            self._set_timer(connection, self._hold_seconds)
        else:
            self._answer(connection)

    def _answer(self, connection):
        answer = connection.id + b"\n"
        connection.id = None
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer)
        try:
            connection.socket.send(head + answer)
        except OSError:
            return self._close(connection)
        self._rest(connection)

    def _close(self, connection):
        connection.age += 1
        self._connections.pop(connection.socket.fileno(), None)
        connection.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self._is_over = True
        self._thread.join(10)
        for connection in [*self._connections.values()]:
            self._close(connection)
        for listener in self._listeners.values():
            listener.close()
