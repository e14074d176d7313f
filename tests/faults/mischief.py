"""Clients and backends that do what no program should, at random; `garbage.py` starts it.

    mischief.py clients SEED PORT        against the proxy at this port
    mischief.py backends SEED COUNT      so many backends; prints `listening on PORT...`

Each act is a function with a name of its own. They use blocking sockets and a thread each, and are
over after a second or two. At TERM it prints how often each was done, and ends.
"""

import collections
import json
import os
import random
import signal
import socket
import struct
import sys
import threading
import time

CLIENT_THREADS = 24
PATIENCE_SECONDS = 1
done = collections.Counter()


def reset(connection, _random=None):
    """Closes with RST instead of FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def end(connection, chance):
    """In one of the three ways in which a connection can end."""
    way = chance.choice(["reset", "close", "half-close"])
    if way == "reset":
        return reset(connection)
    if way == "half-close":
        connection.shutdown(socket.SHUT_WR)
        drink(connection)
    connection.close()


def drink(connection):
    while connection.recv(65536):
        pass


def garbage(chance):
    """Noise, sometimes with the ends of lines in it."""
    noise = chance.randbytes(chance.randint(1, 3000))
    return noise.replace(b"\x00", b"\r\n") if chance.random() < 0.5 else noise


def cut(data, chance):
    return data[: chance.randint(1, len(data) - 1)]


# What a client does. Each function gets a fresh connection and may leave it open: it is closed then.

GET = b"GET /quick?id=mischief HTTP/1.1\r\nHost: mischief.example\r\n\r\n"
POST = b"POST /quick?id=mischief HTTP/1.1\r\nHost: mischief.example\r\nContent-Length: 1000\r\n\r\n"
CHUNKED = (b"POST /quick?id=mischief HTTP/1.1\r\nHost: mischief.example\r\n"
           b"Transfer-Encoding: chunked\r\n\r\n")


def say_nothing(connection, chance):
    end(connection, chance)


def send_garbage(connection, chance):
    connection.sendall(garbage(chance))
    end(connection, chance)


def send_half_a_head(connection, chance):
    connection.sendall(cut(GET, chance))
    end(connection, chance)


def send_garbage_in_a_head(connection, chance):
    head = bytearray(GET)
    for _ in range(chance.randint(1, 4)):
        head[chance.randrange(len(head))] = chance.randrange(256)
    connection.sendall(head)
    end(connection, chance)


def ask_and_leave(connection, chance):
    connection.sendall(GET * chance.randint(1, 5))
    end(connection, chance)


def ask_and_break_the_next(connection, chance):
    connection.sendall(GET + garbage(chance))
    connection.recv(4096)
    end(connection, chance)


def send_half_a_body(connection, chance):
    connection.sendall(POST + b"x" * chance.randint(0, 999))
    time.sleep(chance.choice([0, 0.01]))
    end(connection, chance)


def send_too_much_body(connection, chance):
    connection.sendall(POST + b"x" * 1000 + garbage(chance))
    end(connection, chance)


def send_broken_chunks(connection, chance):
    connection.sendall(CHUNKED + b"5\r\nhello\r\n" + garbage(chance))
    end(connection, chance)


def trickle(connection, chance):
    for octet in GET[: chance.randint(1, 20)]:
        connection.sendall(bytes([octet]))
        time.sleep(0.01)
    end(connection, chance)


def stay(connection, chance):
    connection.sendall(cut(POST, chance))
    time.sleep(PATIENCE_SECONDS)


CLIENT_ACTS = [
    say_nothing, send_garbage, send_half_a_head, send_garbage_in_a_head, ask_and_leave,
    ask_and_break_the_next, send_half_a_body, send_too_much_body, send_broken_chunks, trickle, stay,
]


def run_client(number, seed, port):
    chance = random.Random(f"{seed} client {number}")
    while True:
        act = chance.choice(CLIENT_ACTS)
        done[act.__name__] += 1
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as connection:
                act(connection, chance)
        except OSError:
            pass  # roundel had enough of it.


# What a backend does with a request. True: the connection may carry another.

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbad\n"
LONG = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
IN_CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def answer_well(connection, _chance):
    connection.sendall(OK)
    return True


def not_answer(connection, chance):
    end(connection, chance)


def answer_garbage(connection, chance):
    connection.sendall(garbage(chance))
    end(connection, chance)


def answer_half_a_head(connection, chance):
    connection.sendall(cut(LONG, chance))
    end(connection, chance)


def answer_half_a_body(connection, chance):
    connection.sendall(LONG + b"x" * chance.randint(0, 99_999))
    end(connection, chance)


def answer_broken_chunks(connection, chance):
    connection.sendall(IN_CHUNKS + b"3\r\nbad\r\n" + garbage(chance))
    end(connection, chance)


def answer_too_much(connection, chance):
    connection.sendall(OK + garbage(chance))
    return chance.random() < 0.5


def answer_and_break(connection, chance):
    """The connection is in the pool already when it ends, or is given garbage."""
    connection.sendall(OK)
    time.sleep(chance.uniform(0, 0.005))
    if chance.random() < 0.5:
        connection.sendall(garbage(chance))
    end(connection, chance)


def answer_interim(connection, chance):
    connection.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\n" * chance.randint(1, 20) + OK)
    return True


def answer_late(connection, chance):
    time.sleep(PATIENCE_SECONDS)
    end(connection, chance)


BACKEND_ACTS = [
    not_answer, answer_garbage, answer_half_a_head, answer_half_a_body, answer_broken_chunks,
    answer_too_much, answer_and_break, answer_interim,
]
# Well enough, often enough, to be taken for a backend; and seldom so slow that everybody waits.
WELL_SHARE, LATE_SHARE, GREET_SHARE = 0.6, 0.002, 0.02


def choose(chance):
    value = chance.random()
    if value < WELL_SHARE:
        return answer_well
    return answer_late if value < WELL_SHARE + LATE_SHARE else chance.choice(BACKEND_ACTS)


def serve(connection, chance):
    try:
        with connection:
            connection.settimeout(10)
            if chance.random() < GREET_SHARE:
                # Before it was asked anything.
                done["greet"] += 1
                connection.sendall(garbage(chance))
                return end(connection, chance)
            goes_on = True
            while goes_on and connection.recv(65536):
                act = choose(chance)
                done[act.__name__] += 1
                goes_on = act(connection, chance)
    except OSError:
        pass  # roundel had enough of it, or the connection is closed by the act itself.


def run_backend(listener, number, seed):
    chance = random.Random(f"{seed} backend {number}")
    while True:
        connection, _ = listener.accept()
        own = random.Random(chance.random())
        threading.Thread(target=serve, args=(connection, own), daemon=True).start()


def main():
    role, seed, number = sys.argv[1], sys.argv[2], int(sys.argv[3])

    def stop(_signal, _frame):
        print("done", json.dumps(done), flush=True)
        os._exit(0)

    signal.signal(signal.SIGTERM, stop)
    if role == "clients":
        works = [(run_client, (thread, seed, number)) for thread in range(CLIENT_THREADS)]
    else:
        listeners = [socket.create_server(("127.0.0.1", 0), backlog=512) for _ in range(number)]
        works = [(run_backend, (each, place, seed)) for place, each in enumerate(listeners)]
        print("listening on", *[each.getsockname()[1] for each in listeners], flush=True)
    for work, arguments in works:
        threading.Thread(target=work, args=arguments, daemon=True).start()
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
