"""The machine: which core is whose, what processes have used of it, and what it is called."""

import collections
import contextlib
import os
import pathlib
import re
import resource
import subprocess

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")

# So many cores for wrk, and so many for the origins, are more than any one-threaded proxy can use.
LOAD_THREADS_MAX = 4

# `threads` is how many wrk has, and how many workers the origin: a power of two, for wrk gives all its
# threads the same number of connections.
Cores = collections.namedtuple("Cores", "proxy load threads note")


def share_cores():
    """One core for the proxy, the others for everything else, for this process from now on too."""
    allowed = os.sched_getaffinity(0)
    # Not the first one, which serves most of the machine's interrupts.
    proxy = max(allowed)
    load, note = allowed - siblings(proxy), ""
    if not load:
        load, note = allowed - {proxy}, "the proxy's core and the other are threads of one"
    if not load:
        load, note = allowed, "there is one core for everything: only processor times mean something"
    os.sched_setaffinity(0, load)
    threads = 1
    while threads * 4 <= len(load) and threads < LOAD_THREADS_MAX:
        threads *= 2
    return Cores(proxy, sorted(load), threads, note)


def siblings(core):
    """The processors that share the core of this one, itself included."""
    found = {core}
    with contextlib.suppress(OSError):
        path = f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list"
        for part in pathlib.Path(path).read_text().split(","):
            first, _, last = part.strip().partition("-")
            found |= set(range(int(first), int(last or first) + 1))
    return found


def processes_of(leader):
    """The processes of a process group."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        # One that has ended meanwhile is not of interest.
        with contextlib.suppress(OSError):
            fields = pathlib.Path(f"/proc/{name}/stat").read_text().rsplit(")", 1)[1].split()
            if int(fields[2]) == leader:
                found.append(int(name))
    return found


def processor_seconds(processes):
    """What the threads of these processes have used so far, to the nanosecond."""
    total = 0
    for process in processes:
        for thread in os.listdir(f"/proc/{process}/task"):
            path = pathlib.Path(f"/proc/{process}/task/{thread}/schedstat")
            total += int(path.read_text().split()[0])
    return total / 1e9


def resident_bytes(processes):
    """The resident memory of these processes; what two of them share counts twice."""
    total = 0
    for process in processes:
        status = pathlib.Path(f"/proc/{process}/status").read_text()
        total += int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1)) * 1024
    return total


def busy_seconds():
    """What all processes together have used of all cores so far, in steps of a tick."""
    user, nice, system, _idle, _wait, hard, soft, *_ = map(
        int, pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    )
    return (user + nice + system + hard + soft) / TICKS_PER_SECOND


def describe(cores):
    info = pathlib.Path("/proc/cpuinfo").read_text()
    model = re.search(r"(?m)^model name\s*:\s*(.*)$", info)
    words = [
        model.group(1) if model else os.uname().machine,
        f"{os.cpu_count()} cores",
        f"{os.uname().sysname} {os.uname().release}",
        f"{resource.getrlimit(resource.RLIMIT_NOFILE)[0]:,} descriptors for each process",
        f"the proxy on core {cores.proxy}",
        f"wrk and the origins on {', '.join(map(str, cores.load))} with {cores.threads} each",
    ]
    return "; ".join(words + ([cores.note] if cores.note else []))


def versions(binary):
    commands = [[binary, "--version"], ["nginx", "-v"], ["haproxy", "-v"], ["wrk", "-v"],
                ["openssl", "version"]]
    return "; ".join(first_line(command) for command in commands)


def first_line(command):
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          check=False)
    line = (done.stdout + done.stderr).strip().split("\n", 1)[0]
    # From the first date, feature or copyright on, it is no version any more.
    return re.split(r"\s+(?:\d{4}/\d\d/\d\d|\d+ \w+ \d{4}|\[|Copyright)", line)[0].removeprefix("nginx version: ")
