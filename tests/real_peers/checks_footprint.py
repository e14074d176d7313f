"""What roundel costs: octets on disk, memory idle and at work, descriptors that come back."""

import contextlib
import resource
import socket
import struct
import subprocess
import threading
import time

import content
import websocket
from checks_load import Load
from harness import (
    DESCRIPTORS_MIN, GIB, MIB, Failure, Roundel, check, expect, expect_equal, wait_until,
)
from origin import Origin
from peers import Certificates, Nginx

BINARY_BYTES_MAX = 2_500_000
IDLE_RSS_BYTES_MAX = 4_000_000
SLOW_PEERS_RSS_BYTES_MAX = 32 * MIB
IDLE_CLIENTS = 10_000
IDLE_CLIENT_BYTES_MAX = 1024


@check("the binary's size")
def binary_size(world):
    size = world.binary.stat().st_size
    world.say(f"{size} octets")
    expect(size <= BINARY_BYTES_MAX, f"{size} octets, at most {BINARY_BYTES_MAX}")


@check("resident memory after start, before any request")
def idle_memory(world):
    tls = Certificates(world)
    cases = [
        ("three http backends", ["http://127.0.0.1:9"] * 3),
        ("three https backends, built-in roots", ["https://127.0.0.1:9"] * 3),
        ("three https backends, --ca", ["--ca", tls.authority] + ["https://127.0.0.1:9"] * 3),
    ]
    for title, arguments in cases:
        with Roundel(world, arguments, access_log=False) as proxy:
            time.sleep(0.5)
            size = proxy.rss_bytes()
            world.say(f"{title}: {size / 1e6:.2f} MB, {proxy.descriptor_count()} descriptors")
            expect(size <= IDLE_RSS_BYTES_MAX, f"{size} octets, at most {IDLE_RSS_BYTES_MAX}")


@check("slow peers: 1 GiB read at 1 MiB/s, 1 GiB sent to a backend that takes 1 MiB/s")
def slow_peers(world):
    seconds = 8 if world.quick else 15
    with Origin() as origin, Nginx(world) as nginx:
        file = nginx.files / "big"
        with open(file, "wb") as sparse:
            sparse.truncate(GIB)
        # What the kernels hold of the upload when its client leaves still goes on, at 1 MiB/s: a stop
        # must not wait for all of that here.
        with (Roundel(world, [nginx.url]) as down,
              Roundel(world, [origin.url], "--drain-timeout", "3s") as up):
            samples = []
            with up.connect(seconds=600) as client:
                threading.Thread(target=send_without_end, args=(client,), daemon=True).start()
                received = read_slowly(down, seconds, lambda: samples.append(
                    (down.rss_bytes(), up.rss_bytes())))
                taken = origin.slow_bytes
                # Wakes the thread that is in the middle of a send.
                client.shutdown(socket.SHUT_RDWR)
            peaks = [max(sample[side] for sample in samples) for side in (0, 1)]
            world.say(f"{len(samples)} samples in {seconds} s; {received / MIB:.1f} MiB came down, "
                      f"{taken / MIB:.1f} MiB went up")
            world.say(f"largest RSS: down {peaks[0] / 1e6:.2f} MB, up {peaks[1] / 1e6:.2f} MB")
            expect(received > seconds * MIB * 0.8, f"only {received} octets came")
            expect(taken > seconds * MIB * 0.5, f"only {taken} octets went up")
            expect(max(peaks) <= SLOW_PEERS_RSS_BYTES_MAX, f"RSS {peaks}")


def read_slowly(proxy, seconds, sample):
    """Reads /files/big at 1 MiB/s; calls `sample` ten times a second; gives the octets read."""
    received = 0
    with proxy.connect() as client:
        client.sendall(b"GET /files/big HTTP/1.1\r\nHost: slow.example\r\n\r\n")
        begin = time.monotonic()
        while (passed := time.monotonic() - begin) < seconds:
            due = int(passed * MIB) - received
            if due > 0:
                data = client.recv(due)
                expect(data, "the response ended early")
                received += len(data)
            sample()
            time.sleep(0.1)
    return received


def send_without_end(client):
    """Sends a body of 1 GiB as fast as it is taken, until somebody ends the connection."""
    with contextlib.suppress(OSError):
        client.sendall(b"POST /slow HTTP/1.1\r\nHost: slow.example\r\n"
                       b"Content-Length: %d\r\n\r\n" % GIB)
        for block in content.blocks(GIB):
            client.sendall(block)


