"""Backends close what was idle for 100 ms, and requests come after pauses of about 100 ms.

The oldest race of a proxy that keeps connections: a request is sent on a connection that the backend
closes at that moment. All clients ask together and pause together, so that the pool rests for about
as long as the backends wait. No GET may fail.
"""

from harness import Roundel
from load import Load
from report import shortened
from server import Server

REQUESTS, REQUESTS_SHORT = 100_000, 5_000
CLIENTS = 250
PAUSE_SECONDS = (0.06, 0.11)
IDLE_SECONDS = (0.1, 0.12)
KINDS = [["GET", "/quick"], ["POST", "/quick"]]
WEIGHTS = [90, 10]


class Measured:
    """What the clients saw, and how many connections the backends closed as idle."""

    def __init__(self, proxy, result, closed_idle):
        self.proxy, self.result = proxy, result
        self.closed_idle = closed_idle

    def row(self, name):
        return self.result.row(name, **{"closed idle": self.closed_idle})


def measure(world, start_proxy):
    requests = REQUESTS_SHORT if world.quick else REQUESTS
    with Server(ports=3, idle_seconds=IDLE_SECONDS) as server, start_proxy(server.urls) as proxy:
        with Load(world, proxy.port, clients=CLIENTS, requests=requests, kinds=KINDS, weights=WEIGHTS,
                  pause=PAUSE_SECONDS, together=True) as load:
            result = load.wait(250)
        return Measured(proxy, result, server.closed_idle)


def scenario(world, report):
    measured = measure(world, lambda backends: Roundel(world, backends))
    result = measured.result
    report.rows.append(measured.row("roundel"))
    gets = result.failed("GET")
    lines = measured.proxy.access_log()
    retried = sum(line.attempts not in ("0", "1") for line in lines)
    report.say(f"{result.total()} requests at {result.per_second():.0f}/s, p99 {result.p99_ms:.1f} ms")
    report.say(f"backends closed {measured.closed_idle} idle connections; {retried} requests took "
               f"more than one attempt; clients saw {result.outcomes()}")
    report.expect(not gets, f"GETs failed, {shortened(gets)}")
    report.expect(len(lines) == result.total(),
                  f"{len(lines)} lines in the access log for {result.total()} requests")
    report.expect(retried, "no request met the closing of its connection: nothing was tested")
