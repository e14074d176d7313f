"""Far more connections than roundel may have descriptors for.

What cannot be accepted waits in the kernel, at no cost; when the flood is over, all is as before.
"""

import contextlib
import pathlib
import sys
import time

from harness import Process, Roundel, curl, wait_until
from nginx import three

FLOODER = pathlib.Path(__file__).resolve().parent / "flooder.py"
FLOODERS = 4
CONNECTIONS, CONNECTIONS_SHORT = 20_000, 3_000
ROUNDEL_DESCRIPTORS = 1024

# How long all of them may need to knock.
KNOCK_SECONDS_MAX = 30

# How long the backends keep what roundel has put into its pool; then all is to be as it was before.
KEEPALIVE = "2s"
DRAIN_SECONDS = 10

# How long the flood stands. The share of a processor that roundel may use meanwhile, with nothing to
# do but to look whether a descriptor is free; and when all is over.
STAND_SECONDS, STAND_SECONDS_SHORT = 10, 3
STANDING_SHARE_MAX = 0.05
IDLE_SHARE_MAX = 0.01
IDLE_SECONDS = 3

# The first request may have to knock twice: its SYN is lost where the queue is still full.
FIRST_SECONDS_MAX = 3


def scenario(world, report):
    count = CONNECTIONS_SHORT if world.quick else CONNECTIONS
    limit = ["prlimit", f"--nofile={ROUNDEL_DESCRIPTORS}:{ROUNDEL_DESCRIPTORS}"]
    with three(world, keepalive=KEEPALIVE) as backends:
        with Roundel(world, [backend.url for backend in backends], wrapper=limit) as proxy:
            before = proxy.descriptor_count()
            with contextlib.ExitStack() as stack:
                flooders = [
                    stack.enter_context(flooder(world, proxy.port, count // FLOODERS, number))
                    for number in range(FLOODERS)
                ]
                accepted = stand(world, report, proxy, flooders, count)
            answered = [int(each.wait_for(r"answered (\d+)").group(1)) for each in flooders]
            check_service(world, report, proxy)
            report.say(f"{count} connections: roundel had {accepted} descriptors open, "
                       f"{sum(answered)} clients had an answer")
            report.expect(accepted > ROUNDEL_DESCRIPTORS / 4, f"it accepted next to nobody: {accepted}")
            report.expect(sum(answered) > 0, "nobody in the flood had an answer")
            wait_until(lambda: proxy.descriptor_count() <= before, DRAIN_SECONDS,
                       lambda: f"{proxy.descriptor_count()} descriptors, before {before}")
            share = processor_share(proxy, IDLE_SECONDS)
            report.say(f"{before} descriptors before, {proxy.descriptor_count()} after; idle it uses "
                       f"{share:.2%} of a processor")
            report.expect(share < IDLE_SHARE_MAX, f"idle it uses {share:.1%} of a processor")
        statuses = {line.status for line in proxy.access_log()}
        report.expect(statuses <= {"200", "-"}, f"statuses in the access log: {statuses}")


def flooder(world, port, count, number):
    """Each from an address of its own, so that there are ports enough."""
    command = [sys.executable, FLOODER, port, count, 2 + number]
    return Process(command, world.new_folder("flooder"))


def stand(world, report, proxy, flooders, count):
    """All stand and wait. Gives the descriptors that roundel had open then."""
    standing = [int(each.wait_for(r"standing (\d+)", KNOCK_SECONDS_MAX).group(1)) for each in flooders]
    report.expect(sum(standing) == count, f"only {sum(standing)} of {count} connections stood")
    time.sleep(1)
    share = processor_share(proxy, STAND_SECONDS_SHORT if world.quick else STAND_SECONDS)
    report.say(f"roundel used {share:.2%} of a processor while they stood")
    report.expect(share < STANDING_SHARE_MAX, f"it spins: {share:.1%} of a processor in the flood")
    return proxy.descriptor_count()


def check_service(world, report, proxy):
    begin = time.monotonic()
    first = curl(world, f"{proxy.url}/quick?id=first")
    seconds = time.monotonic() - begin
    rest = curl(world, *[f"{proxy.url}/quick?id=next"] * 100)
    report.say(f"the first answer after the flood came in {seconds:.2f} s")
    statuses = {first.status} | {figure["http_code"] for figure in rest.figures}
    report.expect(statuses == {200}, f"statuses after the flood: {statuses}")
    report.expect(seconds <= FIRST_SECONDS_MAX, f"the first answer took {seconds:.1f} s")


def processor_share(proxy, seconds):
    cpu, begin = proxy.cpu_seconds(), time.monotonic()
    time.sleep(seconds)
    return (proxy.cpu_seconds() - cpu) / (time.monotonic() - begin)
