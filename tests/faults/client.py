"""Many clients with persistent connections, in one process and one thread; `load.py` starts it.

    client.py SPECIFICATION.json

Each request carries an id of its own, and a good answer is status 200 with that id as its body: an
answer that went to the wrong client is seen. Nothing is ever tried again here, so that what a proxy
could not hide is counted. At its end, or on TERM as soon as the open requests have been answered, it
prints what it saw as JSON.
"""

import collections
import heapq
import json
import random
import re
import select
import signal
import socket
import sys
import time

RECEIVE_BYTES = 1 << 16
BODY_BYTES_MAX = 2000
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)")

# How often the open requests are searched for one that waits too long, in seconds.
SEARCH_SECONDS = 0.25


class Client:
    """One client: its connection, and the request that it waits for."""

    def __init__(self, number):
        self.number = number
        self.count = 0
        self.socket = None
        self.port = None
        self.method = None
        self.id = None
        self.begun = 0.0
        self.received = b""

    def is_waiting(self):
        return self.id is not None


class Load:
    def __init__(self, spec):
        self.spec = spec
        self.random = random.Random(spec["seed"])
        self.poll = select.epoll()
        self.clients = [Client(number) for number in range(spec["clients"])]
        self.by_descriptor = {}
        self.planned = []
        self.begun = 0
        self.open = 0
        self.told_to_stop = False
        self.next_search = 0.0
        self.counts = collections.Counter()
        self.failures = []
        self.good_posts = []
        self.trace = []
        self.milliseconds = []

    def run(self):
        begin = time.monotonic()
        end = begin + self.spec["seconds"]
        for client in self.clients:
            self.plan(client, begin + self.pause())
        while True:
            now = time.monotonic()
            if self.told_to_stop or now >= end or self.begun >= self.spec["requests"]:
                if self.open == 0:
                    break
            else:
                self.begin_planned(now)
            for descriptor, _ in self.poll.poll(self.wait_seconds(now)):
                self.on_readable(self.by_descriptor[descriptor])
            self.end_overdue()
        return self.result(time.monotonic() - begin)

    def pause(self):
        return self.random.uniform(*self.spec["pause"])

    def plan(self, client, due):
        heapq.heappush(self.planned, (due, client.number))

    def wait_seconds(self, now):
        if not self.planned:
            return SEARCH_SECONDS
        return min(max(self.planned[0][0] - now, 0), SEARCH_SECONDS)

    def begin_planned(self, now):
        while self.planned and self.planned[0][0] <= now and self.begun < self.spec["requests"]:
            _, number = heapq.heappop(self.planned)
            self.begin(self.clients[number])

    def begin(self, client):
        """Sends the next request of a client, over its connection if it has one."""
        method, path = self.random.choices(self.spec["kinds"], self.spec["weights"])[0]
        client.count += 1
        client.id = f"{client.number}-{client.count}"
        client.method = method
        client.received = b""
        client.begun = time.monotonic()
        self.begun += 1
        self.open += 1
        head = f"{method} {path}?id={client.id} HTTP/1.1\r\nHost: faults.example\r\n".encode()
        if not self.spec["persistent"]:
            head += b"Connection: close\r\n"
        try:
            if client.socket is None:
                self.connect(client)
            if method == "GET":
                client.socket.sendall(head + b"\r\n")
            else:
                self.send_post(client.socket, head)
        except OSError as error:
            self.finish(client, type(error).__name__, persists=False)

    def send_post(self, connection, head):
        """Every second one comes in two pieces."""
        body = b"x" * self.random.randint(1, BODY_BYTES_MAX)
        head += b"Content-Length: %d\r\n\r\n" % len(body)
        if self.random.random() < 0.5:
            connection.sendall(head + body)
        else:
            connection.sendall(head)
            connection.sendall(body)

    def connect(self, client):
        address = (self.spec["address"], self.spec["port"])
        client.socket = socket.create_connection(address, timeout=self.spec["timeout"])
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.socket.setblocking(False)
        self.by_descriptor[client.socket.fileno()] = client
        self.poll.register(client.socket, select.EPOLLIN)
        client.port = client.socket.getsockname()[1]

    def disconnect(self, client):
        if client.socket is not None:
            self.by_descriptor.pop(client.socket.fileno(), None)
            client.socket.close()
            client.socket = None

    def on_readable(self, client):
        try:
            data = client.socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            return self.on_end(client, type(error).__name__)
        if not data:
            return self.on_end(client, "closed")
        client.received += data
        if client.is_waiting() and (answer := parse(client.received, ended=False)):
            self.on_answer(client, *answer)

    def on_end(self, client, how):
        """The connection is over. Between two requests that is nobody's mistake."""
        if client.is_waiting():
            if how == "closed" and (answer := parse(client.received, ended=True)):
                return self.on_answer(client, *answer)
            self.finish(client, how, persists=False)
        else:
            self.disconnect(client)

    def on_answer(self, client, status, body, persists):
        if status != 200:
            self.finish(client, f"status {status}", persists)
        elif body != f"{client.id}\n".encode():
            self.finish(client, "another body", persists=False)
        else:
            self.finish(client, "good", persists)

    def end_overdue(self):
        now = time.monotonic()
        if now < self.next_search:
            return
        self.next_search = now + SEARCH_SECONDS
        for client in self.clients:
            if client.is_waiting() and now - client.begun > self.spec["timeout"]:
                self.finish(client, "no answer", persists=False)

    def finish(self, client, outcome, persists):
        """Counts a request that is over, and plans the client's next."""
        now = time.monotonic()
        self.open -= 1
        self.counts[f"{client.method} {outcome}"] += 1
        self.milliseconds.append((now - client.begun) * 1000)
        if self.spec["trace"]:
            self.trace.append([client.begun, now, client.port, client.id])
        if outcome != "good":
            self.failures.append([client.method, client.id, outcome])
        elif client.method == "POST":
            self.good_posts.append(client.id)
        client.id = None
        if not persists:
            self.disconnect(client)
        self.plan_next(client, now)

    def plan_next(self, client, now):
        """Alone, a client pauses and goes on; together, all wait for the last and pause the same."""
        if not self.spec["together"]:
            return self.plan(client, now + self.pause())
        if self.open == 0 and not self.planned:
            due = now + self.pause()
            for each in self.clients:
                self.plan(each, due)

    def result(self, seconds):
        ordered = sorted(self.milliseconds) or [0]
        return {
            "seconds": seconds,
            "counts": self.counts,
            "failures": self.failures,
            "good_posts": self.good_posts,
            "trace": self.trace,
            "ms_p50": ordered[len(ordered) // 2],
            "ms_p99": ordered[len(ordered) * 99 // 100],
            "ms_max": ordered[-1],
        }


def parse(data, ended):
    """Status, body, and whether the connection persists, of an answer; None until it is complete."""
    head, end, body = data.partition(b"\r\n\r\n")
    while end and head.startswith(b"HTTP/1.1 1"):
        head, end, body = body.partition(b"\r\n\r\n")
    if not end or not head[9:12].isdigit():
        return None
    fields = head.lower()
    if found := LENGTH.search(fields):
        wanted = int(found.group(1))
        if len(body) < wanted:
            return None
        persists = b"connection: close" not in fields and len(body) == wanted
        return int(head[9:12]), body[:wanted], persists
    return (int(head[9:12]), body, False) if ended else None


def main():
    with open(sys.argv[1], encoding="ascii") as file:
        load = Load(json.load(file))

    def stop(_signal, _frame):
        load.told_to_stop = True

    signal.signal(signal.SIGTERM, stop)
    json.dump(load.run(), sys.stdout)


if __name__ == "__main__":
    main()
