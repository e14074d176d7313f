"""Backends are killed with -9 in turn, one each second, and started again, under a load of 64 clients.

A GET can always be sent again elsewhere, so none may fail. A POST whose octets were sent to a backend
may have had its effect there: it must not be sent again, and it is the only thing that may fail.

Every second kill comes after a moment in which the backend hangs. The kernel takes connections for it
in that moment, so that requests on fresh ones are cut too. That happens in a plain kill as well, while
the worker is dead and the master, which holds the listening socket too, is not; but not in every one.
"""

import collections
import time

from harness import Roundel
from load import Load
from nginx import three
from report import shortened
from server import Server

CLIENTS = 64
KILLS, KILLS_SHORT = 30, 6

# From a kill to the new start, and how long a backend hangs before, in seconds.
DOWN_SECONDS = 0.4
HANG_SECONDS = 0.03

# How long the application holds what nginx passes on: so that a kill hits requests that have arrived.
HOLD_SECONDS = 0.004
KINDS = [["GET", "/quick"], ["GET", "/held"], ["POST", "/held"]]
WEIGHTS = [60, 15, 25]

# The reasons of a failed request whose octets had been sent.
AFTER_SENDING = {"upstream_reset", "upstream_closed"}

REQUESTS_PER_SECOND_MIN = 500


class Measured:
    """What the clients saw, and the count of each POST that the backends have seen."""

    def __init__(self, proxy, result, seen):
        self.proxy, self.result = proxy, result
        self.twice = [id for id, count in seen.items() if count > 1]
        self.unseen = [id for id in result.good_posts if id not in seen]

    def row(self, name):
        return self.result.row(name, **{"seen twice": len(self.twice)})


def measure(world, start_proxy):
    kills = KILLS_SHORT if world.quick else KILLS
    with Server(hold_seconds=HOLD_SECONDS) as application:
        with three(world, application=application.ports[0]) as backends:
            with start_proxy([backend.url for backend in backends]) as proxy:
                with Load(world, proxy.port, clients=CLIENTS, seconds=kills + 1, kinds=KINDS,
                          weights=WEIGHTS) as load:
                    kill_in_turn(backends, kills)
                    result = load.wait(kills + 30)
            seen = collections.Counter(id for backend in backends for id in backend.arrivals())
    return Measured(proxy, result, seen)


def kill_in_turn(backends, kills):
    begin = time.monotonic()
    for number in range(kills):
        time.sleep(max(0, begin + number + 0.5 - time.monotonic()))
        backend = backends[number % len(backends)]
        if number % 2:
            backend.freeze()
            time.sleep(HANG_SECONDS)
        backend.kill()
        time.sleep(DOWN_SECONDS)
        backend.start()


def scenario(world, report):
    measured = measure(world, lambda backends: Roundel(world, backends))
    result = measured.result
    report.rows.append(measured.row("roundel"))
    gets, posts = result.failed("GET"), result.failed("POST")
    report.say(f"{result.total()} requests at {result.per_second():.0f}/s, "
               f"{result.total('POST')} of them POST; p99 {result.p99_ms:.1f} ms")
    report.say(f"clients saw {result.outcomes()}")

    report.expect(not gets, f"GETs failed, {shortened(gets)}")
    report.expect(not measured.twice, f"POSTs arrived twice, {shortened(measured.twice)}")
    report.expect(not measured.unseen, f"good POSTs nobody saw, {shortened(measured.unseen)}")
    check_reasons(measured.proxy.access_log(), gets, posts, report)
    # Without these there was nothing to be judged.
    report.expect(posts, "no kill hit a POST that was on its way")
    report.expect(result.per_second() > REQUESTS_PER_SECOND_MIN,
                  f"{result.per_second():.0f} requests/s are no load")


def check_reasons(lines, failed_gets, failed_posts, report):
    """Each POST that failed must have a line that says that octets of it had been sent."""
    by_id = {line.request.rstrip('"').rpartition("id=")[2]: line for line in lines}

    def reasons(failed):
        found = [by_id.get(request.id) for request in failed]
        return collections.Counter(f"{line.reason} ({line.reuse})" if line else "no line"
                                   for line in found)

    words = reasons(failed_posts)
    wrong = {word: count for word, count in words.items() if word.split()[0] not in AFTER_SENDING}
    report.say(f"reasons of the failed POSTs {dict(words)}, of the failed GETs {dict(reasons(failed_gets))}")
    report.expect(not wrong, f"POSTs failed that had not been sent: {wrong}")
    retried = sum(line.attempts not in ("0", "1") for line in lines)
    report.say(f"{retried} requests took more than one attempt")
