"""The same small application for every Python server: it writes down each request that was read whole.

    python3 echo.py aiohttp|waitress FD LOG      and echo:wsgi and echo:asgi for the other servers

A line of the log is a JSON object with case, method, target, host and body; octets are written as
the characters of the same number.
"""

import json
import os
import socket
import sys


def open_log(path):
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


def write_down(log, method, target, field, body):
    """One request, in one write: servers may have several threads. `field` gives a field's value."""
    read = {
        "case": field("x-case"),
        "method": method,
        "target": target,
        "host": field("host"),
        "body": body.decode("latin-1"),
    }
    os.write(log, json.dumps(read).encode() + b"\n")


LOG = open_log(os.environ["ECHO_LOG"]) if "ECHO_LOG" in os.environ else None


def wsgi(environ, start_response):
    """For gunicorn and waitress, which both tell the target as it came."""
    target = environ.get("RAW_URI") or environ.get("REQUEST_URI")

    def field(name):
        return environ.get("HTTP_" + name.upper().replace("-", "_"))

    write_down(LOG, environ["REQUEST_METHOD"], target, field, environ["wsgi.input"].read())
    start_response("200 OK", [("Content-Length", "3")])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [b"ok\n"]


async def asgi(scope, receive, send):
    """For uvicorn and hypercorn."""
    if scope["type"] != "http":
        return
    body = b""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message.get("body", b"")
        more = message.get("more_body", False)
    target = scope["raw_path"].decode("latin-1")
    if scope["query_string"]:
        target += "?" + scope["query_string"].decode("latin-1")

    def field(name):
        return next((v.decode("latin-1") for n, v in scope["headers"] if n == name.encode()), None)

    write_down(LOG, scope["method"], target, field, body)
    length = [(b"content-length", b"3")]
    await send({"type": "http.response.start", "status": 200, "headers": length})
    await send({"type": "http.response.body", "body": b"ok\n"})


def serve_aiohttp(listener):
    import asyncio

    from aiohttp import web

    async def handle(request):
        body = await request.read()
        write_down(LOG, request.method, request.raw_path, request.headers.get, body)
        return web.Response(text="ok\n")

    async def serve():
        runner = web.ServerRunner(web.Server(handle))
        await runner.setup()
        await web.SockSite(runner, listener).start()
        await asyncio.Event().wait()

    asyncio.run(serve())


def serve_waitress(listener):
    import waitress

    waitress.serve(wsgi, sockets=[listener], threads=4, _quiet=True)


if __name__ == "__main__":
    name, descriptor, path = sys.argv[1:]
    LOG = open_log(path)
    {"aiohttp": serve_aiohttp, "waitress": serve_waitress}[name](socket.socket(fileno=int(descriptor)))
