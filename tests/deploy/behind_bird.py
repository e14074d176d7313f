"""A router with BIRD in front of three roundels with BIRD: one is told to stop, one vanishes.

The router keeps nothing in mind: when a next hop goes, the hash of addresses and ports leads open
connections elsewhere, to a host that resets them. What that costs is shown here, and only what can be
promised is judged: those that come are all served while one stops, and served again once another one
has vanished.
"""

import time

import lab
from harness import expect

SERVICE = "192.0.2.1"


def scenario(world, report):
    with lab.Lab(world, port=8000) as net:
        start_router(net)
        for name in lab.ROUNDELS:
            start_announcing(net, name)
        wait_for_next_hops(net, 3)
        loads = net.loads(SERVICE)
        time.sleep(lab.CALM_SECONDS)
        lab.tell_to_stop(net.roundels["r1"], report)
        wait_for_next_hops(net, 2)
        time.sleep(lab.CALM_SECONDS)
        results = loads.stop()
        report.say(lab.said(results))
        lab.expect_loss_in_a_moment(results["new"], report)

        lab.expect_recovery(net, SERVICE, lambda: net.pull_plug("r2"), report)
        wait_for_next_hops(net, 1)


def start_router(net):
    net.balancer.run("sysctl -q -w net.ipv4.fib_multipath_hash_policy=1")
    net.daemon(net.balancer, "router", "bird", "-f", "-s", "control", "-c",
               lab.DEPLOY / "bird" / "router.conf")


def start_announcing(net, name):
    host = net.hosts[name]
    host.run(f"ip address add {SERVICE}/32 dev lo")
    bird = net.daemon(host, f"{name}-bird", "bird", "-f", "-s", "control", "-c",
                      lab.DEPLOY / "bird" / "roundel.conf")
    net.daemon(host, f"{name}-announce", lab.DEPLOY / "bird" / "announce.sh", "-s",
               bird.folder / "control")


def wait_for_next_hops(net, count):
    deadline = time.monotonic() + 30
    while next_hops(net) != count:
        expect(time.monotonic() < deadline, f"{next_hops(net)} next hops, not {count}")
        time.sleep(0.05)


def next_hops(net):
    return net.balancer.run(f"ip route show {SERVICE}").count("via ")
