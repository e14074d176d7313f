"""WebSocket through roundel: the handshake, octets sent early on both sides, sizes, the close."""

import concurrent.futures
import os

import websocket
from harness import MIB, Roundel, check, expect, expect_equal
from origin import Origin
from peers import Certificates, Nginx

# Around the borders of the three length forms, and one that needs many reads.
SIZES = [0, 1, 125, 126, 127, 65535, 65536, 3 * MIB]


@check("a WebSocket echo over http")
def echo(world):
    with Origin() as origin, Roundel(world, [origin.url]) as proxy:
        converse(world, proxy, "/websocket")
        many(world, proxy, "/websocket")


@check("a WebSocket echo over https, with nginx between")
def echo_over_tls(world):
    tls = Certificates(world)
    with Origin() as origin, Nginx(world, tls=tls, origin=origin) as nginx:
        with Roundel(world, [nginx.url], "--ca", tls.authority) as proxy:
            converse(world, proxy, "/origin/websocket")


def converse(world, proxy, path):
    with proxy.connect() as connected:
        client = websocket.Client(connected, path, early=[b"early one", b"early two"])
        expect(client.head.startswith("HTTP/1.1 101 "), f"the handshake's answer: {client.head}")
        expect(client.accepted, f"Sec-WebSocket-Accept is wrong: {client.head}")
        expect_equal(client.receive(), (websocket.BINARY, b"hello"), "what the backend sent early")
        for wanted in [b"early one", b"early two"]:
            expect_equal(client.receive(), (websocket.BINARY, wanted), "the echo of an early frame")
        for size in SIZES:
            payload = os.urandom(size)
            client.send(payload)
            opcode, echoed = client.receive()
            expect(opcode == websocket.BINARY and echoed == payload, f"the echo of {size} octets")
        client.send(b"are you there", websocket.PING)
        expect_equal(client.receive(), (websocket.PONG, b"are you there"), "the pong")
        client.send(b"\x03\xe8", websocket.CLOSE)
        expect_equal(client.receive(), (websocket.CLOSE, b"\x03\xe8"), "the close frame")
        expect(client.at_end(), "the tunnel is closed after the close frame")
    world.say(f"frames of {SIZES} octets, two sent with the handshake, ping, close")


def many(world, proxy, path):
    """Many tunnels at once, each with its own payloads: nothing may get into another's."""

    def one(number):
        with proxy.connect() as connected:
            client = websocket.Client(connected, path)
            client.receive()
            for turn in range(50):
                payload = f"{number}/{turn}".encode() * 100
                client.send(payload)
                expect_equal(client.receive()[1], payload, f"echo in tunnel {number}")

    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        list(pool.map(one, range(32)))
    world.say("32 tunnels at once, 50 frames in each")
