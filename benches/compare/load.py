"""What is done to a proxy: it has to prove its answers, is loaded by wrk, and held by idle clients."""

import collections
import http.client
import re
import socket
import subprocess

from contenders import HOST
from harness import Failure, expect, expect_equal

# Enough that each of three origins is reached four times.
PROOFS = 12

# How long wrk may take beyond the time that it was given, in seconds.
LATE_SECONDS_MAX = 30

MICROSECONDS = {"us": 1, "ms": 1e3, "s": 1e6, "m": 6e7}

Load = collections.namedtuple("Load", "requests per_second p99_us errors")


def prove(proxy, scenario):
    """Fails unless the proxy gives the right answer through all three origins."""
    names = set()
    for _ in range(PROOFS):
        response, content = get(proxy.port, scenario.path)
        expect_equal(response.status, 200, "status")
        expect_equal(len(content), scenario.length, "length")
        names.add(response.headers["X-Origin"])
    expect_equal(names, {"0", "1", "2"}, "origins")
    _, content = get(proxy.port, "/seen")
    host, _, forwarded_for = content.decode().partition(" ")
    expect_equal(forwarded_for, "127.0.0.1", "X-Forwarded-For")
    # What https backends are called is their own business: roundel names them by their own name.
    if not scenario.tls:
        expect_equal(host, HOST, "Host")


def get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers={"Host": HOST})
        response = connection.getresponse()
        return response, response.read()
    except (OSError, http.client.HTTPException) as error:
        raise Failure(f"GET {path}: {error!r}") from None
    finally:
        connection.close()


def run_wrk(proxy, scenario, seconds, threads):
    command = ["wrk", f"-t{min(threads, scenario.clients)}", f"-c{scenario.clients}", f"-d{seconds}s",
               "--latency", "-H", f"Host: {HOST}"]
    if scenario.closes:
        command += ["-H", "Connection: close"]
    command.append(f"http://127.0.0.1:{proxy.port}{scenario.path}")
    try:
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL,
                              timeout=seconds + LATE_SECONDS_MAX, check=False)
    except subprocess.TimeoutExpired:
        raise Failure(f"wrk did not end {LATE_SECONDS_MAX} s after its time") from None
    said = done.stdout + done.stderr
    expect_equal(done.returncode, 0, f"wrk's exit code ({said[-500:]})")
    return Load(
        requests=int(find(r"(\d+) requests in", said)),
        per_second=float(find(r"Requests/sec:\s+([\d.]+)", said)),
        p99_us=microseconds(find(r"(?m)^\s+99%\s+(\S+)$", said)),
        errors=errors(said),
    )


def find(pattern, said):
    found = re.search(pattern, said)
    expect(found, f"wrk did not say {pattern!r}: {said[-500:]}")
    return found.group(1)


def microseconds(text):
    number, unit = re.fullmatch(r"([\d.]+)([a-z]+)", text).groups()
    return float(number) * MICROSECONDS[unit]


def errors(said):
    """How many requests went wrong: on the socket, or with a status that is none of success."""
    sockets = re.search(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)", said)
    statuses = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    count = sum(map(int, sockets.groups())) if sockets else 0
    return count + (int(statuses.group(1)) if statuses else 0)


class IdleClients:
    """Connections that made one request each and stay, until the `with` block ends."""

    def __init__(self, proxy, scenario, count):
        self._sockets = []
        request = f"GET {scenario.path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
        try:
            for _ in range(count):
                client = socket.create_connection(("127.0.0.1", proxy.port), timeout=10)
                self._sockets.append(client)
                client.sendall(request)
                read_answer(client, scenario.length)
        except OSError as error:
            self._close()
            raise Failure(f"client {len(self._sockets)} of {count}: {error!r}") from None
        except BaseException:
            self._close()
            raise

    def expect_open(self):
        """Fails if the proxy has closed one: its memory would not have been counted."""
        for client in self._sockets:
            client.setblocking(False)
            try:
                expect(client.recv(1), "the proxy has closed an idle client")
            except BlockingIOError:
                pass

    def _close(self):
        for client in self._sockets:
            client.close()

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self._close()


def read_answer(client, length):
    received = b""
    while b"\r\n\r\n" not in received or len(received.split(b"\r\n\r\n", 1)[1]) < length:
        part = client.recv(65536)
        expect(part, f"the answer ends early: {received[:200]!r}")
        received += part
    expect(received.startswith(b"HTTP/1.1 200 "), f"not a 200: {received[:200]!r}")
