"""A webhook endpoint that stamps the first byte of each request, answers 200 and keeps the body.

Run as a process of its own (``python -m benchmarks.receiver``): prints its port, and on SIGTERM writes a JSON array of
[received at (s since the epoch), path, body] to the file named by its argument. Signatures are not checked: the tests do that.
``GET /count`` tells how many came; a path that begins with ``/hang`` gets no answer.
"""

from __future__ import annotations

import asyncio
import re
import signal
import sys
import time
from pathlib import Path
from typing import cast

import orjson
import uvloop

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

received: list[tuple[float, str, bytes]] = []


class Endpoint(asyncio.Protocol):
    """HTTP/1.1 with Content-Length, keep-alive, as much as the dispatcher needs."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's are not subclasses of it
        self._buffer = b""
        self._first_byte_at = 0.0

    def data_received(self, data: bytes) -> None:
        if not self._buffer:
            self._first_byte_at = time.time()
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            found = _LENGTH.search(self._buffer, 0, end + 2)
            length = int(found[1]) if found else 0
            total = end + 4 + length
            if len(self._buffer) < total:
                return
            path = self._buffer[: self._buffer.find(b" HTTP/")].partition(b" ")[2].decode()
            body = self._buffer[end + 4 : total]
            self._buffer = self._buffer[total:]
            self._answer(path, body)

    def _answer(self, path: str, body: bytes) -> None:
        if path == "/count":
            count = b"%d" % len(received)
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(count), count))
        elif not path.startswith("/hang"):
            received.append((self._first_byte_at, path, body))
            self._transport.write(_ANSWER)


async def serve() -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = await loop.create_server(Endpoint, "127.0.0.1", 0, backlog=4_096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await stop.wait()
    server.close()


if __name__ == "__main__":
    uvloop.run(serve())
    Path(sys.argv[1]).write_bytes(orjson.dumps([(at, path, orjson.Fragment(body)) for at, path, body in received]))
