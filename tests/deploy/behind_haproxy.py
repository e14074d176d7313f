"""HAProxy in front of three roundels, under load: one is told to stop, one is killed with -9.

TERM may lose nothing: no request of clients that keep their connection, and none of those that come.
kill -9 takes with it what was under way there, and what is sent there before HAProxy has passed the end
on. What is lost is counted from the clients, and looked up in HAProxy's log: each of them was on a
connection to the one that was killed, at most one on each, and its client knew at once. Clients and
proxies share a few cores here, so at once is 200 ms, and for as long as the clients of the others
stood still meanwhile.
"""

import collections
import datetime
import re
import time

import lab
from harness import curl, expect, wait_until
from report import shortened

KNOWN_SECONDS_MAX = 0.2

# How far apart the clocks of HAProxy's log and of the clients may be.
CLOCK_SECONDS = 0.05

# The client's port, when it came, the server, and how many milliseconds it stayed.
SESSION = re.compile(r"^[\d.]+:(\d+) \[(.*?)\] clients \w+/(\S+) [-\d]+/[-\d]+/(\d+) ")

Session = collections.namedtuple("Session", "port server begun ended")


def scenario(world, report):
    with lab.Lab(world) as net:
        haproxy = net.daemon(net.balancer, "haproxy", "haproxy", "-db", "-f",
                             lab.DEPLOY / "haproxy" / "haproxy.cfg")
        net.wait_until_served(lab.BALANCER_OUTSIDE)
        loads = net.loads(lab.BALANCER_OUTSIDE)
        time.sleep(lab.CALM_SECONDS)
        lab.tell_to_stop(net.roundels["r1"], report)
        time.sleep(lab.CALM_SECONDS)
        lab.expect_no_loss(loads.stop(), report)

        net.start_roundel("r1")
        haproxy.wait_for("Server roundels/r1 is UP")
        loads = net.loads(lab.BALANCER_OUTSIDE)
        time.sleep(lab.CALM_SECONDS)
        begun = time.monotonic()
        net.roundels["r2"].kill()
        killed = (begun, time.monotonic())
        time.sleep(lab.CALM_SECONDS)
        judge_kill(loads.stop(), killed, haproxy, report)

        ask_when_none_is_ready(net, haproxy, report)


def judge_kill(results, killed, haproxy, report):
    trace = [request for result in results.values() for request in result.trace]
    failed_ids = {(name, failure.id) for name, result in results.items() for failure in result.failures}
    failed = [request for name, result in results.items() for request in result.trace
              if (name, request.id) in failed_ids]
    sessions = wait_for_sessions(haproxy, failed)
    ports = {session.port for session in sessions
             if session.server == "r2" and overlap(session, killed, CLOCK_SECONDS)}
    under_way = [request for request in trace if request.port in ports and overlap(request, killed, 0)]
    known = max((request.ended - killed[0] for request in failed), default=0)
    still = longest_stillness(trace, ports, killed[0])
    slowest = max(request.ended - request.begun for request in trace if request.ended > killed[0])
    late = [request for request in failed if request not in under_way]
    report.say(f"kill -9: {len(failed) - len(late)} lost of {len(under_way)} under way on {len(ports)} "
               f"connections, and {len(late)} sent in the moment afterwards, all known after "
               f"{known * 1000:.0f} ms; slowest one {slowest * 1000:.0f} ms; "
               f"{lab.said(results)}")
    elsewhere = [session for request in failed if request.port not in ports
                 for session in sessions if is_of(request, session)]
    report.expect(under_way, "nothing was under way on the one that was killed")
    report.expect(len({request.port for request in failed}) == len(failed), "two lost on one connection")
    report.expect(not elsewhere, f"lost elsewhere: {shortened(elsewhere)}, killed {killed}")
    # Sent before HAProxy had passed the end on: only the first of a connection.
    report.expect(all(request.begun < killed[1] + KNOWN_SECONDS_MAX + still for request in late),
                  f"lost although sent afterwards: {shortened(late)}, killed {killed}")
    report.expect(known < KNOWN_SECONDS_MAX + still,
                  f"known only after {known * 1000:.0f} ms, others stood still for {still * 1000:.0f}")


def overlap(one, killed, slack):
    return one.begun <= killed[1] + slack and one.ended >= killed[0] - slack


def is_of(request, session):
    """Whether HAProxy's line is the one of the connection that the request was on."""
    return request.port == session.port and overlap(session, (request.begun, request.ended), CLOCK_SECONDS)


def wait_for_sessions(haproxy, failed):
    """What HAProxy has logged, when that tells of all requests that were lost."""
    def unknown():
        found = sessions_in(haproxy.lines)
        return [request for request in failed if not any(is_of(request, one) for one in found)]

    wait_until(lambda: not unknown(), 5, lambda: f"HAProxy's log knows nothing of {unknown()}")
    return sessions_in(haproxy.lines)


def sessions_in(lines):
    """HAProxy's sessions, on the monotonic clock."""
    offset = time.time() - time.monotonic()
    found = []
    for line in list(lines):
        if matched := SESSION.match(line):
            port, came, server, milliseconds = matched.groups()
            came = datetime.datetime.strptime(came, "%d/%b/%Y:%H:%M:%S.%f").timestamp() - offset
            found.append(Session(int(port), server, came, came + int(milliseconds) / 1000))
    return found


def longest_stillness(trace, ports, since):
    """How long no client of the others got an answer, at most, in the second after the event."""
    ends = sorted(request.ended for request in trace
                  if request.port not in ports and since <= request.ended <= since + 1)
    moments = [since, *ends, since + 1]
    return max(later - earlier for earlier, later in zip(moments, moments[1:]))


def ask_when_none_is_ready(net, haproxy, report):
    """All backends of all roundels are gone: clients are told so, not turned away."""
    for origin in net.origins:
        origin.__exit__()
    seen = set()
    deadline = time.monotonic() + 20
    while not any("has no server available" in line for line in haproxy.lines):
        expect(time.monotonic() < deadline, "HAProxy does not see that no roundel is ready")
        with net.client.entered():
            seen.add(curl(net.world, f"http://{lab.BALANCER_OUTSIDE}/").status)
    with net.client.entered():
        answer = curl(net.world, f"http://{lab.BALANCER_OUTSIDE}/")
    seen.add(answer.status)
    report.say(f"with no backend at all, clients get {sorted(seen)}")
    report.expect(seen <= {502, 503}, f"without backends: {sorted(seen)}")
