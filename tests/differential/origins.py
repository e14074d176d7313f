"""Real origin servers, each with an application that writes down what was read."""

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent

# How long a server may take until it accepts, in seconds.
START_SECONDS_MAX = 20

# nginx has no application: it writes down what it passes on to a second server inside itself, because
# only then it reads the body.
NGINX_CONF = """
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log crit;
events {{ worker_connections 256; }}
http {{
    log_format read escape=json
        '{{"case":"$http_x_case","method":"$request_method","target":"$request_uri",'
        '"host":"$http_host","body":"$request_body","status":"$status"}}';
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_body_buffer_size 1m;
    server {{
        listen 127.0.0.1:{port};
        access_log {log} read;
        location / {{ proxy_pass http://unix:{folder}/inner; }}
    }}
    server {{
        listen unix:{folder}/inner;
        location / {{ return 200 "ok\\n"; }}
    }}
}}
"""


class Origin:
    """One server; a context manager that ends it."""

    def __init__(self, name, folder, command, log, port, listener=None):
        self.name = name
        self.port = port
        self.log = log
        self.output = folder / "output"
        environment = os.environ | {"ECHO_LOG": str(log), "PYTHONDONTWRITEBYTECODE": "1"}
        # uvicorn, hypercorn and gunicorn import the application from here.
        environment["PYTHONPATH"] = str(HERE)

        with self.output.open("wb") as output:
            self.child = subprocess.Popen(
                [str(word) for word in command],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=() if listener is None else (listener.fileno(),),
            )
        if listener is not None:
            listener.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.terminate()
        try:
            self.child.wait(5)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()

    def await_start(self):
        """Until it answers: a listening socket that was handed over accepts before anybody reads."""
        end = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < end and self.child.poll() is None:
            with contextlib.suppress(OSError):
                with socket.create_connection(("127.0.0.1", self.port), timeout=1) as client:
                    client.sendall(b"GET /start HTTP/1.1\r\nHost: a\r\nX-Case: start\r\n"
                                   b"Connection: close\r\n\r\n")
                    if client.recv(12) == b"HTTP/1.1 200":
                        return
            time.sleep(0.05)
        sys.exit(f"{self.name} does not start:\n{self.output.read_text(errors='replace')}")

    def read(self):
        """The requests that it has read, as dictionaries."""
        text = self.log.read_text(encoding="latin-1") if self.log.exists() else ""
        requests = [json.loads(line) for line in text.splitlines()]
        # nginx writes down also what it refused, or what broke off before it was whole.
        return [r for r in requests if r.pop("status", "200") == "200" and r["case"] != "start"]


def start_all(folder, python):
    """Starts all of them; gives them as they come, so that the caller can end each."""
    yield start_nginx(new_folder(folder, "nginx"))
    for name in ("node", "gunicorn", "uvicorn/h11", "uvicorn/httptools", "aiohttp", "waitress",
                 "hypercorn"):
        own = new_folder(folder, name.replace("/", "-"))
        log = own / "log"
        listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        port = listener.getsockname()[1]
        words = command(name, listener.fileno(), log, python)
        yield Origin(name, own, words, log, port, listener)


def command(name, fd, log, python):
    """How a server is started on a listening socket that it inherits."""
    scripts = python.parent
    server, _, parser = name.partition("/")
    return {
        "node": ["node", HERE / "echo.js", fd, log],
        "gunicorn": [scripts / "gunicorn", "echo:wsgi", "--bind", f"fd://{fd}", "--threads", "4",
                     "--worker-class", "gthread", "--log-level", "critical"],
        "uvicorn": [scripts / "uvicorn", "echo:asgi", "--fd", fd, "--log-level", "error",
                    "--http", parser],
        "aiohttp": [python, HERE / "echo.py", "aiohttp", fd, log],
        "waitress": [python, HERE / "echo.py", "waitress", fd, log],
        "hypercorn": [scripts / "hypercorn", "echo:asgi", "--bind", f"fd://{fd}",
                      "--log-level", "critical"],
    }[server]


def new_folder(folder, name):
    (folder / name).mkdir()
    return folder / name


def start_nginx(folder):
    # nginx cannot be given a socket, nor asked for any free port.
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    config = folder / "nginx.conf"
    log = folder / "log"
    config.write_text(NGINX_CONF.format(folder=folder, port=port, log=log))
    command = ["nginx", "-e", folder / "error.log", "-p", folder, "-c", config]
    return Origin("nginx", folder, command, log, port)
