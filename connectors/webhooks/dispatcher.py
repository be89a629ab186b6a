"""The dispatcher role: outbox -> signed webhooks.

    outbox streams ── admit ──► Deliveries ──► a lane for each endpoint ──► POST
    lanes in Redis ── take ───►     │
                   ◄── put back ────┴── conclude ──► log

Any number of dispatchers may run: leases share out the work. Several loops do one thing each; all live through an outage of
Redis, and through whatever a turn of theirs raises (connectors/background.py). While no endpoint is enabled nothing is read from
the outbox.

The end comes within ``drain_timeout_s``, whatever hangs: each step of it has a share of that time, and what does not end in its
share is abandoned. Nothing is lost by that, since leases run out.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import structlog
from redis.asyncio import Redis

from connectors import clock
from connectors.agreement import PROCESS, SAMPLE_PAUSE_S
from connectors.background import end, pause, repeat, until_done, within
from connectors.metrics import (
    OUTBOX_DEPTH,
    OUTBOX_OLDEST,
    WEBHOOK_LOG_BYTES,
    WEBHOOK_LOG_DELIVERIES,
    WEBHOOK_LOG_UNWANTED,
    WEBHOOK_RETRIES,
)
from connectors.redis.catalog import CatalogStore
from connectors.redis.client import connect
from connectors.redis.deliveries import DeliveryLog
from connectors.redis.outbox import Outbox, read_first
from connectors.redis.secrets import Vault
from connectors.redis.throttle import take_tokens
from connectors.settings import Settings
from connectors.webhooks.containment import in_a_task
from connectors.webhooks.deliveries import Deliveries
from connectors.webhooks.endpoints import EndpointDirectory
from connectors.webhooks.lanes import QUEUE_ROOM, Lanes
from connectors.webhooks.notices import Notices
from connectors.webhooks.persist import clock_ms
from connectors.webhooks.routes import severity_order
from connectors.webhooks.schedule import Schedule
from connectors.webhooks.severities import AlertFields
from connectors.webhooks.tracing import Tracing

_log = structlog.get_logger("webhooks.dispatcher")

_RESOLVER_THREADS = 32
_YOUNG_OBJECTS = 50_000  # between two looks for reference cycles: at the default of 700 they are a tenth of all the work
_READ_BLOCK_MS = 500  # also the longest that the reader takes to notice the order to stop
_FULL_PAUSE_S = 0.005  # until the lanes are looked at again, while all of them are almost full
_READ_FOR_ROOM = QUEUE_ROOM // 4
_ENDPOINTS_PAUSE_S = 0.5
_DUE_PAUSE_S = 0.25  # like the next one for up to 32 partitions, longer for more: they ask each partition in turn
_CONNECTIONS_IDLE_S = 60.0  # then an endpoint's connections are closed
_DEPTH_PAUSE_S = 2.0
_EXPIRE_PAUSE_S = 60.0
_EXPIRE_LIMIT = 1_000
# Of drain_timeout_s: until what waits is put back; for the requests under way then; for tasks that were cancelled; for each of
# what is closed (connections, tracing, Redis).
_SENDING_SHARE, _ENDING_SHARE, _CANCELLED_SHARE, _CLOSING_SHARE = 0.3, 0.5, 0.06, 0.03
_DAY_MS = 86_400_000


async def run_dispatcher(settings: Settings, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    """Deliver until ``stop`` is set; then read no more, and let what is under way come to its end (``drain_timeout_s``).

    Waits for Redis, and for the first start of the system, which fixes the number of partitions.
    """
    # Names are resolved in threads. The default of a few more than there are cores would let a handful of endpoints whose name
    # servers do not answer hold up all others.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_RESOLVER_THREADS, "resolver"))
    PROCESS.begin("dispatcher", settings.clock_tolerance_s)
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS)
    redis = connect(settings)
    try:
        partitions = await _partitions(CatalogStore(redis), stop)
        if partitions is not None:
            await CatalogStore(redis, Vault.of(settings)).check_endpoints()
            await _Dispatcher(settings, redis, partitions, stop).run(ready)
    finally:
        await within("redis", _CLOSING_SHARE * settings.drain_timeout_s, redis.aclose())


async def _partitions(catalog: CatalogStore, stop: asyncio.Event) -> int | None:
    found: list[int] = []

    async def look() -> None:
        partitions = await catalog.partitions()
        if partitions is not None:
            found.append(partitions)

    while await until_done("dispatcher.start", look, stop):
        if found:
            return found[0]
        _log.info("waiting", cause="the number of partitions is not fixed yet: a worker or the API does it")
        await pause(stop, 1.0)
    return None


class _Dispatcher:
    def __init__(self, settings: Settings, redis: Redis, partitions: int, stop: asyncio.Event) -> None:
        self._settings = settings
        self._redis = redis
        self._stop = stop
        log_ms = int(settings.webhook_log_days * _DAY_MS)
        unwanted_max = settings.webhook_unwanted_max
        self._outboxes = [Outbox(redis, each, log_ms=log_ms, unwanted_max=unwanted_max) for each in range(partitions)]
        self._logs = [DeliveryLog(redis, partition) for partition in range(partitions)]
        self._sending: set[asyncio.Task[object]] = set()
        # A delivery waits in a lane, and then for one request. Were the lease shorter than that, two dispatchers would send it.
        lease_s = max(settings.webhook_claim_idle_s, 1.5 * settings.webhook_timeout_s)
        wait_max_s = (lease_s - settings.webhook_timeout_s) / 2
        self._tracing = Tracing.of(settings)
        tokens = partial(take_tokens, redis)
        self._lanes = Lanes(settings, self._spawn, tokens, wait_max_s=wait_max_s, tracing=self._tracing)
        self._directory = EndpointDirectory(CatalogStore(redis, Vault.of(settings)), self._lanes.sync)
        self._notices = Notices(redis, partitions, self._directory, settings)
        self._deliveries = Deliveries(
            redis,
            self._lanes,
            self._directory,
            Schedule.of(settings),
            self._spawn,
            AlertFields(redis, partitions),
            self._notices,
            self._outboxes,
            severities=severity_order(settings.severities),
            lease_ms=int(lease_s * 1000),
            disable_after_s=settings.webhook_disable_after_days * _DAY_MS / 1000,
        )

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task: asyncio.Task[object] = asyncio.create_task(in_a_task(work))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def run(self, ready: Callable[[], None]) -> None:
        many = max(1.0, len(self._outboxes) / 32)
        loops: list[tuple[str, Callable[[], Awaitable[None]], float]] = [
            ("dispatcher.endpoints", self._look_for_endpoints, _ENDPOINTS_PAUSE_S),
            ("dispatcher.read", self._read, 0.0),
            ("dispatcher.retry", self._retry, _DUE_PAUSE_S * many),
            ("dispatcher.clock", self._look_at_clocks, SAMPLE_PAUSE_S),
            ("dispatcher.measure", self._measure, _DEPTH_PAUSE_S * many),
            ("dispatcher.expire", self._expire, _EXPIRE_PAUSE_S),
        ]
        reading: list[asyncio.Task[object]] = []
        try:
            await until_done("dispatcher.clock", self._look_at_clocks, self._stop)
            if await until_done("dispatcher.endpoints", self._directory.refresh, self._stop):
                ready()
            reading += [asyncio.create_task(repeat(name, turn, self._stop, pause_s)) for name, turn, pause_s in loops]
            await self._stop.wait()
            await self._drain(reading)
        finally:
            await self._end(reading)

    # --- what the loops do ------------------------------------------------------------------------------------------

    async def _look_for_endpoints(self) -> None:
        await self._directory.refresh()
        if PROCESS.agrees:
            await self._notices.look()
        await self._lanes.close_idle(_CONNECTIONS_IDLE_S)

    async def _look_at_clocks(self) -> None:
        await PROCESS.sample(self._redis)

    async def _read(self) -> None:
        if not self._lanes.enabled:
            await pause(self._stop, _ENDPOINTS_PAUSE_S)
            return
        room = QUEUE_ROOM if self._lanes.blocked else self._lanes.room
        if room < _READ_FOR_ROOM:  # a few at a time would cost a round trip each
            await asyncio.sleep(_FULL_PAUSE_S)
            room = self._lanes.room
        if room:
            read = await read_first(self._redis, self._outboxes, max(1, room // len(self._outboxes)), _READ_BLOCK_MS)
            if read:
                await self._directory.look()  # endpoints that the API acknowledged before these were written get them, too
                await self._deliveries.admit(read)

    async def _retry(self) -> None:
        busy = True
        while busy and PROCESS.agrees and not self._stop.is_set():
            busy = await self._deliveries.take_due(self._outboxes)

    async def _measure(self) -> None:
        depths = [await outbox.depth() for outbox in self._outboxes]
        retries = sum(depth.retries for depth in depths)
        WEBHOOK_RETRIES.set(retries)
        OUTBOX_DEPTH.set(retries + sum(depth.entries for depth in depths))
        OUTBOX_OLDEST.set(min((depth.oldest_ms for depth in depths if depth.oldest_ms is not None), default=0) / 1000)

    async def _expire(self) -> None:
        """Forget what the log has held for long enough, and give up what waits behind a lane that lets nothing through. What no
        endpoint existed for, for too long, goes into the log as unwanted: while one exists, everything is on its way."""
        if not PROCESS.agrees:
            return
        log_from_ms = clock_ms() - int(self._settings.webhook_log_days * _DAY_MS)
        for outbox, log in zip(self._outboxes, self._logs, strict=True):
            await self._deliveries.end_old(outbox, _EXPIRE_LIMIT)
            while await log.trim(log_from_ms, _EXPIRE_LIMIT) == _EXPIRE_LIMIT:
                pass  # a script for each thousand, so that none holds Redis up for long
        sizes = [await log.size() for log in self._logs]
        WEBHOOK_LOG_DELIVERIES.set(sum(size.deliveries for size in sizes))
        WEBHOOK_LOG_BYTES.set(sum(size.bytes for size in sizes))
        WEBHOOK_LOG_UNWANTED.set(sum(size.unwanted for size in sizes))
        if self._directory.enabled:
            return
        server_ms = clock_ms() - clock.shift_s() * 1_000  # ids of the outbox are of Redis' own clock
        older_than_ms = server_ms - int(self._settings.outbox_undeliverable_days * _DAY_MS)
        why = f"no endpoint was enabled for {self._settings.outbox_undeliverable_days:g} days"
        for outbox in self._outboxes:
            expired = await outbox.added_before(older_than_ms, _EXPIRE_LIMIT)
            if expired:
                await self._deliveries.give_up(outbox, expired, why)

    # --- how it ends ------------------------------------------------------------------------------------------------

    async def _drain(self, reading: list[asyncio.Task[object]]) -> None:
        """Send what waits; after a while, put back what still waits, and let requests end."""
        patience_s = _SENDING_SHARE * self._settings.drain_timeout_s
        stop_at_s = time.monotonic() + patience_s
        await asyncio.wait(reading, timeout=patience_s)
        await self._sent(stop_at_s - time.monotonic())
        self._lanes.hand_back()
        await self._sent(_ENDING_SHARE * self._settings.drain_timeout_s)

    async def _end(self, reading: list[asyncio.Task[object]]) -> None:
        """Also what does not want to end."""
        drain_s = self._settings.drain_timeout_s
        if self._sending:
            _log.warning("drain.cut_off", workers=len(self._sending), effect="their notifications are sent again later")
        if abandoned := await end([*reading, *self._sending], _CANCELLED_SHARE * drain_s):
            _log.error("drain.abandoned", tasks=abandoned)
        await within("connections", _CLOSING_SHARE * drain_s, self._lanes.close())
        if self._tracing is not None:
            await within("tracing", _CLOSING_SHARE * drain_s, self._tracing.close())

    async def _sent(self, timeout_s: float) -> None:
        """Also what begins meanwhile: a worker's end is followed by the writing of what came of it."""
        deadline_s = time.monotonic() + timeout_s
        while self._sending and (left_s := deadline_s - time.monotonic()) > 0:
            await asyncio.wait(self._sending, timeout=left_s)
