"""The embedded broker at a port that can be chosen, and stays.

librdkafka's mock cluster listens where it likes and names that port in its answers, so a client that was given another one would
be sent away from it. The gateway passes everything on as it is, but for the answers that name the broker's address
(``_NAMING``): there its own port is put in the place of the cluster's. Both have four bytes, so nothing else of an answer moves.

Our own roles do without: they are told the cluster's own address.

Frames are those of the Kafka protocol (https://kafka.apache.org/protocol#protocol_common): four bytes of length; a request goes
on with its api key (2 bytes), version (2) and correlation id (4), an answer with the correlation id.
"""

from __future__ import annotations

import asyncio
import struct

_LOOPBACK = "127.0.0.1"
_NAMING = frozenset({3, 10, 60})  # Metadata, FindCoordinator, DescribeCluster
_FRAME_BYTES_MAX = 104_857_600  # socket.request.max.bytes of Apache Kafka
_UNREADABLE = (asyncio.IncompleteReadError, ConnectionError, ValueError)


class Gateway:
    """``upstream``: host:port of the mock cluster. Lives until its loop ends."""

    def __init__(self, upstream: str) -> None:
        host, _, port = upstream.rpartition(":")
        self._upstream = (host, int(port))
        self._theirs = host.encode() + struct.pack(">i", int(port))
        self._ours = b""
        self._passing: set[asyncio.Task[None]] = set()

    async def start(self, port: int, *, or_any: bool) -> int:
        """Listens on loopback; returns the port. ``or_any``: where it is taken, on another one. Raises OSError."""
        try:
            server = await asyncio.start_server(self._accept, _LOOPBACK, port)
        except OSError:
            if not or_any:
                raise
            server = await asyncio.start_server(self._accept, _LOOPBACK, 0)
        bound: int = server.sockets[0].getsockname()[1]
        self._ours = self._upstream[0].encode() + struct.pack(">i", bound)
        return bound

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._passing.add(task)
        task.add_done_callback(self._passing.discard)
        try:
            up_reader, up_writer = await asyncio.open_connection(*self._upstream)
        except OSError:
            writer.close()
            return
        naming: set[bytes] = set()  # correlation ids of requests whose answers name the address
        both = (
            asyncio.create_task(self._pass_requests(reader, up_writer, naming)),
            asyncio.create_task(self._pass_answers(up_reader, writer, naming)),
        )
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in both:
                each.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            up_writer.close()
            writer.close()

    async def _pass_requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, naming: set[bytes]) -> None:
        try:
            while True:
                frame = await _read_frame(reader)
                if int.from_bytes(frame[4:6], "big") in _NAMING:
                    naming.add(frame[8:12])
                writer.write(frame)
                await writer.drain()
        except _UNREADABLE:  # one of the two sides has gone, or does not speak Kafka
            return

    async def _pass_answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, naming: set[bytes]) -> None:
        try:
            while True:
                frame = await _read_frame(reader)
                correlation_id = frame[4:8]
                if correlation_id in naming:
                    naming.discard(correlation_id)
                    frame = frame.replace(self._theirs, self._ours)
                writer.write(frame)
                await writer.drain()
        except _UNREADABLE:
            return


async def _read_frame(reader: asyncio.StreamReader) -> bytes:
    """A frame with its length. Raises IncompleteReadError at the end, ValueError where no frame of Kafka can begin so."""
    head = await reader.readexactly(4)
    length = int.from_bytes(head, "big", signed=True)
    if not 4 <= length <= _FRAME_BYTES_MAX:
        raise ValueError(f"a frame of {length} bytes")
    return head + await reader.readexactly(length)
