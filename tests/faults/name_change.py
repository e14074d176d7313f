"""The name of a backend changes its address, under load.

Everything must be at the new address when the name was asked for again, without an error, and no
connection to the old one may be left.
"""

import contextlib
import os
import pathlib
import re
import socket
import time

from harness import Failure, Roundel
from load import Load
from nginx import Backend
from report import shortened

NAME = "moving.roundel.test"
OLD, NEW = "127.0.0.2", "127.0.0.3"
CLIENTS = 32
PAUSE_SECONDS = (0.005, 0.02)

# The name changes so long after the start; roundel asks for it every 30 s.
CHANGE_SECONDS, CHANGE_SECONDS_SHORT = 5, 2
REFRESH_SECONDS = 30
LATE_SECONDS_MAX = 1

# From when roundel knows the new address: how long until the old one gets nothing any more, and how
# long the load then goes on.
MOVE_SECONDS_MAX = 0.5
AFTER_SECONDS, AFTER_SECONDS_SHORT = 5, 2

# States of /proc/net/tcp in which our end of a connection is not closed.
OPEN_STATES = {"01", "08"}


def scenario(world, report):
    after = AFTER_SECONDS_SHORT if world.quick else AFTER_SECONDS
    hosts = world.new_folder("hosts") / "hosts"
    name_is_at(hosts, OLD)
    port = port_on_both()
    with contextlib.ExitStack() as stack:
        old, new = (stack.enter_context(Backend(world, name, address=address, port=port, access_log=True))
                    for name, address in (("old", OLD), ("new", NEW)))
        wrapper = in_namespace_with(hosts)
        with Roundel(world, [f"http://{NAME}:{port}"], wrapper=wrapper) as proxy:
            with Load(world, proxy.port, clients=CLIENTS, pause=PAUSE_SECONDS) as load:
                time.sleep(CHANGE_SECONDS_SHORT if world.quick else CHANGE_SECONDS)
                name_is_at(hosts, NEW)
                moved_at = await_news(proxy, report)
                time.sleep(after)
                open_to_old = open_connections(OLD, port)
                result = load.stop()
        check_traffic(old.seen(), new.seen(), moved_at, report)
    report.say(f"{result.total()} requests at {result.per_second():.0f}/s; clients saw "
               f"{result.outcomes()}; {open_to_old} connections to the old address at the end")
    report.expect(not result.failures, f"requests failed, {shortened(result.failures)}")
    report.expect(open_to_old == 0, f"{open_to_old} connections to the old address are still open")


def name_is_at(hosts, address):
    """Written over in place: the mount is of this file and not of its name."""
    hosts.write_text(f"127.0.0.1 localhost\n{address} {NAME}\n")


def port_on_both():
    """A port that is free at both addresses."""
    for _ in range(20):
        with socket.create_server((OLD, 0)) as first:
            port = first.getsockname()[1]
            with contextlib.suppress(OSError), socket.create_server((NEW, port)):
                return port
    raise Failure(f"no port is free at both {OLD} and {NEW}")


def in_namespace_with(hosts):
    """A mount namespace of its own: only this roundel sees these hosts."""
    namespace = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
    return [*namespace, "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', hosts]


def await_news(proxy, report):
    """When roundel says that it knows the new address."""
    begin = time.time()
    pattern = rf"{re.escape(NAME)}:\d+ is at {re.escape(NEW)}:"
    proxy.wait_for(pattern, REFRESH_SECONDS + LATE_SECONDS_MAX)
    now = time.time()
    report.say(f"roundel knew the new address {now - begin:.1f} s after the change")
    return now


def open_connections(address, port):
    """How many connections to this address somebody has not closed yet."""
    octets = reversed(address.split("."))
    remote = "".join(f"{int(octet):02X}" for octet in octets) + f":{port:04X}"
    lines = [line.split() for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(line[2] == remote and line[3] in OPEN_STATES for line in lines)


def check_traffic(old, new, moved_at, report):
    late = [id for ended, id in old if ended > moved_at + MOVE_SECONDS_MAX]
    early = [id for ended, id in new if ended < moved_at - LATE_SECONDS_MAX]
    report.say(f"{len(old)} requests at the old address, {len(new)} at the new one")
    report.expect(old, "the old address never got a request")
    report.expect(new, "the new address never got a request")
    report.expect(not late, f"requests went to the old address afterwards, {shortened(late)}")
    report.expect(not early, f"requests were at the new address too early, {shortened(early)}")
