"""A load of many clients that runs beside the scenario, and what it saw in the end."""

import collections
import json
import pathlib
import signal
import subprocess
import sys

from harness import Failure

CLIENT = pathlib.Path(__file__).resolve().parent / "client.py"

# What a load does unless it is told otherwise. `kinds` are pairs of method and path, `weights` how
# often each of them is chosen, `pause` the shortest and the longest pause of a client in seconds.
# With `together` all clients ask at the same moment and pause alike; without, each for itself. With
# `trace` the result has, for each request, when it began and ended on the monotonic clock, the client's
# port, and its id.
DEFAULTS = {
    "seed": 1,
    "clients": 64,
    "seconds": 3600,
    "requests": 1 << 40,
    "kinds": [["GET", "/quick"]],
    "weights": [1],
    "pause": [0, 0],
    "together": False,
    "timeout": 10,
    "address": "127.0.0.1",
    "persistent": True,
    "trace": False,
}

# How long the last open requests may take after a load was told to stop, in seconds.
STOP_SECONDS_MAX = 30


class FailedRequest(collections.namedtuple("FailedRequest", "method id outcome")):
    """What a client asked for and did not get."""

    def __str__(self):
        return f"{self.method} {self.id} {self.outcome}"


TracedRequest = collections.namedtuple("TracedRequest", "begun ended port id")


class Load:
    """Runs while its `with` block does, or until `wait` has come back."""

    def __init__(self, world, port, **spec):
        folder = world.new_folder("load")
        specification = folder / "specification.json"
        specification.write_text(json.dumps({**DEFAULTS, "port": port, **spec}))
        self._output = folder / "result.json"
        self._errors = folder / "errors"
        with self._output.open("wb") as output, self._errors.open("wb") as errors:
            self._child = subprocess.Popen(
                [sys.executable, CLIENT, specification], stdin=subprocess.DEVNULL,
                stdout=output, stderr=errors,
            )

    def is_running(self):
        return self._child.poll() is None

    def wait(self, seconds):
        """Until it ends by itself."""
        try:
            self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failure(f"the load was not done after {seconds} s") from None
        return self._result()

    def stop(self):
        """No new requests; the open ones are awaited."""
        self._child.send_signal(signal.SIGTERM)
        return self.wait(STOP_SECONDS_MAX)

    def _result(self):
        if self._child.returncode != 0:
            raise Failure(f"the load broke: {self._errors.read_text()[-2000:]}")
        return Result(json.loads(self._output.read_text()))

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        if self.is_running():
            self._child.kill()
            self._child.wait()


class Result:
    """What the clients saw."""

    def __init__(self, seen):
        self.seconds = seen["seconds"]
        self.counts = collections.Counter(seen["counts"])
        self.failures = [FailedRequest(*failure) for failure in seen["failures"]]
        self.good_posts = seen["good_posts"]
        self.trace = [TracedRequest(*traced) for traced in seen["trace"]]
        self.p50_ms, self.p99_ms, self.max_ms = seen["ms_p50"], seen["ms_p99"], seen["ms_max"]

    def total(self, method=""):
        return sum(count for what, count in self.counts.items() if what.startswith(method))

    def failed(self, method):
        return [failure for failure in self.failures if failure.method == method]

    def per_second(self):
        return self.total() / self.seconds

    def row(self, name, **own):
        """What a comparison shows of any proxy; `own` is what only this scenario counts."""
        return {
            "proxy": name,
            "requests/s": f"{self.per_second():.0f}",
            "GETs": self.total("GET"),
            "GETs failed": len(self.failed("GET")),
            "POSTs": self.total("POST"),
            "POSTs failed": len(self.failed("POST")),
            **own,
            "p50 ms": f"{self.p50_ms:.1f}",
            "p99 ms": f"{self.p99_ms:.1f}",
            "max ms": f"{self.max_ms:.0f}",
        }

    def outcomes(self):
        """How often each thing went wrong, in words."""
        wrong = [f"{what} {count}" for what, count in sorted(self.counts.items()) if "good" not in what]
        return ", ".join(wrong) or "no failures"
