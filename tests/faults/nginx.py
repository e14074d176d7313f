"""nginx as it runs in production, a master with a worker, so that it can be killed or frozen whole.

GET /quick is answered by nginx itself with the id of the request; /held is passed to an application
that takes its time. nginx writes its access log when a request is over, too late for one that was cut
by kill -9. Therefore /held has a rewrite whose trace goes to the error log, unbuffered and at the
moment when the request head has arrived: these arrivals are what the backends have seen.
"""

import contextlib
import os
import re
import signal
import socket
import time

from harness import Failure, Process
from peers import free_port

CONF = """
daemon off;
{user}
worker_processes 1;
pid {folder}/pid;
error_log {folder}/arrivals.log notice;
events {{ worker_connections 4096; }}
http {{
    log_format seen '$msec $arg_id';
    access_log {access_log};
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 10000000;
    # The second is for connections that have never had a request: proxies open some for later.
    keepalive_timeout {keepalive};
    client_header_timeout {keepalive};
    upstream application {{ server 127.0.0.1:{application}; keepalive 64; }}
    server {{
        listen {address}:{port} backlog=4096;
        location = /quick {{ return 200 "$arg_id\\n"; }}
        location = /held {{
            rewrite_log on;
            rewrite ^ /held break;
            proxy_pass http://application;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}
}}
"""

ARRIVAL = re.compile(r'rewritten data: .* request: "POST \S*[?&]id=([\w-]+)')
START_SECONDS_MAX = 10


class Group(Process):
    """A process with its children, in a process group of its own: a signal goes to all of them."""

    def __init__(self, command, folder):
        super().__init__(command, folder, start_new_session=True)

    def signal(self, number):
        os.killpg(self.pid, number)

    def kill(self):
        """The whole group, also where its first process has ended before the others."""
        with contextlib.suppress(ProcessLookupError):
            self.signal(signal.SIGKILL)
        self.child.wait()

    def wait_until_it_accepts(self, address):
        """Somebody may be listening there already: it counts only while this process runs."""
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline and self.child.poll() is None:
            with contextlib.suppress(OSError):
                socket.create_connection(address, timeout=5).close()
                return
            time.sleep(0.01)
        self.kill()
        raise Failure(f"{self.child.args[0]} does not start: {self.lines[-5:]}")


class Backend:
    """One nginx that can be killed and started again at the same port."""

    def __init__(self, world, name, address="127.0.0.1", port=None, application=9, keepalive="600s",
                 access_log=False):
        self.folder = world.new_folder(name)
        self.address, self.port = address, port or free_port()
        self.authority = f"{address}:{self.port}"
        self.url = f"http://{self.authority}"
        self._config = self.folder / "nginx.conf"
        self._config.write_text(CONF.format(
            folder=self.folder, address=address, port=self.port, application=application,
            keepalive=keepalive, access_log=f"{self.folder}/access.log seen" if access_log else "off",
            user="user root;" if os.geteuid() == 0 else "",
        ))
        self.start()

    def start(self):
        errors = self.folder / "start.log"
        self.group = Group(["nginx", "-e", errors, "-p", self.folder, "-c", self._config], self.folder)
        self.group.wait_until_it_accepts((self.address, self.port))

    def kill(self):
        self.group.kill()

    def freeze(self):
        self.group.signal(signal.SIGSTOP)

    def thaw(self):
        self.group.signal(signal.SIGCONT)

    def arrivals(self):
        """The ids of the POST requests whose head has arrived, in that order, over all its lives."""
        return ARRIVAL.findall((self.folder / "arrivals.log").read_text(errors="replace"))

    def seen(self):
        """When it ended and what its id was, for each request in the access log."""
        lines = [line.split() for line in (self.folder / "access.log").read_text().splitlines()]
        return [(float(line[0]), line[1]) for line in lines]

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        # What is frozen cannot end otherwise, and none of them has anything left to say.
        self.group.kill()


@contextlib.contextmanager
def three(world, **settings):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Backend(world, name, **settings)) for name in ("a", "b", "c")]
