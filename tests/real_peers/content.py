"""Large bodies that are cheap to make and whose every MiB is different.

One MiB of noise, the same in every run, with a counter written over its first octets: a body in
which a block is lost, doubled or out of place has another SHA-256.
"""

import functools
import hashlib
import random

BLOCK_BYTES = 1 << 20
NOISE = random.Random("roundel").randbytes(BLOCK_BYTES)

# The chunks into which a block is cut when it is sent chunked: a size of one octet, sizes around
# the buffers that proxies like to use, and a large rest.
CHUNK_SIZES = [1, 15, 16, 1460, 4095, 16384, 65537, 262144]


def blocks(total):
    """The body, MiB by MiB. The view is written over for the next block."""
    block = bytearray(NOISE)
    view = memoryview(block)
    for number in range(-(-total // BLOCK_BYTES)):
        block[:8] = number.to_bytes(8, "big")
        yield view[: min(BLOCK_BYTES, total - number * BLOCK_BYTES)]


@functools.cache
def digest(total):
    """The SHA-256 of a body of that many octets, in hex."""
    sha = hashlib.sha256()
    for block in blocks(total):
        sha.update(block)
    return sha.hexdigest()


def write_file(path, total):
    with open(path, "wb") as file:
        for block in blocks(total):
            file.write(block)


def chunks(block):
    """The block as chunks, ready to be sent in one piece."""
    pieces = []
    rest = block
    for size in [*CHUNK_SIZES, len(block)]:
        if part := rest[:size]:
            pieces += [b"%x\r\n" % len(part), part, b"\r\n"]
            rest = rest[size:]
    return b"".join(pieces)
