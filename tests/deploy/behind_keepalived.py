"""Two roundels with one address between them, which keepalived moves: one is told to stop, one vanishes.

What is connected when the address moves is lost, because the other host knows nothing of it: that is
shown. What is judged is that those that come are all served while the address moves at leisure, and
served again once the host that had it has vanished.
"""

import time

import lab
from harness import expect

SERVICE = "10.0.0.10"
HOSTS = ["r1", "r2"]


def scenario(world, report):
    with lab.Lab(world, port=8000) as net:
        daemons = [start_keepalived(net, name) for name in HOSTS]
        wait_until_held(net, "r1")
        loads = net.loads(SERVICE)
        time.sleep(lab.CALM_SECONDS)
        lab.tell_to_stop(net.roundels["r1"], report)
        wait_until_held(net, "r2")
        time.sleep(lab.CALM_SECONDS)
        results = loads.stop()
        report.say(lab.said(results))
        lab.expect_loss_in_a_moment(results["new"], report)

        net.start_roundel("r1")
        wait_until_held(net, "r1")
        lab.expect_recovery(net, SERVICE, lambda: net.pull_plug("r1"), report)
        wait_until_held(net, "r2")
        complaints = [line for daemon in daemons for line in daemon.lines if "conf: Line" in line]
        report.expect(not complaints, f"keepalived complains: {complaints}")


def start_keepalived(net, name):
    config = lab.DEPLOY / "keepalived" / f"keepalived-{name}.conf"
    folder = net.world.new_folder(f"{name}-state")
    return net.daemon(
        net.hosts[name], f"{name}-keepalived", "keepalived", "--dont-fork", "--log-console", "--vrrp",
        "--use-file", config, "--pid", folder / "pid", "--vrrp_pid", folder / "vrrp",
    )


def wait_until_held(net, name):
    deadline = time.monotonic() + 20
    while f"{SERVICE}/" not in net.hosts[name].run("ip -o address show"):
        expect(time.monotonic() < deadline, f"{name} does not take {SERVICE}")
        time.sleep(0.05)
