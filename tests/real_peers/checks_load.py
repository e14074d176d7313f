"""wrk in front: no errors under load, few when a backend is killed, few system calls."""

import re
import signal
import subprocess
import time

from harness import Failure, Process, Roundel, check, curl, expect, expect_equal
from peers import Certificates, three_nginx

CONNECTIONS = 64
SYSTEM_CALLS_PER_REQUEST_MAX = 4.2
TRACED_REQUESTS_MIN = 10_000

# What was on its way to the killed backend is tried again elsewhere, for wrk sends GET. A handful
# may have been answered in part.
ERRORS_AFTER_KILL_MAX = 5


class Load:
    """One run of wrk and what it printed."""

    def __init__(self, proxy, seconds, path="/hello", connections=CONNECTIONS):
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", proxy.url + path]
        cpu = proxy.cpu_seconds()
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False)
        self.cpu_seconds = proxy.cpu_seconds() - cpu
        self.text = done.stdout.decode() + done.stderr.decode()
        expect_equal(done.returncode, 0, f"wrk's exit code ({self.text})")
        self.requests = int(self._find(r"(\d+) requests in"))
        self.per_second = float(self._find(r"Requests/sec:\s+([\d.]+)"))
        self.p50 = self._find(r"(?m)^\s+50%\s+(\S+)$")
        self.p99 = self._find(r"(?m)^\s+99%\s+(\S+)$")
        sockets = re.search(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)", self.text)
        self.socket_errors = sum(map(int, sockets.groups())) if sockets else 0
        bad = re.search(r"Non-2xx or 3xx responses: (\d+)", self.text)
        self.bad_statuses = int(bad.group(1)) if bad else 0
        self.errors = self.socket_errors + self.bad_statuses

    def _find(self, pattern):
        found = re.search(pattern, self.text)
        expect(found, f"wrk did not say {pattern!r}: {self.text}")
        return found.group(1)

    def __str__(self):
        micros = self.cpu_seconds * 1e6 / max(self.requests, 1)
        return (
            f"{self.requests} requests, {self.per_second:.0f}/s, p50 {self.p50}, p99 {self.p99}, "
            f"{micros:.1f} µs of roundel's processor time each; {self.socket_errors} socket "
            f"errors, {self.bad_statuses} bad statuses"
        )


@check("64 connections of wrk over three nginx: no errors")
def plain(world):
    with three_nginx(world) as backends, Roundel(world, [b.url for b in backends]) as proxy:
        load = Load(proxy, world.load_seconds)
        world.say(load)
        expect_equal(load.errors, 0, "errors")
        counts = [len(backend.requests()) for backend in backends]
        world.say(f"per backend: {counts}")
        expect(max(counts) - min(counts) <= CONNECTIONS, f"not even: {counts}")
        statuses = {line.status for line in proxy.access_log()}
        expect(statuses <= {"200", "-"}, f"statuses in the access log: {statuses}")


@check("64 connections of wrk over three nginx with TLS: no errors")
def tls(world):
    certificates = Certificates(world)
    with three_nginx(world, tls=certificates, access_log=False) as backends:
        urls = [backend.url for backend in backends]
        with Roundel(world, urls, "--ca", certificates.authority, access_log=False) as proxy:
            load = Load(proxy, 3)
            world.say(load)
            expect_equal(load.errors, 0, "errors")


@check("kill -9 of one of three backends under load")
def kill_one(world):
    with three_nginx(world, access_log=False) as backends:
        with Roundel(world, [b.url for b in backends], access_log=False) as proxy:
            seconds = 3 if world.quick else 6
            # Not a thread: wrk runs in this one, and the shell's sleep is exact enough.
            killer = Process(["sh", "-c", f"sleep 1.5; kill -9 {backends[1].pid}"], proxy.folder)
            with killer:
                during = Load(proxy, seconds)
            world.say(f"during: {during}")
            after = Load(proxy, 2)
            world.say(f"after: {after}")
            expect(backends[1].child.poll() is not None, "the backend was not killed")
            expect(
                during.errors <= ERRORS_AFTER_KILL_MAX,
                f"{during.errors} errors, at most {ERRORS_AFTER_KILL_MAX} were allowed",
            )
            expect_equal(after.errors, 0, "errors afterwards")
            bodies = {curl(world, f"{proxy.url}/hello").body for _ in range(12)}
            expect_equal(bodies, {b"hello from alpha\n", b"hello from gamma\n"}, "answers")


@check("system calls per keep-alive request at 64 connections")
def system_calls(world):
    with three_nginx(world, access_log=False) as backends:
        with Roundel(world, [b.url for b in backends], access_log=False) as proxy:
            Load(proxy, 1)
            with Trace(proxy) as trace:
                requests, begin = 0, time.monotonic()
                while requests < TRACED_REQUESTS_MIN:
                    load = Load(proxy, 4)
                    expect_equal(load.errors, 0, "errors while traced")
                    requests += load.requests
                    expect(time.monotonic() - begin < 100, f"only {requests} requests in 100 s")
            total = sum(trace.calls.values())
            world.say(f"{total} calls for {requests} requests: {total / requests:.3f} each")
            most = sorted(trace.calls.items(), key=lambda item: -item[1])
            world.say(", ".join(f"{name} {count / requests:.3f}" for name, count in most[:8]))
            expect(
                total / requests <= SYSTEM_CALLS_PER_REQUEST_MAX,
                f"{total / requests:.3f} system calls per request, "
                f"at most {SYSTEM_CALLS_PER_REQUEST_MAX}",
            )


class Trace:
    """`strace -c -f` on a running roundel; `calls` holds the count of each call afterwards."""

    def __init__(self, proxy):
        self.calls = {}
        self.file = proxy.folder / "strace"
        self.process = Process(["strace", "-c", "-f", "-o", self.file, "-p", proxy.pid],
                               proxy.folder)

    def __enter__(self):
        try:
            self.process.wait_for("attached")
        except Failure:
            self.process.kill()
            raise
        return self

    def __exit__(self, kind, _value, _trace):
        # INT lets strace detach, so that roundel goes on, and write its table.
        self.process.child.send_signal(signal.SIGINT)
        self.process.child.wait(10)
        if kind is None:
            self._read()

    def _read(self):
        row = r"(?m)^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)(?:\s+\d+)?\s+(\w+)$"
        for count, name in re.findall(row, self.file.read_text()):
            if name != "total":
                self.calls[name] = int(count)
        expect(self.calls, f"strace wrote no table: {self.file.read_text()}")
