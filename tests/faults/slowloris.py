"""Thousands of connections that hold what they have and give next to nothing for it.

Each has its time and is ended then, whatever it sends and whether or not it lets go. Meanwhile the good
clients beside them notice nothing, and afterwards nothing of them is left.
"""

import collections
import contextlib
import json
import pathlib
import sys
import time

from harness import Failure, Process, Roundel, mib, wait_until
from load import Load
from nginx import three
from report import shortened

TRICKLER = pathlib.Path(__file__).resolve().parent / "trickler.py"
CONNECTIONS, CONNECTIONS_SHORT = 5_000, 1_000
TIMES = ["--head-timeout", "3s", "--idle-timeout", "5s", "--body-timeout", "10s"]

# What each kind is to see: after how many seconds it is ended, with which status, and for which reason
# in the access log. A silent one has no answer and no line. A body is judged after a grace of 10 s, which
# begins with its first octet.
Fate = collections.namedtuple("Fate", "seconds status reason")
FATES = {
    "trickling head": Fate(3, "408", "head_timeout"),
    "stopped head": Fate(3, "408", "head_timeout"),
    "silent": Fate(5, "", None),
    "chunked body": Fate(10, "408", "body_too_slow"),
    "body by length": Fate(10, "408", "body_too_slow"),
}
TRICKLING = {"trickling head", "chunked body", "body by length"}
OCTETS_MIN = 2

# A busy machine may be late. And roundel looks at its clock once a turn: it may be a little early.
LATE_SECONDS_MAX, EARLY_SECONDS_MAX = 3, 0.5
ALL_SECONDS_MAX = max(fate.seconds for fate in FATES.values()) + LATE_SECONDS_MAX

# How long it may take until all of them have begun, and until roundel has accepted the last.
STAND_SECONDS_MAX, ACCEPT_SECONDS_MAX = 10, 2

# The memory is measured from when the good clients have worked for a while.
GOOD_CLIENTS = 8
PAUSE_SECONDS = (0.01, 0.03)
WARM_SECONDS = 1
GOOD_ANSWER_MS_MAX = 1000
GROWTH_BYTES_MAX = 4096

# How long the backends keep what roundel has put into its pool; then all is to be as it was before.
KEEPALIVE = "2s"
DRAIN_SECONDS = 10


def scenario(world, report):
    count = CONNECTIONS_SHORT if world.quick else CONNECTIONS
    with three(world, keepalive=KEEPALIVE) as backends:
        with Roundel(world, [backend.url for backend in backends], *TIMES) as proxy:
            before = proxy.descriptor_count()
            with Load(world, proxy.port, clients=GOOD_CLIENTS, pause=PAUSE_SECONDS) as load:
                time.sleep(WARM_SECONDS)
                resident = proxy.rss_bytes()
                folder = world.new_folder("trickler")
                with trickler(proxy, count, folder) as tricklers:
                    stand(report, proxy, tricklers, count, before)
                    tricklers.wait_for("ended", ALL_SECONDS_MAX + STAND_SECONDS_MAX)
                    result = load.stop()
                    # They still hold their ends.
                    check_rest(report, proxy, count, before, resident)
            seen = json.loads((folder / "seen.json").read_text())
            check_ends(report, seen, count)
            check_good_clients(report, result)
            check_log(report, proxy.access_log(), seen, result)


def trickler(proxy, count, folder):
    return Process([sys.executable, TRICKLER, proxy.port, count, ALL_SECONDS_MAX], folder)


def stand(report, proxy, tricklers, count, before):
    """All of them are there at the same time, and roundel has accepted them."""
    standing = int(tricklers.wait_for(r"standing (\d+)", STAND_SECONDS_MAX).group(1))
    report.expect(standing == count, f"only {standing} of {count} connections stood together")
    opened = descriptors(proxy, lambda now: now >= before + count, ACCEPT_SECONDS_MAX)
    report.say(f"{count} connections: roundel had {opened} descriptors open")
    report.expect(opened >= before + count, f"it had not accepted all: {opened} descriptors")


def descriptors(proxy, is_enough, seconds):
    """How many it has open, as soon as they are what was waited for, or when that takes too long."""
    with contextlib.suppress(Failure):
        wait_until(lambda: is_enough(proxy.descriptor_count()), seconds, lambda: "")
    return proxy.descriptor_count()


def check_rest(report, proxy, count, before, resident):
    after = descriptors(proxy, lambda now: now <= before, DRAIN_SECONDS)
    report.say(f"{before} descriptors before, {after} after")
    report.expect(after <= before, f"{after} descriptors are open, {before} were at the start")
    grown = proxy.peak_rss_bytes() - resident
    report.say(f"{mib(resident)} resident grew by {mib(grown)} at most, {grown / count:.0f} octets each")
    report.expect(grown <= count * GROWTH_BYTES_MAX, f"it grew by {grown / count:.0f} octets for each")


def check_ends(report, seen, count):
    """Each was ended at its time, in its way, with a FIN behind an answer that was not lost."""
    report.expect(len(seen) == count, f"{len(seen)} connections of {count} were made")
    lame = [one for one in seen if one["kind"] in TRICKLING and one["octets_sent"] < OCTETS_MIN]
    report.expect(not lame, f"they did not trickle, {shortened(lame)}")
    for kind, fate in FATES.items():
        ends = [one for one in seen if one["kind"] == kind]
        seconds = [one["seconds"] for one in ends if one["seconds"] is not None]
        held = len(ends) - len(seconds)
        report.expect(held == 0, f"{held} of {len(ends)} were not ended: {kind}")
        ways = collections.Counter(f"{one['status']} {one['how']}" for one in ends if one["how"])
        report.expect(set(ways) <= {f"{fate.status} closed"}, f"{kind} was ended with {dict(ways)}")
        if seconds:
            report.say(f"{kind}: {len(seconds)} ended after {min(seconds):.2f} to {max(seconds):.2f} s")
            report.expect(min(seconds) >= fate.seconds - EARLY_SECONDS_MAX
                          and max(seconds) <= fate.seconds + LATE_SECONDS_MAX,
                          f"{kind}: ended after {min(seconds):.1f} to {max(seconds):.1f} s")


def check_good_clients(report, result):
    report.say(f"{result.total()} requests of good clients at {result.per_second():.0f}/s, 99 of 100 "
               f"within {result.p99_ms:.1f} ms, the slowest {result.max_ms:.1f} ms; they saw "
               f"{result.outcomes()}")
    report.expect(not result.failures, f"good clients were failed, {shortened(result.failures)}")
    report.expect(result.max_ms <= GOOD_ANSWER_MS_MAX, f"a good client waited {result.max_ms:.0f} ms")
    # Who waits no longer than that has asked more often than this.
    wanted = GOOD_CLIENTS * result.seconds / 2
    report.expect(result.total() >= wanted, f"good clients only asked {result.total()} times")


def check_log(report, lines, seen, result):
    """A line for each that said anything, with its reason, and no line beside these."""
    kinds = {one["address"]: one["kind"] for one in seen}
    found = collections.Counter(
        (kinds.get(line.client, "good client"), line.status, line.reason) for line in lines
    )
    wanted = collections.Counter({("good client", "200", "-"): result.total()})
    for kind in kinds.values():
        fate = FATES[kind]
        if fate.reason:
            wanted[kind, fate.status, fate.reason] += 1
    reasons = collections.Counter(line.reason for line in lines if line.reason != "-")
    report.say(f"reasons in the log: {dict(reasons)}")
    report.expect(found == wanted, f"in the access log {dict(found - wanted)} are too many, "
                                   f"{dict(wanted - found)} are missing")
