"""Hosts with a network between them, on one machine: network namespaces on a bridge.

    10.1.0.100  client      outside, with the balancer as its way in
    10.1.0.1    balancer    also 10.0.0.1
    10.0.0.11   r1, and r2 and r3 behind it: a roundel each
    10.0.0.21   origin      what roundel balances over, at two ports

So the files of `docs/deploy` run as they are, with their addresses and ports, and nothing outside can
see or disturb them. A namespace has no name here, only a descriptor of this process: when the process
ends, however it ends, the kernel takes all of it away.
"""

import contextlib
import ctypes
import os
import pathlib
import re
import socket
import subprocess
import threading
import time

from harness import Failure, LogLine, Process, expect
from load import Load
from report import shortened
from server import Server

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = REPOSITORY / "docs" / "deploy"

CLIENT, BALANCER = "10.1.0.100", "10.0.0.1"
BALANCER_OUTSIDE = "10.1.0.1"
ROUNDELS = {"r1": "10.0.0.11", "r2": "10.0.0.12", "r3": "10.0.0.13"}
ORIGIN, ORIGIN_PORTS = "10.0.0.21", (3001, 3002)

# How long the origin takes for an answer: so that a signal hits requests that are under way.
HOLD_SECONDS = 0.02

# The drain-delay in behind-a-balancer.toml, and what may be added to it until roundel has ended.
DRAIN_DELAY_SECONDS = 5
DRAIN_SECONDS_MAX = 15

# Nothing happens for so long before and after each event.
CALM_SECONDS = 2

# What takes less than a second where the machine is idle may take so long where it is not.
RECOVERY_SECONDS_MAX = 15

# How often somebody comes while a loss is awaited.
VISIT_SECONDS = 0.02

# Less than a second, after which the kernel asks again for a connection and may find the new way.
PATIENCE_SECONDS = 0.5

CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)


def call(function, *arguments):
    if function(*arguments) != 0:
        code = ctypes.get_errno()
        raise Failure(f"{function.__name__}: {os.strerror(code)}")


def own_namespace():
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


class Host:
    """One network namespace. What is opened or started while it is entered belongs to it."""

    def __init__(self):
        home = own_namespace()
        try:
            call(LIBC.unshare, CLONE_NEWNET)
            self._namespace = own_namespace()
            call(LIBC.setns, home, CLONE_NEWNET)
        finally:
            os.close(home)
        self.path = f"/proc/{os.getpid()}/fd/{self._namespace}"
        self.cables = 0
        self.run("ip link set lo up")

    @contextlib.contextmanager
    def entered(self):
        home = own_namespace()
        try:
            call(LIBC.setns, self._namespace, CLONE_NEWNET)
            yield self
        finally:
            call(LIBC.setns, home, CLONE_NEWNET)
            os.close(home)

    def run(self, command):
        """Runs a command to its end; gives what it wrote."""
        with self.entered():
            done = subprocess.run(command.split(), stdin=subprocess.DEVNULL, capture_output=True,
                                  check=False, text=True)
        expect(done.returncode == 0, f"{command}: {(done.stdout + done.stderr).strip()}")
        return done.stdout

    def close(self):
        os.close(self._namespace)


class Daemon(Process):
    """A program on a host, in a folder of its own."""

    def __init__(self, world, host, name, command):
        self.world, self.name = world, name
        self.folder = world.new_folder(name)
        with host.entered():
            super().__init__(command, self.folder)

    def __exit__(self, kind, value, trace):
        if kind is not None:
            for line in self.lines[-4:]:
                self.world.say(f"| {self.name}: {line}")
        # What ends badly or late is judged by who waits for it; here nothing may be left.
        self.child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.child.wait(2)
        self.kill()


class Roundel(Daemon):
    """A roundel behind a balancer, with the file that `docs/deploy` has for that."""

    def __init__(self, world, host, name):
        command = [world.binary, "--config", DEPLOY / "behind-a-balancer.toml",
                   "--access-log", "access.log"]
        super().__init__(world, host, name, command)
        self.wait_for("listening on http://")

    def lines_of_log(self):
        text = (self.folder / "access.log").read_text()
        return [LogLine(*re.findall(r'"[^"]*"|\S+', line)) for line in text.splitlines()]

    def served(self):
        """How many requests it has ended so far."""
        return (self.folder / "access.log").read_bytes().count(b"\n")


