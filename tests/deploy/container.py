"""The static binary of the Dockerfile, in a directory that holds nothing else.

There is no container engine here, so the recipe is followed by hand: the same build, and chroot. What
is asked is what a static program may lack: names, by file and by server, and whom to trust.
"""

import contextlib
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import threading

import lab
from harness import curl, expect
from server import Server

PORT = 8000
NAME = "origin.lab.example"
TYPE_A = 1


def scenario(world, report):
    folder = world.new_folder("empty")
    shutil.copy(build(), folder / "roundel")
    host = lab.Host()
    try:
        with host.entered(), Server(address="127.0.0.2", port=3001):
            check(world, host, folder, report, "--demo", status=200)
            check(world, host, folder, report, "http://127.0.0.2:3001", status=200)
            with name_server(NAME, "127.0.0.2") as questions:
                (folder / "etc").mkdir()
                (folder / "etc" / "resolv.conf").write_text("nameserver 127.0.0.1\n")
                check(world, host, folder, report, f"http://{NAME}:3001", status=200)
            report.expect(questions, "the name server was not asked")
            (folder / "etc" / "hosts").write_text("127.0.0.2 other.lab.example\n")
            check(world, host, folder, report, "http://other.lab.example:3001", status=200)
            with https_server(world, host):
                answer = check(world, host, folder, report, "https://127.0.0.2:3443", status=502)
                report.expect(b"tls_untrusted_certificate" in answer.body, f"{answer.body} for a wrong certificate")
    finally:
        host.close()


def build():
    """As the Dockerfile does it."""
    triple = subprocess.run(["rustc", "--print", "host-tuple"], capture_output=True, check=True,
                            text=True).stdout.strip()
    environment = {**os.environ, "RUSTFLAGS": "-C target-feature=+crt-static"}
    subprocess.run(["cargo", "build", "--release", "--locked", "--quiet", "--target", triple],
                   cwd=lab.REPOSITORY, env=environment, check=True, stdin=subprocess.DEVNULL)
    folder = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", "target"))
    binary = lab.REPOSITORY / folder / triple / "release" / "roundel"
    said = subprocess.run(["ldd", binary], capture_output=True, check=False, text=True)
    expect("statically linked" in said.stdout or "not a dynamic" in said.stderr, f"not static: {said}")
    return binary


def check(world, host, folder, report, backend, status):
    command = ["chroot", "--userspec=65532:65532", folder, "/roundel", "--listen", f"127.0.0.1:{PORT}", backend]
    with lab.Daemon(world, host, "roundel", command) as roundel:
        roundel.wait_for("listening on")
        answer = curl(world, f"http://127.0.0.1:{PORT}/?id=1")
    report.say(f"{backend} {answer.status}")
    report.expect(answer.status == status, f"{backend}: {answer.status} {answer.body}")
    return answer


@contextlib.contextmanager
def name_server(name, address):
    """Knows one name, and says of all others that they do not exist. Gives the questions so far."""
    questions = []
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind(("127.0.0.1", 53))

    def serve():
        with contextlib.suppress(OSError):
            while True:
                octets, peer = listener.recvfrom(512)
                if not octets:
                    return
                questions.append(octets)
                listener.sendto(answer_to(octets, name, address), peer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield questions
    finally:
        listener.sendto(b"", listener.getsockname())
        thread.join(5)
        listener.close()


def answer_to(octets, name, address):
    """RFC 1035 section 4: the question again, and what is known of it."""
    labels, place = [], 12
    while octets[place]:
        labels.append(octets[place + 1:place + 1 + octets[place]].decode())
        place += octets[place] + 1
    end = place + 5
    kind = struct.unpack(">H", octets[place + 1:place + 3])[0]
    is_known = ".".join(labels) == name
    record = b""
    if is_known and kind == TYPE_A:
        record = struct.pack(">HHHIH", 0xC00C, TYPE_A, 1, 5, 4) + socket.inet_aton(address)
    flags = 0x8180 if is_known else 0x8183
    head = octets[:2] + struct.pack(">HHHHH", flags, 1, 1 if record else 0, 0, 0)
    return head + octets[12:end] + record


@contextlib.contextmanager
def https_server(world, host):
    """Whose certificate none of the built-in authorities knows."""
    folder = world.new_folder("certificate")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                    "-nodes", "-keyout", folder / "key", "-out", folder / "cert", "-days", "1",
                    "-subj", "/CN=lab", "-addext", "basicConstraints=critical,CA:FALSE",
                    "-addext", "subjectAltName=IP:127.0.0.2"],
                   check=True, capture_output=True)
    command = ["openssl", "s_server", "-accept", "127.0.0.2:3443", "-cert", folder / "cert",
               "-key", folder / "key", "-www"]
    with lab.Daemon(world, host, "https", command) as server:
        server.wait_for("ACCEPT")
        yield server
