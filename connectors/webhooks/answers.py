"""What an answer says first, read before anything else of it: its status.

A receiver has taken a notification when its status line says so. Whatever follows, a head that no parser takes, a body that
breaks off, trailing garbage, nothing at all, changes nothing about that; it costs the connection, and is no reason to send again.
So the status is read here, from the bytes as they come in, and leniently. aiohttp's parser, which is strict since it must agree
with the server on where an answer ends, reads the same bytes for the rest.
"""

from __future__ import annotations

from typing import Any

from aiohttp.client_proto import ResponseHandler

from connectors.webhooks.timing import current

HEAD_BYTES_MAX = 262_144
"""Of status line and headers, interim answers (1xx) included; more, and the connection is cut."""

LINE_BYTES_MAX = 65_536
HEADERS_MAX = 2_000
BODY_BYTES_MAX = 20_000
_LINE_KEPT = 4_096


class Head:
    """``status``: of the answer, once its status line is complete; interim answers are passed over. ``retry_after``: the header.
    ``body``: what came behind the headers, at most ``BODY_BYTES_MAX``: raw, for the case that aiohttp could not read it."""

    __slots__ = ("_line", "_size", "_skips", "body", "complete", "retry_after", "status")

    def __init__(self) -> None:
        self.status: int | None = None
        self.retry_after: str | None = None
        self.body = b""
        self.complete = False
        self._line = b""  # so far
        self._size = 0
        self._skips = False  # lines of an interim answer

    @property
    def too_long(self) -> bool:
        return self._size > HEAD_BYTES_MAX

    def feed(self, data: bytes) -> None:
        if self.complete:
            self.body += data[: BODY_BYTES_MAX - len(self.body)]
            return
        self._size += len(data)
        lines = (self._line + data).split(b"\n") if not self.too_long else [b""]
        rest = lines.pop()
        self._line = rest[:_LINE_KEPT]  # so that a long line in many pieces is not copied again with each
        for at, line in enumerate(lines):
            self._take(line.strip(b"\r \t"))
            if self.complete:
                self.body = b"\n".join([*lines[at + 1 :], rest])[:BODY_BYTES_MAX]
                return

    def end(self) -> None:
        """Nothing more comes: a status line may have no end."""
        if self.status is None and not self.complete:
            self._take(self._line.strip(b"\r \t"))

    def _take(self, line: bytes) -> None:
        if self.status is None and not self._skips:
            if line:
                found = _status(line)
                self._skips = found is not None and 100 <= found < 200 and found != 101
                self.complete = found is None  # it is no HTTP
                self.status = None if self._skips else found
        elif not line:
            self.complete, self._skips = not self._skips, False
        elif self.status is not None and line[:12].lower() == b"retry-after:":
            self.retry_after = line[12:].decode("latin-1").strip()


def _status(line: bytes) -> int | None:
    """Of a status line such as ``HTTP/1.1 200 OK``; a reason need not be there."""
    protocol, _, rest = line.partition(b" ")
    code = rest.strip()[:4].strip()
    if protocol[:5].upper() != b"HTTP/" or len(code) != 3 or not code.isdigit():
        return None
    return int(code) if code >= b"100" else None


class AnswerHandler(ResponseHandler):
    """aiohttp's end of a connection. For each request it tells the attempt's probe where the answer's head can be looked up."""

    _head: Head | None = None

    def set_response_params(self, **options: Any) -> None:
        probe, self._head = current.get(), Head()
        if probe.connected:
            probe.head = self._head
        super().set_response_params(**options)

    def data_received(self, data: bytes) -> None:
        head = self._head
        if head is not None:
            head.feed(data)
            if head.too_long and not head.complete:
                if self.transport is not None:
                    self.transport.abort()
                return
        super().data_received(data)

    def is_connected(self) -> bool:
        """Not where something came in that nobody asked for, such as the 408 of a server that closes an idle connection: it would
        be taken for the answer to the next request."""
        return super().is_connected() and not self.should_close
