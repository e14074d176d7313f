"""nftables in front of three roundels, under load: one is told to stop, one vanishes.

TERM may lose nothing: the kernel leaves connections where they are. Of one whose cable is pulled nobody
tells the clients, so what is connected there is lost; those that come must be served again as soon as
`balance.sh` has asked.
"""

import time

import lab


def scenario(world, report):
    with lab.Lab(world) as net:
        net.daemon(
            net.balancer, "balance", lab.DEPLOY / "nftables" / "balance.sh",
            f"{lab.BALANCER_OUTSIDE}:80", *[f"{address}:8000" for address in lab.ROUNDELS.values()],
        )
        net.wait_until_served(lab.BALANCER_OUTSIDE)
        loads = net.loads(lab.BALANCER_OUTSIDE)
        time.sleep(lab.CALM_SECONDS)
        lab.tell_to_stop(net.roundels["r1"], report)
        time.sleep(lab.CALM_SECONDS)
        lab.expect_no_loss(loads.stop(), report)
        addresses = {line.client.rpartition(":")[0] for line in net.roundels["r2"].lines_of_log()}
        report.say(f"roundel saw the clients at {sorted(addresses)}")
        report.expect(addresses == {lab.CLIENT}, f"clients are seen as {sorted(addresses)}")

        lab.expect_recovery(net, lab.BALANCER_OUTSIDE, lambda: net.pull_plug("r2"), report)
