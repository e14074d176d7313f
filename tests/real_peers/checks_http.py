"""curl in front, in the many ways that people use it; answers must be what the backend alone gives."""

import hashlib
import os
import re
import shutil
import threading
import time

import content
import harness
from harness import MIB, Roundel, check, curl, expect, expect_equal, field_values
from origin import Origin
from peers import HttpServer, Nginx, three_nginx


@check("all programs are there")
def programs(world):
    missing = [name for name in harness.PROGRAMS if shutil.which(name) is None]
    expect(not missing, f"missing: {', '.join(missing)}")
    expect(world.binary.is_file(), f"no binary at {world.binary}: cargo build --release --locked")


@check("--demo: three curls show the rotation")
def demo(world):
    with Roundel(world, [], "--demo") as proxy:
        answers = [curl(world, proxy.url) for _ in range(6)]
        texts = [answer.body.decode().strip() for answer in answers]
        world.say(" | ".join(texts[:3]))
        expect_equal({answer.status for answer in answers}, {200}, "statuses")
        expect_equal(len(set(texts[:3])), 3, "different answers among three")
        expect_equal(texts[3:], texts[:3], "the second round")


@check("a name that resolves only later: its backend comes in without a restart")
def late_name(world):
    hosts = world.new_folder("hosts") / "hosts"
    hosts.write_text("127.0.0.1 localhost\n")
    # A mount namespace of its own: only this roundel sees these hosts.
    namespace = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
    wrapper = [*namespace, "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', hosts]
    with Nginx(world) as nginx:
        backend = f"http://late.roundel.test:{nginx.port}"
        with Roundel(world, [backend], wrapper=wrapper) as proxy:
            answer = curl(world, f"{proxy.url}/hello")
            expect_equal(answer.status, 502, "the status before")
            expect(b"(name_unresolved)" in answer.body, f"{answer.body}")
            with hosts.open("a") as file:
                file.write("127.0.0.1 late.roundel.test\n")
            proxy.wait_for(r"late\.roundel\.test:\d+ is at 127\.0\.0\.1")
            expect_equal(curl(world, f"{proxy.url}/hello").status, 200, "the status after")
            expect_equal(len(proxy.warnings()), 1, "warnings: one, however often it was asked for")
            world.say(proxy.warnings()[0])


@check("rotation over three nginx backends is exact")
def rotation(world):
    with three_nginx(world) as backends, Roundel(world, [b.url for b in backends]) as proxy:
        one = curl(world, *[f"{proxy.url}/hello"] * 30)
        connections = sum(figure["num_connects"] for figure in one.figures)
        expect_equal(connections, 1, "client connections for 30 requests in one curl")
        for _ in range(9):
            curl(world, f"{proxy.url}/hello")
        lines = proxy.access_log()
        order = [line.backend for line in lines]
        expect_equal(len(order), 39, "access log lines")
        wanted = [backends[number % 3].authority for number in range(39)]
        expect_equal(order, wanted, "the order of backends")
        reused = sum(line.reuse == "reused" for line in lines)
        counts = [len(backend.requests()) for backend in backends]
        world.say(f"39 requests: {counts} per backend, {reused} on reused upstream connections")
        expect_equal(counts, [13, 13, 13], "requests per backend")
        expect_equal(reused, 36, "requests on reused upstream connections")


@check("GET, HEAD, conditional, range, compressed from nginx")
def ways_to_get(world):
    with Nginx(world) as nginx, Roundel(world, [nginx.url]) as proxy:
        text = b"the quick brown fox\n" * 500
        (nginx.files / "fox.txt").write_bytes(text)
        url = f"{proxy.url}/files/fox.txt"

        got = curl(world, url)
        expect_equal((got.status, got.body), (200, text), "GET")
        expect_equal(field_values(got.head, "Content-Length"), [str(len(text))], "Content-Length")
        expect_equal(field_values(got.head, "Server")[0][:6], "nginx/", "Server")
        direct = curl(world, f"{nginx.url}/files/fox.txt")
        same = [name for name in ("ETag", "Last-Modified", "Content-Type", "Accept-Ranges")]
        for name in same:
            expect_equal(field_values(got.head, name), field_values(direct.head, name), name)

        head = curl(world, "-I", url)
        expect_equal(head.status, 200, "HEAD")
        expect_equal(field_values(head.head, "Content-Length"), [str(len(text))], "HEAD's length")

        etag = field_values(got.head, "ETag")[0]
        unchanged = curl(world, "-H", f"If-None-Match: {etag}", url, url)
        expect_equal((unchanged.status, unchanged.body), (304, b""), "If-None-Match")
        expect_equal([f["num_connects"] for f in unchanged.figures], [1, 0], "connections")

        part = curl(world, "-r", "100-199", url)
        expect_equal((part.status, part.body), (206, text[100:200]), "a range")
        parts = curl(world, "-r", "0-9,100-109", url)
        expect_equal(parts.status, 206, "two ranges")
        expect(b"multipart/byteranges" in parts.head.encode(), "two ranges are multipart")
        beyond = curl(world, "-r", "999999-", url)
        expect_equal(beyond.status, 416, "a range beyond the end")

        packed = curl(world, "--compressed", url)
        expect_equal((packed.status, packed.body), (200, text), "gzip")
        expect_equal(field_values(packed.head, "Content-Encoding"), ["gzip"], "Content-Encoding")
        expect_equal(field_values(packed.head, "Transfer-Encoding"), ["chunked"], "gzip's framing")

        missing = curl(world, f"{proxy.url}/files/none")
        expect_equal(missing.status, 404, "a missing file")
        world.say("200, HEAD, 304, 206, 206 multipart, 416, gzip chunked, 404")


@check("POST with Expect: 100-continue, chunked uploads, early final answer")
def ways_to_send(world):
    with Origin() as origin, Roundel(world, [origin.url]) as proxy:
        body = world.new_folder("bodies") / "body"
        content.write_file(body, 3 * MIB + 17)
        sha = hashlib.sha256(body.read_bytes()).hexdigest()
        said = f"body {3 * MIB + 17} {sha}"

        begin = time.monotonic()
        expecting = curl(world, "--expect100-timeout", "30", "-H", "Expect: 100-continue",
                         "--data-binary", f"@{body}", f"{proxy.url}/echo")
        seconds = time.monotonic() - begin
        expect_equal(expecting.status, 200, "POST with Expect")
        expect(said.encode() in expecting.body, f"POST with Expect: {expecting.body[-200:]}")
        expect("100 Continue" in expecting.head, f"no 100 Continue came: {expecting.head}")
        expect(seconds < 10, f"POST with Expect took {seconds:.1f} s: curl waited in vain")

        chunked = curl(world, "-T", body, "-H", "Transfer-Encoding: chunked", "-H", "Expect:",
                       f"{proxy.url}/echo")
        expect(said.encode() in chunked.body, f"chunked upload: {chunked.body[-200:]}")
        expect(b"Transfer-Encoding: chunked" in chunked.body, "the backend saw it chunked")
        expect(b"Content-Length" not in chunked.body, "and without a length")

        both = curl(world, "-T", body, "-H", "Transfer-Encoding: chunked",
                    "-H", "Expect: 100-continue", f"{proxy.url}/echo")
        expect(said.encode() in both.body, f"chunked with Expect: {both.body[-200:]}")

        form = curl(world, "-d", "a=1", "-d", "b=2", f"{proxy.url}/echo")
        expect(b"body 7 " in form.body, f"a form: {form.body}")

        empty = curl(world, "-X", "POST", "-H", "Content-Length: 0", f"{proxy.url}/echo")
        expect(b"body 0 " in empty.body, f"an empty POST: {empty.body}")

        refused = curl(world, "--expect100-timeout", "30", "-H", "Expect: 100-continue",
                       "-T", body, f"{proxy.url}/refuse")
        expect_equal((refused.status, refused.body), (403, b"no\n"), "an early final answer")
        expect_equal(refused.figures[0]["size_upload"], 0, "octets sent after the refusal")
        world.say(f"3 MiB with a length, chunked, and with Expect ({seconds:.2f} s); 403 early")


@check("103 Early Hints reach curl before the answer")
def early_hints(world):
    with Origin() as origin, Roundel(world, [origin.url]) as proxy:
        got = curl(world, f"{proxy.url}/hints")
        statuses = re.findall(r"(?m)^HTTP/1\.1 (\d+)", got.head)
        expect_equal(statuses, ["103", "200"], "the heads that came")
        expect_equal(got.body, b"after the hints\n", "the body")


@check("curl --http1.0 gets chunked bodies without chunks")
def old_version(world):
    with Origin() as origin, Roundel(world, [origin.url]) as proxy:
        got = curl(world, "--http1.0", f"{proxy.url}/chunked/{MIB}")
        expect_equal(hashlib.sha256(got.body).hexdigest(), content.digest(MIB), "the body")
        expect_equal(field_values(got.head, "Transfer-Encoding"), [], "Transfer-Encoding")
        got = curl(world, "--http1.0", f"{proxy.url}/length/{MIB}")
        expect_equal(hashlib.sha256(got.body).hexdigest(), content.digest(MIB), "the body")
        expect_equal(field_values(got.head, "Content-Length"), [str(MIB)], "Content-Length")
        got = curl(world, f"{proxy.url}/until-close/{MIB}")
        expect_equal(hashlib.sha256(got.body).hexdigest(), content.digest(MIB), "until close")


@check("what the backend sees of curl's request, and what it must not see")
def forwarded_head(world):
    with Origin() as origin, Roundel(world, [origin.url + "/prefix"]) as proxy:
        got = curl(world, "--path-as-is", "-H", "X-Forwarded-For: 192.0.2.1",
                   "-H", "Connection: x-private", "-H", "X-Private: 1", "-H", "TE: gzip",
                   "-H", "Accept-Encoding;", f"{proxy.url}/a/..//b?q=%2F&r=a+b").body.decode()
        lines = got.splitlines()
        expect_equal(lines[0], "GET /prefix/a/..//b?q=%2F&r=a+b HTTP/1.1", "the request line")
        for line in [f"Host: 127.0.0.1:{proxy.port}", "X-Forwarded-For: 127.0.0.1",
                     "X-Forwarded-Proto: http", f"X-Forwarded-Host: 127.0.0.1:{proxy.port}",
                     "Via: 1.1 roundel", "Accept: */*"]:
            expect(line.lower() in got.lower().splitlines(), f"{line!r} is not in {lines}")
        for name in ["X-Private", "TE", "192.0.2.1", "x-private"]:
            expect(not re.search(rf"(?im)^{name}:|{name}$", got), f"{name!r} is in {lines}")

        through = curl(world, "-x", proxy.url, "http://site.example/path?x").body.decode()
        expect(through.startswith("GET /prefix/path?x HTTP/1.1\r\n"), f"absolute-form: {through}")
        expect("\r\nHost: site.example\r\n" in through, f"absolute-form's Host: {through}")
        expect("proxy-connection" not in through.lower(), f"Proxy-Connection: {through}")


@check("big heads: up to the limit they pass, beyond it 431 and 414")
def big_heads(world):
    with Origin() as origin, Roundel(world, [origin.url]) as proxy:
        fields = []
        for number in range(4):
            fields += ["-H", f"X-Big-{number}: {'b' * 3600}"]
        got = curl(world, *fields, f"{proxy.url}/echo")
        expect_equal(got.status, 200, "a head of 14 KiB")
        expect_equal(got.body.count(b"b" * 3600), 4, "large fields that arrived")
        too_big = curl(world, *fields, "-H", f"X-More: {'b' * 3600}", f"{proxy.url}/echo")
        expect_equal(too_big.status, 431, "a head of 18 KiB")
        too_long = curl(world, f"{proxy.url}/{'p' * 9000}")
        expect_equal(too_long.status, 414, "a target of 9 KB")
        world.say(too_big.body.decode().strip())
        world.say(too_long.body.decode().strip())


@check("keep-alive: one client connection for many requests; --parallel")
def keep_alive(world):
    with Nginx(world) as nginx, Roundel(world, [nginx.url]) as proxy:
        got = curl(world, f"{proxy.url}/hello?[1-200]")
        connections = sum(figure["num_connects"] for figure in got.figures)
        expect_equal((len(got.figures), connections), (200, 1), "transfers and connections")
        close = curl(world, "-H", "Connection: close", f"{proxy.url}/hello", f"{proxy.url}/hello")
        expect_equal([f["num_connects"] for f in close.figures], [1, 1], "with Connection: close")
        many = curl(world, "-Z", "--parallel-max", "50", f"{proxy.url}/hello?[1-500]")
        statuses = {figure["http_code"] for figure in many.figures}
        expect_equal((len(many.figures), statuses), (500, {200}), "parallel transfers")
        reused = sum(line.reuse == "reused" for line in proxy.access_log())
        world.say(f"702 requests, {reused} on reused upstream connections")


@check("python3 -m http.server: HTTP/1.0 behind, one request per connection")
def http_server(world):
    with HttpServer(world) as server, Roundel(world, [server.url]) as proxy:
        content.write_file(server.folder / "file", 5 * MIB)
        got = curl(world, "-o", "/dev/null", f"{proxy.url}/file", f"{proxy.url}/file")
        expect_equal(hashlib.sha256(got.body).hexdigest(), content.digest(5 * MIB), "the file")
        # Its answers have a length, so our client's connection outlives the backend's.
        expect_equal([f["num_connects"] for f in got.figures], [1, 0], "client connections")
        listing = curl(world, f"{proxy.url}/")
        expect(b"Directory listing" in listing.body, f"the listing: {listing.body}")
        expect_equal(curl(world, f"{proxy.url}/none").status, 404, "a missing file")
        expect_equal(curl(world, "-X", "PUT", f"{proxy.url}/x").status, 501, "PUT")


@check("a refused backend is passed over; with all refused there is 502")
def refused(world):
    with Nginx(world, "alpha") as alive, Nginx(world, "beta") as dead:
        dead.kill()
        with Roundel(world, [dead.url, alive.url]) as proxy:
            bodies = {curl(world, f"{proxy.url}/hello").body for _ in range(10)}
            expect_equal(bodies, {b"hello from alpha\n"}, "answers")
        with Roundel(world, [dead.url]) as proxy:
            got = curl(world, f"{proxy.url}/hello")
            expect_equal(got.status, 502, "status")
            world.say(got.body.decode().strip())
            world.say(field_values(got.head, "Proxy-Status")[0])
            expect(b"(connect_refused)" in got.body, f"the reason: {got.body}")
            expect_equal(proxy.access_log()[-1].reason, "connect_refused", "the access log's reason")


@check("TERM during a download: it ends whole, and the exit code is 0")
def stop(world):
    with Nginx(world) as nginx, Roundel(world, [nginx.url]) as proxy:
        content.write_file(nginx.files / "big", 48 * MIB)
        command = ["curl", "-sS", "--limit-rate", "24M", f"{proxy.url}/files/big"]
        proxy.may_have_ended = True
        threading.Timer(0.7, proxy.child.terminate).start()
        count, sha = harness.digest_of_command(command, nginx.folder)
        expect_equal((count, sha), (48 * MIB, content.digest(48 * MIB)), "the download")
        expect_equal(proxy.child.wait(5), 0, "exit code")
        world.say(f"{proxy.lines[-2]}")
