"""A lane for each endpoint: its own queue and its own few requests at a time, so that a slow endpoint delays nobody else.

A queue is bounded in length and in time. What does not fit, or has waited too long, is handed back unsent: its owner puts it
into the retry set, where waiting costs this process no memory, and other dispatchers may take it.

Notifications of one customer, alert and group go out one after the other, in the order in which they came.
"""

from __future__ import annotations

import ssl
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field

import orjson

from connectors.redis.types import Delivery
from connectors.settings import Settings
from connectors.webhooks.addresses import TargetPolicy
from connectors.webhooks.client import Attempt, EndpointClient
from connectors.webhooks.endpoints import Endpoint

QUEUE_ROOM = 256
"""Readers go on while the queue is shorter than this."""

QUEUE_MAX = 2 * QUEUE_ROOM
"""What several readers that saw room at the same time may fill it to."""

OrderKey = tuple[object, ...]
Spawn = Callable[[Coroutine[object, object, None]], object]
Settle = Callable[[Attempt | None], Awaitable[None]]


@dataclass(slots=True)
class Job:
    """A delivery to make now. ``settle`` is awaited with the attempt, or with None if none was made; it does not raise."""

    delivery: Delivery
    settle: Settle
    first_byte: Callable[[], None] | None = None
    queued_s: float = field(default_factory=time.monotonic)
    order_key: OrderKey = field(init=False)

    def __post_init__(self) -> None:
        entry = self.delivery.entry
        group = orjson.loads(entry.body).get("properties", {}).get("group_values", ())
        self.order_key = (entry.customer_id, entry.alert_id, *((part["key"], part["value"]) for part in group))


class Lane:
    """Deliveries to one endpoint. ``wait_max_s``: a job that has waited longer is handed back unsent."""

    def __init__(self, client: EndpointClient, spawn: Spawn, *, concurrency: int, wait_max_s: float) -> None:
        self.client = client
        self._spawn = spawn
        self._concurrency = concurrency
        self._wait_max_s = wait_max_s
        self._queue: deque[Job] = deque()
        self._behind: dict[OrderKey, deque[Job]] = {}  # keys under way, with what waits for them
        self._waiting = 0
        self._running = 0
        self._closed = False
        self.failures = 0  # in a row; a success ends it

    @property
    def has_room(self) -> bool:
        return self._waiting < QUEUE_ROOM and not self._closed

    @property
    def idle(self) -> bool:
        return self._running == 0

    def offer(self, job: Job) -> bool:
        """Take a job; False if the queue is full or closed."""
        if self._closed or self._waiting >= QUEUE_MAX:
            return False
        self._waiting += 1
        behind = self._behind.get(job.order_key)
        if behind is None:
            self._queue.append(job)
        else:
            behind.append(job)
        if self._queue and self._running < self._concurrency:
            self._running += 1
            self._spawn(self._run())
        return True

    def hand_back(self) -> None:
        """Take no more, and hand back what waits; requests under way come to their end."""
        self._closed = True
        self._wait_max_s = -1.0

    async def _run(self) -> None:
        """One of at most ``concurrency`` workers; lives while there is something to do."""
        try:
            while self._queue:
                job = self._queue.popleft()
                behind = self._behind.get(job.order_key)
                if behind is not None:
                    behind.append(job)
                    continue
                self._behind[job.order_key] = deque()
                await self._run_key(job)
        finally:
            self._running -= 1

    async def _run_key(self, job: Job) -> None:
        """The job, and those of the same customer and alert that come meanwhile."""
        key = job.order_key
        while True:
            self._waiting -= 1
            await self._do(job)
            behind = self._behind[key]
            if not behind:
                del self._behind[key]
                return
            job = behind.popleft()

    async def _do(self, job: Job) -> None:
        attempt: Attempt | None = None
        if time.monotonic() - job.queued_s <= self._wait_max_s:
            entry = job.delivery.entry
            attempt = await self.client.attempt(entry.id, entry.body, job.first_byte)
            self.failures = 0 if attempt.outcome == "success" else self.failures + 1
        await job.settle(attempt)


class Lanes:
    """The lanes of all enabled endpoints."""

    def __init__(self, settings: Settings, spawn: Spawn, *, wait_max_s: float) -> None:
        self._settings = settings
        self._spawn = spawn
        self._wait_max_s = wait_max_s
        self._policy = TargetPolicy.parse(settings.webhook_allow_private, settings.webhook_allow_list)
        self._tls = ssl.create_default_context()
        self._closing: list[Lane] = []
        self.of: dict[str, Lane] = {}

    def sync(self, enabled: Mapping[str, Endpoint]) -> None:
        """Open lanes for new and changed endpoints; those of endpoints that are gone or changed hand back what waits."""
        for endpoint_id, lane in list(self.of.items()):
            if enabled.get(endpoint_id) != lane.client.endpoint:
                lane.hand_back()
                self._closing.append(self.of.pop(endpoint_id))
        for endpoint_id, endpoint in enabled.items():
            if endpoint_id not in self.of:
                self.of[endpoint_id] = self._open(endpoint)

    def _open(self, endpoint: Endpoint) -> Lane:
        client = EndpointClient(
            endpoint,
            self._policy,
            self._tls,
            timeout_s=self._settings.webhook_timeout_s,
            connections=self._settings.webhook_concurrency,
        )
        return Lane(client, self._spawn, concurrency=self._settings.webhook_concurrency, wait_max_s=self._wait_max_s)

    @property
    def have_room(self) -> bool:
        """Whether any lane could take more: a full one does not keep the others from their notifications."""
        return any(lane.has_room for lane in self.of.values())

    @property
    def idle(self) -> bool:
        return all(lane.idle for lane in (*self.of.values(), *self._closing))

    def hand_back(self) -> None:
        for lane in self.of.values():
            lane.hand_back()

    async def close_idle(self) -> None:
        """Close the connections of lanes that are no longer used."""
        for lane in [lane for lane in self._closing if lane.idle]:
            self._closing.remove(lane)
            await lane.client.close()

    async def close(self) -> None:
        for lane in (*self.of.values(), *self._closing):
            await lane.client.close()
