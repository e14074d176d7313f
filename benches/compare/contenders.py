"""The three proxies, and the origins behind them: as one would set them up who knows them well.

Every proxy is one process group on a core of its own, so that whatever it starts is counted with it and
ends with it.
"""

import os

from harness import Failure
from nginx import Group
from peers import free_port

HOST = "compare.test"
SMALL_BYTES = 100
KIB, MIB = 1024, 1024 * 1024

# For each proxy so many connections, so that none has a larger table than another.
CONNECTIONS_MAX = 12_000
# Kept open to each origin: more than the largest load has clients.
POOL_MAX = 4096

# Another process may have taken the port since the kernel named it.
STARTS_MAX = 5

COMMON_NGINX = """
daemon off;
{user}
pid {folder}/pid;
error_log {folder}/error.log crit;
worker_rlimit_nofile {connections};
events {{ worker_connections {connections}; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000000;
"""

ORIGIN_CONF = "worker_processes {workers};" + COMMON_NGINX + """
    # Longer than any proxy keeps a connection: none is closed under it.
    keepalive_timeout 600s;
    sendfile on;
    tcp_nodelay on;
    open_file_cache max=16;
    default_type application/octet-stream;
    {certificate}
    {servers}
}}
"""

ORIGIN_SERVER = """
    server {{
        listen 127.0.0.1:{port} backlog=4096 {tls};
        add_header X-Origin {name};
        root {files};
        location = /small {{ return 200 "{small}"; }}
        location = /seen {{ return 200 "$http_host $http_x_forwarded_for"; }}
    }}
"""

# One cipher suite for all: otherwise each library would choose its own.
ORIGIN_CERTIFICATE = """
    ssl_certificate {tls.certificate};
    ssl_certificate_key {tls.key};
    ssl_protocols TLSv1.3;
    ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
"""

NGINX_CONF = "worker_processes 1;" + COMMON_NGINX + """
    keepalive_timeout 75s;
    upstream origins {{
        {servers}
        keepalive {pool};
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass {scheme}://origins;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            # Large bodies stay in memory, and there is enough of it.
            proxy_max_temp_file_size 0;
            proxy_buffers 16 32k;
            proxy_busy_buffers_size 128k;
            {tls}
        }}
    }}
}}
"""

NGINX_TLS = """
            proxy_ssl_protocols TLSv1.3;
            proxy_ssl_verify on;
            proxy_ssl_trusted_certificate {tls.authority};
            proxy_ssl_name localhost;
            proxy_ssl_server_name on;
"""

HAPROXY_CONF = """
global
    nbthread 1
    maxconn {connections}
    # Fewer descriptors than that make a warning, not an end.
    no strict-limits
defaults
    mode http
    maxconn {connections}
    timeout connect 5s
    timeout client 75s
    timeout server 75s
    timeout http-keep-alive 75s
    option forwardfor
    http-reuse always
frontend clients
    bind 127.0.0.1:{port} backlog 4096
    default_backend origins
backend origins
    balance roundrobin
    {servers}
"""

HAPROXY_TLS = "ssl verify required ca-file {tls.authority} verifyhost localhost sni str(localhost)"


class Server(Group):
    """Listens while its `with` block runs, on `cores`; `port_count` ports are found for it."""

    port_count = 1

    def __init__(self, world, cores, name):
        self.folder = world.new_folder(name)
        for left in reversed(range(STARTS_MAX)):
            self.ports = [free_port() for _ in range(self.port_count)]
            command = ["taskset", "-c", ",".join(map(str, cores)), *self.command()]
            # If this process should be killed outright, its children are told to end.
            super().__init__(["setpriv", "--pdeathsig", "TERM", *command], self.folder)
            try:
                self.wait_until_it_accepts(("127.0.0.1", self.ports[0]))
                return
            except Failure:
                if not left:
                    raise Failure(f"does not start: {self.lines[-5:]}") from None
            except BaseException:
                self.kill()
                raise

    def __exit__(self, *_exception):
        # None of them has anything left to say.
        self.kill()

    @property
    def port(self):
        return self.ports[0]

    def write(self, name, template, **values):
        path = self.folder / name
        path.write_text(template.format(
            folder=self.folder, connections=CONNECTIONS_MAX, pool=POOL_MAX,
            # As root, nginx would give its workers to somebody who cannot read our folder.
            user="user root;" if os.geteuid() == 0 else "", **values,
        ))
        return path

    def nginx(self, config):
        return ["nginx", "-e", self.folder / "start.log", "-p", self.folder, "-c", config]


class Origins(Server):
    """One nginx that is three origins, at three ports. `tls` are certificates, or None."""

    port_count = 3

    def __init__(self, world, cores, tls=None):
        self.tls, self.workers = tls, cores.threads
        super().__init__(world, cores.load, "origins")

    def command(self):
        for name, size in (("10k", 10 * KIB), ("1m", MIB)):
            (self.folder / name).write_bytes(b"x" * size)
        servers = [
            ORIGIN_SERVER.format(port=port, name=place, files=self.folder, small="x" * SMALL_BYTES,
                                 tls="ssl" if self.tls else "")
            for place, port in enumerate(self.ports)
        ]
        certificate = ORIGIN_CERTIFICATE.format(tls=self.tls) if self.tls else ""
        return self.nginx(self.write("nginx.conf", ORIGIN_CONF, workers=self.workers,
                                     certificate=certificate, servers="".join(servers)))


class Proxy(Server):
    def __init__(self, world, cores, origins):
        self.world, self.origins, self.tls = world, origins, origins.tls
        super().__init__(world, [cores.proxy], type(self).__name__)


class Roundel(Proxy):
    title = "roundel"

    def command(self):
        prefix = "https://localhost" if self.tls else "http://127.0.0.1"
        ca = ["--ca", self.tls.authority] if self.tls else []
        backends = [f"{prefix}:{port}" for port in self.origins.ports]
        listen = f"127.0.0.1:{self.port}"
        return [self.world.binary, "--log", "error", "--listen", listen, *ca, *backends]


class Nginx(Proxy):
    title = "nginx"

    def command(self):
        return self.nginx(self.write(
            "nginx.conf", NGINX_CONF, port=self.port,
            servers=" ".join(f"server 127.0.0.1:{port};" for port in self.origins.ports),
            scheme="https" if self.tls else "http",
            tls=NGINX_TLS.format(tls=self.tls) if self.tls else "",
        ))


class Haproxy(Proxy):
    title = "HAProxy"

    def command(self):
        tls = HAPROXY_TLS.format(tls=self.tls) if self.tls else ""
        servers = [
            f"server s{place} 127.0.0.1:{port} {tls}" for place, port in enumerate(self.origins.ports)
        ]
        return ["haproxy", "-db", "-f",
                self.write("haproxy.cfg", HAPROXY_CONF, port=self.port, servers="\n    ".join(servers))]


CONTENDERS = [Roundel, Nginx, Haproxy]
