"""Real servers as backends: nginx, `python3 -m http.server`, `openssl s_server`; certificates."""

import contextlib
import socket
import subprocess
import sys

from harness import Failure, Process, expect_equal

NGINX_CONF = """
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log warn;
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
    log_format peers '$ssl_protocol $ssl_server_name $ssl_session_reused $host "$request" $status';
    access_log {access_log};
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 0;
    keepalive_requests 10000000;
    keepalive_timeout 600s;
    sendfile on;
    tcp_nodelay on;
    gzip_types text/plain;
    # A request with a Via field, which roundel adds, gets nothing compressed otherwise.
    gzip_proxied any;
    gzip_min_length 1;
    types {{ text/plain txt; }}
    default_type application/octet-stream;
    map $http_upgrade $connection_field {{ default upgrade; '' ''; }}
    server {{
        listen 127.0.0.1:{port} backlog=4096 {tls};
        {certificate}
        location = /hello {{ return 200 "hello from {name}\\n"; }}
        location /files/ {{ alias {files}/; gzip on; }}
        location /store/ {{ alias {files}/; dav_methods PUT DELETE; }}
        location /origin/ {{
            proxy_pass {origin}/;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_field;
            proxy_buffering off;
            proxy_request_buffering off;
        }}
    }}
}}
"""


class Nginx(Process):
    """One nginx, one process (so that kill -9 takes all of it), one server, one folder."""

    def __init__(self, world, name="nginx", tls=None, protocols="TLSv1.2 TLSv1.3", origin=None,
                 access_log=True):
        self.folder = world.new_folder(name)
        self.files = self.folder / "files"
        self.files.mkdir()
        self.scheme = "https" if tls else "http"
        certificate = f"""
            ssl_certificate {tls.certificate};
            ssl_certificate_key {tls.key};
            ssl_protocols {protocols};
            ssl_session_cache shared:sessions:1m;
        """ if tls else ""
        log = self.folder / "access.log"
        settings = {
            "folder": self.folder,
            "name": name,
            "access_log": f"{log} peers" if access_log else "off",
            "tls": "ssl" if tls else "",
            "certificate": certificate,
            "files": self.files,
            "origin": origin.url if origin else "http://127.0.0.1:9",
        }
        self._start(settings)

    def _start(self, settings):
        """nginx cannot be asked for any free port: find one, and try again if it was taken."""
        for _ in range(5):
            self.port = free_port()
            config = self.folder / "nginx.conf"
            config.write_text(NGINX_CONF.format(port=self.port, **settings))
            super().__init__(
                ["nginx", "-e", self.folder / "error.log", "-p", self.folder, "-c", config],
                self.folder,
            )
            if self._accepts():
                self.authority = f"127.0.0.1:{self.port}"
                self.url = f"{self.scheme}://{self.authority}"
                return
            self.kill()
        raise Failure(f"nginx does not start: {(self.folder / 'error.log').read_text()}")

    def _accepts(self):
        for _ in range(100):
            if self.child.poll() is not None:
                return False
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
                return True
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.child.wait(0.05)
        return False

    def requests(self):
        """The access log: protocol, server name, session reused, host, request, status."""
        return (self.folder / "access.log").read_text().splitlines()


class HttpServer(Process):
    """`python3 -m http.server`: HTTP/1.0, one request per connection."""

    def __init__(self, world):
        self.folder = world.new_folder("http-server")
        command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]
        super().__init__(command, self.folder)
        self.port = int(self.wait_for(r"Serving HTTP on 127\.0\.0\.1 port (\d+)").group(1))
        self.url = f"http://127.0.0.1:{self.port}"


class OpensslServer(Process):
    """`openssl s_server`: one connection at a time, HTTP/1.0, bodies that end with the close."""

    def __init__(self, world, tls, *options):
        self.folder = world.new_folder("s_server")
        command = ["openssl", "s_server", "-accept", "127.0.0.1:0"]
        command += ["-cert", tls.certificate, "-key", tls.key, *options]
        super().__init__(command, self.folder)
        self.port = int(self.wait_for(r"ACCEPT 127\.0\.0\.1:(\d+)").group(1))
        self.url = f"https://localhost:{self.port}"


class Certificates:
    """An authority of our own and one server certificate from it, made by the openssl command."""

    def __init__(self, world, algorithm="ec"):
        self.folder = world.new_folder("certificates")
        self.authority = self.folder / "authority.pem"
        self.certificate = self.folder / "server.pem"
        self.key = self.folder / "server.key"
        new_key = {
            "ec": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
            "rsa": ["-newkey", "rsa:2048", "-nodes"],
        }[algorithm]
        openssl(self.folder, "req", "-x509", *new_key, "-subj", f"/CN=Authority {self.folder.name}",
                "-days", "2", "-keyout", "authority.key", "-out", self.authority,
                "-addext", "keyUsage=critical,keyCertSign")
        openssl(self.folder, "req", *new_key, "-subj", "/CN=localhost",
                "-keyout", self.key, "-out", "server.csr")
        (self.folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        openssl(self.folder, "x509", "-req", "-in", "server.csr", "-days", "2",
                "-CA", self.authority, "-CAkey", "authority.key", "-CAcreateserial",
                "-extfile", "names", "-out", self.certificate)


def openssl(folder, *arguments):
    done = subprocess.run(["openssl", *map(str, arguments)], cwd=folder, capture_output=True,
                          stdin=subprocess.DEVNULL, check=False)
    expect_equal(done.returncode, 0, f"exit code of openssl {arguments} ({done.stderr.decode()})")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextlib.contextmanager
def three_nginx(world, **settings):
    """Three nginx backends that name themselves in their answers."""
    with contextlib.ExitStack() as stack:
        names = ["alpha", "beta", "gamma"]
        yield [stack.enter_context(Nginx(world, name, **settings)) for name in names]
