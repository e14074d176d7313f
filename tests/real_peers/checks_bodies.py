"""Large bodies, down and up, with a length and chunked, plain and over TLS: SHA-256 must agree."""

import hashlib
import time

import content
from harness import Roundel, check, digest_of_command, expect, expect_equal, rate
from origin import Origin
from peers import Certificates, Nginx

# Bodies move through one buffer that all connections share; what is kept aside for a peer that
# cannot follow is bounded. So the memory for any body is.
RSS_BYTES_MAX = 32 << 20


@check("large bodies over http: down and up, with a length and chunked")
def plain(world):
    with Origin() as origin, Nginx(world, origin=origin) as nginx:
        with Roundel(world, [nginx.url]) as proxy, Roundel(world, [origin.url]) as to_origin:
            file = nginx.files / "down"
            content.write_file(file, world.body_bytes)
            down(world, proxy, "/files/down", world.body_bytes, "down, with a length")
            down(world, to_origin, f"/chunked/{world.body_bytes}", world.body_bytes,
                 "down, chunked")
            up(world, proxy, nginx, file, world.body_bytes)


@check("large bodies over https: down and up, with a length and chunked")
def tls(world):
    size = world.tls_body_bytes
    certificates = Certificates(world)
    with Origin() as origin, Nginx(world, tls=certificates, origin=origin) as nginx:
        with Roundel(world, [nginx.url], "--ca", certificates.authority) as proxy:
            file = nginx.files / "down"
            content.write_file(file, size)
            down(world, proxy, "/files/down", size, "down, with a length")
            down(world, proxy, f"/origin/chunked/{size}", size, "down, chunked")
            up(world, proxy, nginx, file, size)


def down(world, proxy, path, size, title):
    measure = Measure(world, proxy, title)
    command = ["curl", "-sS", "--fail", f"{proxy.url}{path}"]
    count, sha = digest_of_command(command, proxy.folder)
    measure.end(size)
    expect_equal(count, size, f"octets {title}")
    expect_equal(sha, content.digest(size), f"SHA-256 {title}")


def up(world, proxy, nginx, file, size):
    """curl sends a length for a file and chunks for what it reads from a pipe."""
    for title, source in [("up, with a length", file), ("up, chunked", "-")]:
        stored = nginx.files / "up"
        measure = Measure(world, proxy, title)
        with open(file, "rb") as stdin:
            command = ["curl", "-sS", "--fail", "-T", source, f"{proxy.url}/store/up"]
            digest_of_command(command, proxy.folder, stdin)
        measure.end(size)
        expect_equal(stored.stat().st_size, size, f"octets {title}")
        with open(stored, "rb") as sent:
            sha = hashlib.file_digest(sent, "sha256").hexdigest()
        expect_equal(sha, content.digest(size), f"SHA-256 {title}")
        stored.unlink()


class Measure:
    """Time, roundel's processor time and its memory for one body."""

    def __init__(self, world, proxy, title):
        self.world, self.proxy, self.title = world, proxy, title
        self.begin, self.cpu = time.monotonic(), proxy.cpu_seconds()

    def end(self, size):
        seconds = time.monotonic() - self.begin
        cpu = self.proxy.cpu_seconds() - self.cpu
        peak = self.proxy.peak_rss_bytes()
        self.world.say(
            f"{self.title}: {size >> 20} MiB in {seconds:.2f} s ({rate(size, seconds)}), "
            f"{cpu:.2f} s of processor time, peak RSS {peak / 1e6:.2f} MB"
        )
        expect(peak <= RSS_BYTES_MAX, f"peak RSS is {peak} octets")
