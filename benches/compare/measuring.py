"""The scenarios, the rounds, and what comes out of them."""

import collections
import contextlib
import resource
import statistics
import sys
import time

import load
import machine
from contenders import CONTENDERS, KIB, MIB, SMALL_BYTES, Origins
from harness import Failure
from peers import Certificates

Scenario = collections.namedtuple("Scenario", "name clients path length closes tls",
                                  defaults=("/small", SMALL_BYTES, False, False))

SCENARIOS = [
    Scenario("64 clients", 64),
    Scenario("1 client", 1),
    Scenario("1,000 clients", 1000),
    Scenario("64 clients, 10 KiB", 64, "/10k", 10 * KIB),
    Scenario("16 clients, 1 MiB", 16, "/1m", MIB),
    Scenario("64 clients, a connection each request", 64, closes=True),
    Scenario("64 clients, https backends", 64, tls=True),
]

# The last one is no load: it is what idle clients cost.
MEMORY = "memory"
NAMES = [*(scenario.name for scenario in SCENARIOS), MEMORY]

# A proxy is asked so often before its memory is counted, so that what it makes once is there.
FIRST_REQUESTS = 100
# What a proxy gives back, or does a little later, it has done by then.
SETTLE_SECONDS = 1

# `cores` is how much of its core the proxy used, `others` how many cores went to nobody of ours.
Round = collections.namedtuple("Round", "cpu_us per_second p99_us cores others errors")
Memory = collections.namedtuple("Memory", "start_bytes client_bytes")


class Measured:
    """All rounds by scenario and proxy, in which one is None where it failed, and why it did."""

    def __init__(self, scenarios, rounds, seconds, idle_clients):
        self.scenarios = scenarios
        self.rounds, self.seconds, self.idle_clients = rounds, seconds, idle_clients
        self.loads = collections.defaultdict(list)
        self.memories = collections.defaultdict(list)
        self.reasons = {}

    def fail(self, scenario_name, title, reason):
        self.reasons.setdefault((scenario_name, title), str(reason))
        progress(f"{scenario_name}: {title}: {reason}")

    def failures(self):
        return [f"{title}, {name}: {reason}" for (name, title), reason in self.reasons.items()]

    def median(self, name, title, field):
        """Of one figure over the rounds; None if there is none."""
        values = [getattr(one, field) for one in self.loads[name, title] if one]
        return statistics.median(values) if values else None

    def ratios(self, name, title):
        """The cost of a request over that of the first proxy, round by round."""
        pairs = zip(self.loads[name, title], self.loads[name, CONTENDERS[0].title])
        return [one.cpu_us / first.cpu_us for one, first in pairs if one and first]

    def errors(self, name, title):
        return sum(one.errors for one in self.loads[name, title] if one)

    def others(self):
        return [one.others for rounds in self.loads.values() for one in rounds if one]


def measure_all(world, cores, names):
    """What has one of these names."""
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    measured = Measured(
        [scenario for scenario in SCENARIOS if scenario.name in names],
        rounds=1 if world.quick else 5,
        seconds=1 if world.quick else 2,
        # A third of the descriptors: this process and the proxy need one each, HAProxy some more.
        idle_clients=min(1000 if world.quick else 5000, descriptors // 3),
    )
    certificates = Certificates(world)
    for scenario in measured.scenarios:
        with Origins(world, cores, certificates if scenario.tls else None) as origins:
            measure(world, cores, origins, scenario, measured)
    if MEMORY in names:
        with Origins(world, cores) as origins:
            for turn in range(1 if world.quick else 3):
                for kind in rotated(CONTENDERS, turn):
                    measure_memory(world, cores, origins, kind, measured)
    return measured


def measure(world, cores, origins, scenario, measured):
    """One scenario. The proxies are new for each, so that none has pools left from another load."""
    with contextlib.ExitStack() as stack:
        ready = []
        for kind in CONTENDERS:
            with noting(measured, scenario.name, kind.title):
                proxy = stack.enter_context(kind(world, cores, origins))
                load.prove(proxy, scenario)
                load.run_wrk(proxy, scenario, 1, cores.threads)
                ready.append(proxy)
        for turn in range(measured.rounds):
            for proxy in rotated(ready, turn):
                one = None
                with noting(measured, scenario.name, proxy.title):
                    one = measure_round(proxy, origins, scenario, measured.seconds, cores)
                    progress(f"{scenario.name}: {proxy.title}: {one.cpu_us:.1f} µs per request")
                measured.loads[scenario.name, proxy.title].append(one)


def rotated(things, turn):
    place = turn % max(len(things), 1)
    return things[place:] + things[:place]


@contextlib.contextmanager
def noting(measured, name, title):
    """A failure is a row of the report, and the others go on."""
    try:
        yield
    except (Failure, OSError) as reason:
        measured.fail(name, title, reason)


def measure_round(proxy, origins, scenario, seconds, cores):
    processes, behind = machine.processes_of(proxy.pid), machine.processes_of(origins.pid)
    begin, busy, ours = time.monotonic(), machine.busy_seconds(), our_seconds(behind)
    used = machine.processor_seconds(processes)
    done = load.run_wrk(proxy, scenario, seconds, cores.threads)
    used = machine.processor_seconds(processes) - used
    ours, busy = our_seconds(behind) - ours, machine.busy_seconds() - busy
    took = time.monotonic() - begin
    if not done.requests:
        raise Failure("no request was answered")
    return Round(
        cpu_us=used * 1e6 / done.requests, per_second=done.per_second, p99_us=done.p99_us,
        cores=used / took, others=max(0, busy - used - ours) / took, errors=done.errors,
    )


def our_seconds(origins):
    """Processor time of the origins, of wrk, which has ended by now, and of this process."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return machine.processor_seconds(origins) + sum(one.ru_utime + one.ru_stime for one in usages)


def measure_memory(world, cores, origins, kind, measured):
    scenario = SCENARIOS[0]
    with noting(measured, MEMORY, kind.title), kind(world, cores, origins) as proxy:
        time.sleep(SETTLE_SECONDS)
        processes = machine.processes_of(proxy.pid)
        start_bytes = machine.resident_bytes(processes)
        for _ in range(FIRST_REQUESTS):
            load.get(proxy.port, scenario.path)
        before_bytes = machine.resident_bytes(processes)
        with load.IdleClients(proxy, scenario, measured.idle_clients) as clients:
            time.sleep(SETTLE_SECONDS)
            grown_bytes = machine.resident_bytes(processes) - before_bytes
            clients.expect_open()
        one = Memory(start_bytes, grown_bytes / measured.idle_clients)
        measured.memories[kind.title].append(one)
        progress(f"{MEMORY}: {kind.title}: {one.client_bytes:.0f} octets for an idle client")


def progress(text):
    print(text, file=sys.stderr, flush=True)
