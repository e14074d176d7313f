"""nginx, HAProxy and Caddy in roundel's place, as people who know them well would set them up.

Connections to backends are kept, requests that may be sent again are, and a backend that fails three
times leaves the rotation for a second. That second is kinder to them than their defaults: with ten,
backends that are killed in turn are soon all out at once. nginx stands here twice, because it takes a
kept connection that the backend closed for a failure of the backend: with the checks it loses requests
where backends close early, and without them it asks a dead backend again and again.
"""

import os

from nginx import Group
from peers import free_port

NGINX_CONF = """
daemon off;
{user}
worker_processes auto;
pid {folder}/pid;
error_log {folder}/error.log error;
worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000;
    upstream backends {{
        zone backends 256k;
        {servers}
        keepalive 512;
        keepalive_requests 1000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://backends;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_connect_timeout 2s;
            proxy_next_upstream error timeout;
            proxy_next_upstream_tries 3;
        }}
    }}
}}
"""

HAPROXY_CONF = """
global
    maxconn 8000
defaults
    mode http
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    option redispatch 1
    retries 3
    retry-on conn-failure empty-response
    http-reuse always
frontend clients
    bind 127.0.0.1:{port} backlog 4096
    default_backend backends
backend backends
    balance roundrobin
    http-request disable-l7-retry unless METH_GET
    default-server check inter 1s fastinter 500ms downinter 500ms rise 1 fall 2
    default-server observe layer4 error-limit 3 on-error mark-down
    {servers}
"""

CADDYFILE = """
{{
    admin off
    auto_https off
    log {{
        output discard
    }}
}}
http://:{port} {{
    bind 127.0.0.1
    reverse_proxy {servers} {{
        lb_policy round_robin
        lb_try_duration 5s
        lb_try_interval 50ms
        fail_duration 1s
        max_fails 3
        transport http {{
            dial_timeout 2s
            keepalive_idle_conns_per_host 512
        }}
    }}
}}
"""


class Peer(Group):
    """Listens while its `with` block runs. `backends` are URLs."""

    def __init__(self, world, backends):
        self.folder = world.new_folder(type(self).__name__)
        self.port = free_port()
        authorities = [url.removeprefix("http://") for url in backends]
        super().__init__(self.command(authorities), self.folder)
        self.wait_until_it_accepts(("127.0.0.1", self.port))

    def write(self, name, template, **values):
        path = self.folder / name
        path.write_text(template.format(folder=self.folder, port=self.port, **values))
        return path


class Nginx(Peer):
    checks = "max_fails=3 fail_timeout=1s"

    def command(self, authorities):
        servers = [f"server {authority} {self.checks};" for authority in authorities]
        config = self.write("nginx.conf", NGINX_CONF, servers=" ".join(servers),
                            user="user root;" if os.geteuid() == 0 else "")
        return ["nginx", "-e", self.folder / "error.log", "-p", self.folder, "-c", config]


class NginxWithoutChecks(Nginx):
    checks = "max_fails=0"


class Haproxy(Peer):
    def command(self, authorities):
        servers = [f"server s{place} {authority}" for place, authority in enumerate(authorities)]
        return ["haproxy", "-db", "-f",
                self.write("haproxy.cfg", HAPROXY_CONF, servers="\n    ".join(servers))]


class Caddy(Peer):
    def command(self, authorities):
        config = self.write("Caddyfile", CADDYFILE, servers=" ".join(authorities))
        home = [f"{name}={self.folder}" for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")]
        return ["env", *home, "caddy", "run", "--config", config, "--adapter", "caddyfile"]


PEERS = {
    "nginx": Nginx,
    "nginx, no checks": NginxWithoutChecks,
    "HAProxy": Haproxy,
    "Caddy": Caddy,
}
