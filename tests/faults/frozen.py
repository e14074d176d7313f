"""One backend of three is frozen with SIGSTOP: the kernel still accepts for it, and nobody answers.

Its requests must end in time, the others must not notice, and after three failures it leaves the
rotation: from then on one request at most is risked on it per interval, and the intervals grow. When
it runs again it comes back by itself.
"""

import datetime
import time

from harness import Failure, Roundel, wait_until
from load import Load
from nginx import three

CLIENTS = 300
PAUSE_SECONDS = (0.6, 1.0)
FROZEN_SECONDS, FROZEN_SECONDS_SHORT = 16, 5.5

# When roundel gives up, and how much later that may be.
TIMEOUT_SECONDS = 2
LATE_SECONDS_MAX = 0.5

# The longest that a request to another backend may take in the meantime.
UNTOUCHED_SECONDS_MAX = 0.5

# It leaves after so many failures. The first interval until it is tried, which doubles; a trial may
# come this share of it earlier.
FAILURES_COUNT = 3
INTERVAL_SECONDS = 1
EARLY_SHARE = 0.2

# What was on its way when it left the rotation may still arrive, for so long.
SETTLE_SECONDS = 0.1

# How long the way back may take: the interval after three trials is 8 s, and chance may lengthen it.
RETURN_SECONDS_MAX = 15

# After that its share of the requests is a third; less than this is none.
SHARE_MIN = 0.2


class Exchange:
    """A line of the access log with its times as numbers."""

    def __init__(self, line):
        self.ended = datetime.datetime.fromisoformat(line.time).timestamp()
        self.seconds = int(line.ms) / 1000
        self.began = self.ended - self.seconds
        self.status = line.status
        self.backend = line.backend


def exchanges(proxy):
    return [Exchange(line) for line in proxy.access_log() if line.id]


def scenario(world, report):
    with three(world) as backends:
        frozen = backends[1]
        with Roundel(world, [backend.url for backend in backends],
                     "--timeout", f"{TIMEOUT_SECONDS}s") as proxy:
            with Load(world, proxy.port, clients=CLIENTS, pause=PAUSE_SECONDS) as load:
                time.sleep(1)
                frozen_at = time.time()
                frozen.freeze()
                time.sleep(FROZEN_SECONDS_SHORT if world.quick else FROZEN_SECONDS)
                thawed_at = time.time()
                frozen.thaw()
                await_return(proxy, frozen, thawed_at, report)
                result = load.stop()
        all_of_them = exchanges(proxy)
    report.say(f"{result.total()} requests at {result.per_second():.0f}/s, clients saw "
               f"{result.outcomes()}")
    lost = [each for each in all_of_them if each.backend == frozen.authority and each.status != "200"]
    others = [each for each in all_of_them if each.backend != frozen.authority]
    check_lost(lost, result, report)
    check_others([each for each in others if frozen_at < each.ended < thawed_at], report)
    if len(lost) >= FAILURES_COUNT:
        left_at = sorted(each.ended for each in lost)[FAILURES_COUNT - 1]
        report.say(f"the third failure came {left_at - frozen_at:.2f} s after the freeze")
        tried = [each for each in all_of_them if each.backend == frozen.authority]
        check_trials(left_at, [each.began for each in tried
                               if left_at + SETTLE_SECONDS < each.began < thawed_at], report)


def await_return(proxy, frozen, thawed_at, report):
    """Until it answers again, and then a second in which it must get its share."""

    def answers():
        return any(each.backend == frozen.authority and each.status == "200"
                   and each.began > thawed_at for each in exchanges(proxy))

    try:
        wait_until(answers, RETURN_SECONDS_MAX, lambda: "no answer of the backend that runs again")
    except Failure as failure:
        report.expect(False, str(failure))
        return
    back_at = time.time()
    report.say(f"it was back {back_at - thawed_at:.2f} s after it ran again")
    time.sleep(1.5)
    since = [each for each in exchanges(proxy) if each.began > back_at + 0.3]
    share = sum(each.backend == frozen.authority for each in since) / max(len(since), 1)
    report.say(f"its share was then {share:.2f}")
    report.expect(share >= SHARE_MIN, f"it got only {share:.2f} of {len(since)} requests when back")


def check_lost(lost, result, report):
    """All of the frozen backend's requests end with 504, in time; and nobody saw other failures."""
    report.expect(len(lost) >= FAILURES_COUNT, f"only {len(lost)} requests met the frozen backend")
    statuses = {each.status for each in lost}
    report.expect(statuses <= {"504"}, f"statuses of the frozen backend's requests: {statuses}")
    seconds = [each.seconds for each in lost] or [0]
    report.say(f"{len(lost)} lost requests took {min(seconds):.2f} to {max(seconds):.2f} s")
    report.expect(
        TIMEOUT_SECONDS - 0.05 <= min(seconds) and max(seconds) <= TIMEOUT_SECONDS + LATE_SECONDS_MAX,
        f"lost requests took {min(seconds):.2f} to {max(seconds):.2f} s",
    )
    outcomes = {failure.outcome for failure in result.failures}
    report.expect(outcomes <= {"status 504"}, f"clients saw {result.outcomes()}")
    report.expect(len(result.failures) == len(lost),
                  f"clients saw {len(result.failures)} failures, the log has {len(lost)}")


def check_others(others, report):
    slowest = max((each.seconds for each in others), default=0)
    statuses = {each.status for each in others}
    report.say(f"{len(others)} requests to the other two, the slowest {slowest:.3f} s")
    report.expect(len(others) > CLIENTS, f"only {len(others)} requests went to the other backends")
    report.expect(statuses == {"200"}, f"statuses of the other backends: {statuses}")
    report.expect(slowest <= UNTOUCHED_SECONDS_MAX, f"another backend's request took {slowest:.2f} s")


def check_trials(left_at, begins, report):
    """`begins` are the times at which the backend was tried after it had to be out of rotation."""
    waits, before = [], left_at
    for begin in sorted(begins):
        waits.append(begin - before)
        before = begin
    after = ", ".join(f"{wait:.2f} s" for wait in waits[:6])
    report.say(f"{len(begins)} trials while it was out, after [{after}]")
    early = [
        f"trial {number + 1} after {wait:.2f} s instead of {INTERVAL_SECONDS * 2 ** number}"
        for number, wait in enumerate(waits[:6])
        if wait < INTERVAL_SECONDS * 2**number * (1 - EARLY_SHARE)
    ]
    report.expect(not early, f"it stayed in the rotation: {len(begins)} requests went to it; {early[:2]}")