class Lab(contextlib.ExitStack):
    """All hosts, the origin, and three roundels, while its `with` block runs."""

    def __init__(self, world, port=80):
        """`port` is where clients go."""
        super().__init__()
        self.world, self.port = world, port
        self.hosts, self.roundels = {}, {}

    def __enter__(self):
        super().__enter__()
        try:
            self.build()
        except BaseException:
            self.close()
            raise
        return self

    def build(self):
        self.switch = self.callback_closed(Host())
        for bridge in ("outer", "inner"):
            self.switch.run(f"ip link add {bridge} type bridge")
            self.switch.run(f"ip link set {bridge} up")
        self.client = self.add_host("client", "outer", CLIENT)
        self.balancer = self.add_host("balancer", "inner", BALANCER)
        self.plug("balancer", "outer", BALANCER_OUTSIDE)
        self.balancer.run("sysctl -q -w net.ipv4.ip_forward=1")
        self.client.run(f"ip route add default via {BALANCER_OUTSIDE}")
        origin = self.add_host("origin", "inner", ORIGIN)
        with origin.entered():
            self.origins = [
                self.enter_context(Server(hold_seconds=HOLD_SECONDS, address=ORIGIN, port=port))
                for port in ORIGIN_PORTS
            ]
        for name, address in ROUNDELS.items():
            self.add_host(name, "inner", address).run(f"ip route add default via {BALANCER}")
            self.start_roundel(name)

    def callback_closed(self, host):
        self.callback(host.close)
        return host

    def add_host(self, name, bridge, address):
        self.hosts[name] = self.callback_closed(Host())
        self.plug(name, bridge, address)
        return self.hosts[name]

    def plug(self, name, bridge, address):
        """A cable from a host to a bridge."""
        host = self.hosts[name]
        ours, theirs = f"{name}-{bridge}", f"eth{host.cables}"
        host.cables += 1
        self.switch.run(f"ip link add {ours} type veth peer name {theirs} netns {host.path}")
        self.switch.run(f"ip link set {ours} master {bridge} up")
        host.run(f"ip address add {address}/24 dev {theirs}")
        host.run(f"ip link set {theirs} up")

    def pull_plug(self, name):
        """The host is there no more, for all that anybody can see of it."""
        self.switch.run(f"ip link set {name}-inner down")

    def start_roundel(self, name):
        self.roundels[name] = self.enter_context(Roundel(self.world, self.hosts[name], name))

    def daemon(self, host, name, *command):
        return self.enter_context(Daemon(self.world, host, name, command))

    def wait_until_served(self, address, seconds=10):
        deadline = time.monotonic() + seconds
        while not self.is_served(address):
            expect(time.monotonic() < deadline, f"{address} does not answer after {seconds} s")
            time.sleep(0.05)

    def is_served(self, address, seconds=1):
        """Whether a client that comes now gets an answer within a time."""
        with self.client.entered(), contextlib.suppress(OSError):
            with socket.create_connection((address, self.port), timeout=seconds) as connection:
                connection.sendall(b"GET /?id=0 HTTP/1.1\r\nHost: lab.example\r\n\r\n")
                return connection.recv(12) == b"HTTP/1.1 200"
        return False

    def load(self, address, **spec):
        with self.client.entered():
            return self.enter_context(Load(self.world, self.port, address=address, trace=True, **spec))

    def loads(self, address):
        """Clients that stay and clients that come anew for each request, both with some POSTs."""
        kinds = {"kinds": [["GET", "/"], ["POST", "/"]], "weights": [75, 25], "timeout": 5}
        return Loads(
            self.load(address, clients=24, pause=[0, 0.01], **kinds),
            self.load(address, clients=8, pause=[0, 0.01], persistent=False, **kinds),
        )


class Loads:
    def __init__(self, staying, coming):
        self._loads = {"persistent": staying, "new": coming}

    def stop(self):
        """What each of them has seen."""
        return {name: load.stop() for name, load in self._loads.items()}


def said(results):
    """The figures of `Loads.stop` for people."""
    return "; ".join(f"{name} connections: {result.total()} requests, {result.outcomes()}"
                     for name, result in results.items())



def tell_to_stop(roundel, report):
    """TERM under load, and what it did until its end."""
    before = roundel.served()
    report.expect(before, f"{roundel.name} had nothing to lose")
    begin = time.monotonic()
    code = roundel.stop(DRAIN_SECONDS_MAX)
    seconds = time.monotonic() - begin
    report.say(f"TERM: {roundel.name} ended after {seconds:.1f} s and answered "
               f"{roundel.served() - before} requests meanwhile")
    report.expect(code == 0, f"{roundel.name} ended with {code}")
    report.expect(seconds > DRAIN_DELAY_SECONDS, f"{roundel.name} took only {seconds:.1f} s to end")
    report.expect(roundel.served() > before, f"{roundel.name} had nothing under way when told to stop")


def expect_no_loss(results, report):
    failures = [failure for result in results.values() for failure in result.failures]
    report.say(said(results))
    report.expect(not failures, f"requests were lost, {shortened(failures)}")


def expect_recovery(net, address, break_it, report):
    """Something ends without a word: those who come must be served again after a while."""
    failed, visits = [], []
    broken = time.monotonic()

    def visit(begun):
        if not net.is_served(address, PATIENCE_SECONDS):
            failed.append(begun - broken)

    def is_over(now):
        return failed and now - max(failed) > CALM_SECONDS or now > RECOVERY_SECONDS_MAX

    break_it()
    while not is_over(time.monotonic() - broken):
        visits.append(threading.Thread(target=visit, args=(time.monotonic(),)))
        visits[-1].start()
        time.sleep(VISIT_SECONDS)
    for one in visits:
        one.join()
    last = max(failed, default=0)
    report.say(f"when one ended without a word, {len(failed)} of {len(visits)} new connections "
               f"failed, the last one that began {last:.1f} s later")
    report.expect(failed, "nobody noticed: nothing was tested")
    report.expect(last < RECOVERY_SECONDS_MAX - CALM_SECONDS, f"new connections fail for {last:.1f} s")


def expect_loss_in_a_moment(result, report):
    """What is open while a connection's way changes may be lost, and nothing before or afterwards."""
    failed = {failure.id for failure in result.failures}
    moments = sorted(request.begun for request in result.trace if request.id in failed)
    report.expect(not moments or moments[-1] - moments[0] < 1,
                  f"new connections fail for longer than a moment: {shortened(result.failures)}")
