"""Many clients take a large answer at 1 KiB/s each: what they do not take must stay with the backend.

What waits in roundel for a client is bounded by one read; the memory of all of them together too.
"""

import contextlib
import socket
import time

from harness import MIB, Roundel, curl, mib
from peers import Nginx

READERS, READERS_SHORT = 200, 40
SECONDS, SECONDS_SHORT = 30, 5
FILE_BYTES = 100 * MIB
BYTES_PER_SECOND = 1024
RECEIVE_BUFFER_BYTES = 4096

# READ_BYTES_MAX of roundel: what one connection may hold. And what all of them may hold beside that.
CONNECTION_BYTES_MAX = 256 * 1024
SPARE_BYTES = 4 * MIB

# How long another client may have to wait for a small answer in the meantime.
OTHER_SECONDS_MAX = 1


def scenario(world, report):
    count = READERS_SHORT if world.quick else READERS
    seconds = SECONDS_SHORT if world.quick else SECONDS
    with Nginx(world, access_log=False) as nginx:
        with open(nginx.files / "big", "wb") as sparse:
            sparse.truncate(FILE_BYTES)
        with Roundel(world, [nginx.url]) as proxy, contextlib.ExitStack() as stack:
            curl(world, f"{proxy.url}/hello")
            before = proxy.rss_bytes()
            readers = [stack.enter_context(Reader(proxy.port)) for _ in range(count)]
            peak = read_slowly(readers, seconds, proxy)
            check_memory(count, before, peak, report)
            check_readers(readers, seconds, report)
            other = curl(world, f"{proxy.url}/hello")
            waited = other.figures[0]["time_total"]
            report.say(f"another client had its answer in {waited * 1000:.1f} ms")
            report.expect(other.status == 200 and waited <= OTHER_SECONDS_MAX,
                          f"another client got {other.status} after {waited:.1f} s")


class Reader:
    def __init__(self, port):
        self.socket = socket.socket()
        # Before the connection is made, so that no larger window is offered.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        self.socket.connect(("127.0.0.1", port))
        self.socket.sendall(b"GET /files/big HTTP/1.1\r\nHost: slow.example\r\n\r\n")
        self.socket.setblocking(False)
        self.begin = b""
        self.count = 0
        self.ended = None

    def read(self):
        try:
            data = self.socket.recv(BYTES_PER_SECOND)
        except BlockingIOError:
            return
        except OSError as error:
            self.ended = type(error).__name__
            return
        self.begin = self.begin or data[:12]
        self.count += len(data)
        if not data:
            self.ended = "closed"

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self.socket.close()


def read_slowly(readers, seconds, proxy):
    """Each reads once a second. Gives the most memory that roundel had."""
    begin, peak = time.monotonic(), 0
    for turn in range(seconds):
        for reader in readers:
            reader.read()
        while time.monotonic() < begin + turn + 1:
            peak = max(peak, proxy.rss_bytes())
            time.sleep(0.1)
    return peak


def check_memory(count, before, peak, report):
    grown, limit = peak - before, count * CONNECTION_BYTES_MAX + SPARE_BYTES
    report.say(f"{count} readers: {mib(before)} resident grew by {mib(grown)}, "
               f"{grown / count / 1024:.1f} KiB each; {mib(limit)} were allowed")
    report.expect(grown <= limit, f"it grew by {mib(grown)}, more than {mib(limit)}")


def check_readers(readers, seconds, report):
    """They must have got what they asked for, or the memory says nothing."""
    ended = [reader.ended for reader in readers if reader.ended]
    report.expect(not ended, f"{len(ended)} readers lost their connection: {set(ended)}")
    begins = {reader.begin for reader in readers}
    report.expect(begins == {b"HTTP/1.1 200"}, f"answers began with {begins}")
    counts = [reader.count for reader in readers]
    report.say(f"each read {min(counts)} to {max(counts)} octets in {seconds} s")
    # The first turn may come before the answer does.
    wanted = (seconds - 2) * BYTES_PER_SECOND
    report.expect(min(counts) >= wanted, f"a reader got {min(counts)} octets of {wanted}")
