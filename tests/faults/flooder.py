"""Opens many connections and keeps them; `flood.py` starts several, as one alone may not have so many.

    flooder.py PORT COUNT SOURCE

Every second connection asks for something. When all have knocked it prints `standing N`; at TERM it
prints how many have an answer, and ends. SOURCE is the last number of the address that it comes from.
What the kernel did not refused to begin is not counted as standing.
"""

import contextlib
import errno
import os
import resource
import signal
import socket
import sys

SPARE_DESCRIPTORS = 100
REQUEST = b"GET /quick?id=flood HTTP/1.1\r\nHost: flood.example\r\n\r\n"


def knock(port, source):
    """A connection that is on its way, for which nobody waits, and whether it is."""
    client = socket.socket()
    client.setblocking(False)
    client.bind((f"127.0.0.{source}", 0))
    return client, client.connect_ex(("127.0.0.1", port)) in (0, errno.EINPROGRESS)


def has_answer(client):
    try:
        return client.recv(4096).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def main():
    port, count, source = (int(word) for word in sys.argv[1:])
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(count + SPARE_DESCRIPTORS, hard), hard))
    knocks = [knock(port, source) for _ in range(count)]
    clients = [client for client, _ in knocks]
    for client in clients[::2]:
        # One that is not through yet cannot ask: it stands there all the same.
        with contextlib.suppress(OSError):
            client.send(REQUEST)

    def stop(_signal, _frame):
        print(f"answered {sum(map(has_answer, clients))}", flush=True)
        os._exit(0)

    signal.signal(signal.SIGTERM, stop)
    print(f"standing {sum(stands for _, stands in knocks)}", flush=True)
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
