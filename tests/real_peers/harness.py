"""What every check uses: the list of checks and its runner, the roundel process, and curl.

A check is a function with a title that gets the `World`. It starts what it needs in `with` blocks,
says its figures with `world.say`, and fails by raising, mostly through `expect`.
"""

import collections
import hashlib
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import subprocess
import threading
import time
import traceback

MIB = 1 << 20
GIB = 1 << 30

# How many descriptors the largest check needs, here and in roundel: one for each of 10,000 clients,
# the 4096 that roundel keeps free for connections to backends, and some to spare.
DESCRIPTORS_MIN = 15_000

# No check may hang the run: after this many seconds SIGALRM ends it as a failure.
CHECK_SECONDS_MAX = 300

PROGRAMS = ["curl", "wrk", "nginx", "strace", "openssl", "python3", "unshare"]


class Failure(Exception):
    """An expectation that was not met."""


Check = collections.namedtuple("Check", "title function")
CHECKS = []


def check(title):
    """Registers a function as a check; the order of registration is the order of the run."""

    def register(function):
        CHECKS.append(Check(title, function))
        return function

    return register


def expect(condition, message):
    if not condition:
        raise Failure(message)


def expect_equal(found, wanted, what):
    expect(found == wanted, f"{what}: {found!r}, expected {wanted!r}")


class World:
    """What is the same for all checks: the binary, the folder, the size of the run, the output."""

    def __init__(self, binary, folder, quick):
        self.binary = binary
        self.folder = folder
        self.quick = quick
        self.body_bytes = 256 * MIB if quick else GIB
        self.tls_body_bytes = 64 * MIB if quick else 256 * MIB
        self.load_seconds = 4 if quick else 10
        self._names = 0

    def say(self, text):
        print(f"        {text}", flush=True)

    def new_folder(self, name):
        """A folder of its own for each thing that a check starts."""
        self._names += 1
        folder = self.folder / f"{self._names:03}-{name}"
        folder.mkdir()
        return folder


def run_all(world, checks):
    """Runs the checks one after the other; returns how many failed."""
    passed = failed = 0
    for one in checks:
        begin = time.monotonic()
        signal.signal(signal.SIGALRM, too_long)
        signal.alarm(CHECK_SECONDS_MAX)
        print(f"----- {one.title}", flush=True)
        try:
            one.function(world)
        except Failure as failure:
            failed += 1
            verdict = f"FAILED: {failure}"
        except Exception:
            failed += 1
            verdict = "FAILED: " + traceback.format_exc().rstrip()
        else:
            passed += 1
            verdict = "ok"
        finally:
            signal.alarm(0)
        print(f"{verdict} ({time.monotonic() - begin:.1f} s)", flush=True)
        clear(world.folder)
    print(f"{passed} passed, {failed} failed", flush=True)
    return failed


def too_long(_signal, _frame):
    raise Failure(f"not done after {CHECK_SECONDS_MAX} s")


def clear(folder):
    """Takes away what a check wrote: several gigabytes would add up otherwise."""
    for entry in folder.iterdir():
        shutil.rmtree(entry, ignore_errors=True)


