"""The ceiling: aiohttp signs and posts, nothing else. The same headers and bodies, the same number of requests at a time.

Run as a process of its own (``python -m benchmarks.webhooks.bare URL REQUESTS AT_A_TIME``); prints one JSON line.
"""

from __future__ import annotations

import asyncio
import sys
import time

import aiohttp
import orjson
import uvloop

from benchmarks.webhooks.traffic import SECRET, notification
from connectors.webhooks.signatures import signed_headers


async def send_all(url: str, requests: int, at_a_time: int) -> dict[str, float]:
    numbers = iter(range(requests))
    connector = aiohttp.TCPConnector(limit=at_a_time)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:

        async def send() -> None:
            for number in numbers:
                entry = notification(number)
                headers = signed_headers(SECRET, entry.id, entry.body, time.time())
                async with session.post(url, data=entry.body, headers=headers, allow_redirects=False) as response:
                    await response.read()

        begun_s, cpu_before_s = time.perf_counter(), time.process_time()
        await asyncio.gather(*(send() for _ in range(at_a_time)))
        return {"elapsed_s": time.perf_counter() - begun_s, "cpu_s": time.process_time() - cpu_before_s}


if __name__ == "__main__":
    sys.stdout.buffer.write(orjson.dumps(uvloop.run(send_all(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))) + b"\n")