@check("10,000 idle clients that each made a request")
def idle_clients(world):
    expect_enough_descriptors()
    with Nginx(world, access_log=False) as nginx:
        options = ["--idle-timeout", "10m"]
        with Roundel(world, [nginx.url], *options, access_log=False) as proxy:
            # What the first requests cost once (buffers, the upstream connection) is not counted.
            Load(proxy, 1)
            time.sleep(0.3)
            before, descriptors = proxy.rss_bytes(), proxy.descriptor_count()
            with contextlib.ExitStack() as stack:
                begin = time.monotonic()
                clients = [stack.enter_context(idle_client(proxy, n)) for n in range(IDLE_CLIENTS)]
                seconds = time.monotonic() - begin
                grown = proxy.rss_bytes() - before
                open_now = proxy.descriptor_count()
                world.say(f"{IDLE_CLIENTS} clients: RSS {before / 1e6:.2f} MB -> "
                          f"{(before + grown) / 1e6:.2f} MB, {grown / IDLE_CLIENTS:.0f} octets each; "
                          f"{open_now} descriptors; opened in {seconds:.1f} s")
                expect(open_now >= IDLE_CLIENTS, f"only {open_now} descriptors are open")
                for client in clients[:: IDLE_CLIENTS // 100]:
                    ask(client)
                expect(grown <= IDLE_CLIENT_BYTES_MAX * IDLE_CLIENTS,
                       f"{grown / IDLE_CLIENTS:.0f} octets each, at most {IDLE_CLIENT_BYTES_MAX}")
            wait_until(lambda: proxy.descriptor_count() <= descriptors, 10,
                       lambda: f"{proxy.descriptor_count()} descriptors, before {descriptors}")
            world.say(f"after they left: RSS {proxy.rss_bytes() / 1e6:.2f} MB")


def expect_enough_descriptors():
    """The limit was raised at the start, as far as this user may."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    expect(hard >= DESCRIPTORS_MIN,
           f"the hard limit of descriptors is {hard}, and this user cannot raise it: "
           f"run this with at least {DESCRIPTORS_MIN} (ulimit -Hn)")


def idle_client(proxy, number):
    """A connection that made one request."""
    try:
        client = proxy.connect(seconds=5)
        ask(client)
    except OSError as error:
        raise Failure(f"client {number} got no answer: {error!r}") from error
    return client


def ask(client):
    client.sendall(b"GET /hello HTTP/1.1\r\nHost: idle.example\r\n\r\n")
    answer = b""
    while not answer.endswith(b"hello from nginx\n"):
        data = client.recv(4096)
        if not data:
            raise ConnectionError(f"closed after {answer!r}")
        answer += data
    expect(answer.startswith(b"HTTP/1.1 200 "), f"an idle client got {answer!r}")


@check("descriptors come back: after aborts, refusals, tunnels, load and lost backends")
def no_leak(world):
    tls = Certificates(world)
    with contextlib.ExitStack() as stack:
        origin = stack.enter_context(Origin())
        nginx = stack.enter_context(Nginx(world, tls=tls, access_log=False))
        secure = stack.enter_context(
            Roundel(world, [nginx.url], "--ca", tls.authority, access_log=False))
        plain = stack.enter_context(Roundel(world, [origin.url], access_log=False))
        content.write_file(nginx.files / "big", 16 * MIB)
        time.sleep(0.3)
        before = [proxy.descriptor_count() for proxy in (secure, plain)]

        for _ in range(30):
            abort_download(secure, "/files/big")
            abort_download(plain, "/length/16777216")
            abort_download(plain, "/chunked/16777216")
            abort_upload(secure)
            abort_upload(plain)
            send_and_close(plain, b"GET / HTTP/1.1\r\nHost: one\r\nHost: two\r\n\r\n")
            send_and_close(plain, b"GET / HTTP/1.1\r\nHost: unfin")
            with plain.connect() as connected:
                websocket.Client(connected, "/websocket").receive()
        Load(secure, 1)
        Load(plain, 1, "/echo")
        nginx.kill()
        curl_exit = subprocess.run(["curl", "-s", "-o", "/dev/null", secure.url], check=False)
        expect_equal(curl_exit.returncode, 0, "curl's exit code after the backend was lost")
        origin.close()

        def counts():
            return [proxy.descriptor_count() for proxy in (secure, plain)]

        wait_until(lambda: all(now <= then for now, then in zip(counts(), before)), 10, lambda: f"{counts()}, before {before}")
        world.say(f"before {before}, after {counts()}")


def abort_download(proxy, path):
    """Reads a little of a large answer and resets the connection."""
    with proxy.connect() as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: abort.example\r\n\r\n".encode())
        client.recv(10_000)
        reset_on_close(client)


def abort_upload(proxy):
    with proxy.connect() as client:
        client.sendall(b"POST /echo HTTP/1.1\r\nHost: abort.example\r\n"
                       b"Content-Length: 1000000\r\n\r\n" + b"x" * 100_000)
        reset_on_close(client)


def reset_on_close(client):
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def send_and_close(proxy, data):
    with proxy.connect() as client:
        client.sendall(data)
