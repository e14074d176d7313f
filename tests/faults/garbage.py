"""RST, FIN and noise at random on both sides, while good clients and good backends work beside it.

Whatever the liars do: roundel runs, a good client at a good backend is served, nobody waits for ever,
and when the liars are gone nothing of them is left.
"""

import collections
import json
import random
import sys
import pathlib

from harness import Process, Roundel, curl, wait_until
from load import Load
from nginx import three
from report import shortened

MISCHIEF = pathlib.Path(__file__).resolve().parent / "mischief.py"
SECONDS, SECONDS_SHORT = 60, 5
BAD_BACKENDS = 6
GOOD_CLIENTS = 8
PAUSE_SECONDS = (0, 0.01)

# All times of roundel are short here, and so is that for which the good backends keep connections:
# what is still open after DRAIN_SECONDS is lost.
TIMES = ["--timeout", "2s", "--head-timeout", "1s", "--body-timeout", "1s", "--idle-timeout", "2s",
         "--connect-timeout", "1s"]
KEEPALIVE = "2s"
DRAIN_SECONDS = 15

# A request may wait for one bad backend and then for another; no request may wait for more.
ANSWER_SECONDS_MAX = 5

# So many different words must stand in the access log, or the garbage did not get far.
REASONS_MIN = 8


def scenario(world, report):
    seed = random.SystemRandom().randrange(1 << 32)
    report.say(f"seed {seed}")
    seconds = SECONDS_SHORT if world.quick else SECONDS
    with three(world, keepalive=KEEPALIVE) as backends:
        with mischief(world, "backends", seed, BAD_BACKENDS) as liars:
            ports = liars.wait_for(r"listening on (.*)").group(1).split()
            good = {backend.authority for backend in backends}
            urls = [backend.url for backend in backends]
            bad_urls = [f"http://127.0.0.1:{port}" for port in ports]
            with Roundel(world, mixed(urls, bad_urls), *TIMES) as proxy:
                before = proxy.descriptor_count()
                result = under_fire(world, proxy, seed, seconds, report)
                liars.kill()
                check_rest(world, proxy, before, report)
            check_clients(result, proxy.access_log(), good, report)
            panics = [line for line in proxy.lines if "panicked" in line]
            report.expect(not panics, f"panics: {panics[:2]}")


def mischief(world, *arguments):
    return Process([sys.executable, MISCHIEF, *arguments], world.new_folder("mischief"))


def mixed(good, bad):
    """In turns, so that a good backend is never far."""
    return [url for place, one in enumerate(good) for url in (one, *bad[place :: len(good)])]


def under_fire(world, proxy, seed, seconds, report):
    with mischief(world, "clients", seed, proxy.port) as vandals:
        with Load(world, proxy.port, clients=GOOD_CLIENTS, seconds=seconds, pause=PAUSE_SECONDS,
                  timeout=ANSWER_SECONDS_MAX) as load:
            result = load.wait(seconds + 30)
    acts = json.loads(vandals.wait_for("done (.*)").group(1))
    report.say(f"{sum(acts.values())} bad acts of clients")
    return result


def check_rest(world, proxy, before, report):
    """The liars are gone: their connections go too, and what is asked now is answered."""
    wait_until(lambda: proxy.descriptor_count() <= before, DRAIN_SECONDS,
               lambda: f"{proxy.descriptor_count()} descriptors are open, {before} were at the start")
    report.say(f"{before} descriptors before, {proxy.descriptor_count()} after")
    normal = curl(world, *[f"{proxy.url}/quick?id=normal"] * 20)
    statuses = collections.Counter(figure["http_code"] for figure in normal.figures)
    report.expect(set(statuses) == {200}, f"statuses of normal requests at the end: {dict(statuses)}")


def check_clients(result, lines, good, report):
    """A good client that was sent to a good backend has its answer; to any other, at least an end."""
    report.say(f"{result.total()} requests of good clients at {result.per_second():.0f}/s, the slowest "
               f"{result.max_ms / 1000:.2f} s; they saw {result.outcomes()}")
    by_id = {line.request.rstrip('"').rpartition("id=")[2]: line for line in lines}
    wronged = []
    for failure in result.failures:
        line = by_id.get(failure.id)
        if line is None or line.backend in good or line.backend == "-":
            wronged.append(f"{failure}, log {line}")
    report.expect(not wronged, f"good clients at good backends got nothing, {shortened(wronged)}")
    stuck = result.counts["GET no answer"]
    report.expect(stuck == 0, f"{stuck} requests had no answer after {ANSWER_SECONDS_MAX} s")
    served = sum(line.backend in good and line.status == "200" for line in lines)
    reasons = collections.Counter(line.reason for line in lines if line.reason != "-")
    report.say(f"{served} answers of good backends; {len(reasons)} different reasons in the log, most "
               f"often {dict(reasons.most_common(4))}")
    report.expect(served, "no good backend was ever reached")
    report.expect(len(reasons) >= REASONS_MIN, f"only {len(reasons)} reasons: {dict(reasons)}")
