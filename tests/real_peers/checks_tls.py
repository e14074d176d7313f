"""TLS backends: nginx and openssl's own server, certificates from the openssl command."""

import hashlib

import content
from harness import MIB, Roundel, check, curl, expect, expect_equal, field_values
from peers import Certificates, HttpServer, Nginx, OpensslServer


@check("nginx with TLS: names, sessions, versions, the Host that it sees")
def nginx_tls(world):
    for protocols in ["TLSv1.2", "TLSv1.3"]:
        tls = Certificates(world, "ec")
        with Nginx(world, tls=tls, protocols=protocols) as nginx:
            backend = f"https://localhost:{nginx.port}"
            with Roundel(world, [backend], "--ca", tls.authority) as proxy:
                for _ in range(2):
                    curl(world, f"{proxy.url}/hello", f"{proxy.url}/hello")
                # Enough at once to need more than one upstream connection: sessions are resumed.
                curl(world, "-Z", "--parallel-immediate", f"{proxy.url}/hello?[1-20]")
                expect_equal([line.status for line in proxy.access_log()], ["200"] * 24, "statuses")
            lines = [line.split() for line in nginx.requests()]
            expect_equal(len(lines), 24, "requests that nginx saw")
            expect_equal({line[0] for line in lines}, {protocols}, "protocol")
            expect_equal({line[1] for line in lines}, {"localhost"}, "server name (SNI)")
            expect_equal({line[3] for line in lines}, {"localhost"}, "Host")
            resumed = sum(line[2] == "r" for line in lines)
            world.say(f"{protocols}: 24 requests, {resumed} over a resumed session")


@check("nginx with an RSA certificate and an address for a name")
def rsa_and_address(world):
    tls = Certificates(world, "rsa")
    with Nginx(world, tls=tls) as nginx:
        with Roundel(world, [nginx.url], "--ca", tls.authority) as proxy:
            expect_equal(curl(world, f"{proxy.url}/hello").status, 200, "status")
        world.say(nginx.requests()[-1])


@check("openssl s_server -WWW and -www")
def openssl_server(world):
    tls = Certificates(world)
    with OpensslServer(world, tls, "-WWW") as server:
        content.write_file(server.folder / "file", 5 * MIB)
        with Roundel(world, [server.url], "--ca", tls.authority) as proxy:
            for _ in range(3):
                got = curl(world, f"{proxy.url}/file")
                expect_equal(hashlib.sha256(got.body).hexdigest(), content.digest(5 * MIB), "body")
            expect_equal(field_values(got.head, "Content-Length"), [], "Content-Length")
    with OpensslServer(world, tls, "-www", "-tls1_2") as server:
        with Roundel(world, [server.url], "--ca", tls.authority) as proxy:
            got = curl(world, f"{proxy.url}/")
            expect(b"ALPN protocol" in got.body or b"TLSv1.2" in got.body, f"status: {got.body}")
            world.say("5 MiB three times with -WWW; the status page with -www -tls1_2")


@check("a missing or unknown authority, and no TLS at all, are refused")
def refused_certificates(world):
    tls = Certificates(world)
    stranger = Certificates(world)
    with Nginx(world, tls=tls) as nginx, HttpServer(world) as plain:
        cases = [
            (f"https://localhost:{nginx.port}", [], "tls_untrusted_certificate"),
            (f"https://localhost:{nginx.port}", ["--ca", stranger.authority],
             "tls_untrusted_certificate"),
            (f"https://localhost:{plain.port}", ["--ca", tls.authority], "tls_handshake_failed"),
        ]
        for backend, options, reason in cases:
            with Roundel(world, [backend], *options) as proxy:
                got = curl(world, f"{proxy.url}/hello")
                expect_equal(got.status, 502, f"status for {backend} {options}")
                text = got.body.decode().strip()
                world.say(text)
                expect(f"({reason})" in text, f"the reason for {backend} {options}: {text}")
                expect(proxy.warnings(), f"no warning for {backend}: {proxy.lines}")
        expect_equal(nginx.requests(), [], "requests that nginx saw")