def raise_descriptor_limit():
    """Raises our limit, which children inherit, as far as this user may."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        wanted = max(hard, DESCRIPTORS_MIN)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
    except (ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Process:
    """A child whose output is collected by threads, and which does not outlive its `with` block."""

    def __init__(self, command, folder, **options):
        self.lines = []
        self._changed = threading.Condition()
        self.child = subprocess.Popen(
            [str(word) for word in command],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            **options,
        )
        self._reader = threading.Thread(target=self._collect, daemon=True)
        self._reader.start()

    def _collect(self):
        for line in self.child.stdout:
            with self._changed:
                self.lines.append(line.decode(errors="replace").rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self.lines.append("(end of output)")
            self._changed.notify_all()

    def wait_for(self, pattern, seconds=10):
        """The match of the first output line in which the pattern is found."""
        deadline = time.monotonic() + seconds
        seen = 0
        with self._changed:
            while True:
                while seen < len(self.lines):
                    found = re.search(pattern, self.lines[seen])
                    if found:
                        return found
                    seen += 1
                left = deadline - time.monotonic()
                if left <= 0 or self.lines[-1:] == ["(end of output)"]:
                    said = "\n".join(self.lines[-20:])
                    raise Failure(f"waited in vain for {pattern!r} from {self.child.args}: {said}")
                self._changed.wait(left)

    @property
    def pid(self):
        return self.child.pid

    def kill(self):
        """kill -9, and wait until it is really gone."""
        self.child.kill()
        self.child.wait()

    def stop(self, seconds=10):
        """TERM, then its exit code; a child that does not go is killed and that is a failure."""
        if self.child.poll() is None:
            self.child.terminate()
        try:
            code = self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failure(f"{self.child.args[0]} still ran {seconds} s after TERM") from None
        self._reader.join(5)
        return code

    def __enter__(self):
        return self

    def __exit__(self, kind, _value, _trace):
        if kind is None:
            self.stop()
        else:
            self.kill()


LogLine = collections.namedtuple(
    "LogLine", "time client request status bytes_in bytes_out ms backend attempts reuse reason id"
)


class Roundel(Process):
    """The binary under test. Ends with TERM, and must then exit with 0."""

    def __init__(self, world, backends, *options, access_log=True, wrapper=()):
        self.world = world
        self.folder = world.new_folder("roundel")
        self.access_log_file = self.folder / "access.log"
        command = [*wrapper, world.binary, "--listen", "127.0.0.1:0", *options]
        if access_log:
            command += ["--access-log", self.access_log_file]
        super().__init__([*command, *backends], self.folder)
        try:
            found = self.wait_for(r"listening on http://127\.0\.0\.1:(\d+)")
        except Failure:
            self.kill()
            raise
        self.port = int(found.group(1))
        self.url = f"http://127.0.0.1:{self.port}"
        # Set by a check that stops roundel itself; otherwise it must run until the block ends.
        self.may_have_ended = False

    def connect(self, seconds=20):
        """A plain socket to roundel."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=seconds)

    def status_bytes(self, field):
        """A memory figure of /proc/PID/status, in octets."""
        text = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(rf"^{field}:\s+(\d+) kB", text, re.M).group(1)) * 1024

    def rss_bytes(self):
        return self.status_bytes("VmRSS")

    def peak_rss_bytes(self):
        return self.status_bytes("VmHWM")

    def descriptor_count(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def access_log(self):
        """The access log's lines so far. Those of the last moment wait for others for 50 ms."""
        time.sleep(0.2)
        lines = self.access_log_file.read_text().splitlines()
        return [LogLine(*re.findall(r'"[^"]*"|\S+', line)) for line in lines]

    def warnings(self):
        return [line for line in self.lines if re.match(r"(WARN|ERROR)", line)]

    def __exit__(self, kind, value, trace):
        if kind is not None:
            print("        roundel's last words:")
            for line in self.lines[-15:]:
                self.world.say(f"| {line}")
            if self.access_log_file.exists():
                for line in self.access_log_file.read_text().splitlines()[-10:]:
                    self.world.say(f"| {line}")
            self.kill()
            return
        ended = self.child.poll()
        early = ended is not None and not self.may_have_ended
        expect(not early, f"roundel had ended with {ended}: {self.lines[-5:]}")
        expect_equal(self.stop(), 0, "roundel's exit code after TERM")


Answer = collections.namedtuple("Answer", "status head body figures")


def curl(world, *arguments, code=0):
    """Runs curl; gives the last answer's status, all heads, all bodies, and a dict of curl's own
    figures for each transfer."""
    folder = world.new_folder("curl")
    fixed = ["-sS", "--no-progress-meter", "--max-time", "60", "-D", "head", "-w", "%{stderr}%{json}\n"]
    done = subprocess.run(
        ["curl", *fixed, *[str(word) for word in arguments]],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    said = done.stderr.decode(errors="replace").splitlines()
    figures = [json.loads(line) for line in said if line.startswith("{")]
    complaints = [line for line in said if not line.startswith("{")]
    expect_equal(done.returncode, code, f"curl's exit code for {arguments} ({complaints})")
    expect(figures, f"curl printed no figures: {complaints}")
    head = folder / "head"
    return Answer(
        status=figures[-1]["http_code"],
        head=head.read_text(errors="replace") if head.exists() else "",
        body=done.stdout,
        figures=figures,
    )


def field_values(head, name):
    """All values of a field in a head as curl wrote it."""
    return [
        line.partition(":")[2].strip()
        for line in head.splitlines()
        if line.partition(":")[0].lower() == name.lower()
    ]


def digest_of_command(command, folder, stdin=None):
    """Runs a command; gives the count and the SHA-256 of the octets that it wrote."""
    digest = hashlib.sha256()
    count = 0
    child = subprocess.Popen(
        [str(word) for word in command],
        cwd=folder,
        stdin=stdin or subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    )
    with child:
        block = memoryview(bytearray(MIB))
        while size := child.stdout.readinto(block):
            digest.update(block[:size])
            count += size
        said = child.stderr.read().decode(errors="replace").strip()
    expect_equal(child.returncode, 0, f"exit code of {command[0]} ({said})")
    return count, digest.hexdigest()


def wait_until(condition, seconds, what):
    """Looks again until it is so; says what was still wrong when the time is over."""
    deadline = time.monotonic() + seconds
    while not condition():
        expect(time.monotonic() < deadline, f"not within {seconds} s: {what()}")
        time.sleep(0.02)


def mib(count):
    return f"{count / MIB:.2f} MiB"


def rate(count, seconds):
    return f"{count / MIB / seconds:.0f} MiB/s"
