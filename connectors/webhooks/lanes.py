"""A lane for each endpoint: its own queue, its own few requests at a time, its own breaker and rate, so that a slow endpoint
delays nobody else. No budget is shared between lanes, so none can be used up by one of them.

A queue is bounded in length and in time. What does not fit, or has waited too long, is handed back unsent: its owner puts it
back into the endpoint's lane in Redis, where waiting costs this process no memory, and other dispatchers may take it. A lane that
is paused (the receiver asked for it, or its breaker is open) has no room.

An endpoint has a lane only while there is something to do for it, or to remember of it: an idle one holds no task, no connection
and no lane, and nothing looks at it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import cache

import structlog
from prometheus_client import Counter
from redis.exceptions import RedisError

from connectors import clock
from connectors.metrics import WEBHOOK_ATTEMPT_SECONDS, WEBHOOK_ATTEMPTS
from connectors.redis.types import Delivery
from connectors.settings import Settings
from connectors.webhooks.breaker import OPEN_FIRST_S, Breaker
from connectors.webhooks.client import Attempt
from connectors.webhooks.containment import contained
from connectors.webhooks.destinations import Destination, Destinations
from connectors.webhooks.endpoints import Endpoint
from connectors.webhooks.tracing import Tracing

_log = structlog.get_logger("webhooks.lanes")

QUEUE_ROOM = 256
"""Readers go on while the queue is shorter than this."""

QUEUE_MAX = 2 * QUEUE_ROOM
"""What several readers that saw room at the same time may fill it to."""

_THROTTLE_FAULT_PAUSE_S = 0.5
_BACK_AFTER_S = 0.25  # a lane that is full is likely to have room again after this


@cache
def _counted(outcome: str) -> Counter:
    """Looking a child up costs more than counting it."""
    return WEBHOOK_ATTEMPTS.labels(outcome)


Spawn = Callable[[Coroutine[object, object, None]], object]
Settle = Callable[[Attempt | None], None]
TakeTokens = Callable[[str, float, int], Awaitable[tuple[int, float]]]
"""(endpoint id, tokens a second, tokens wanted) -> tokens taken, seconds until there is one."""


@dataclass(slots=True)
class Job:
    """A delivery to make now. ``settle`` is called with the attempt, or with None if none was made."""

    delivery: Delivery
    settle: Settle
    first_byte: Callable[[], None] | None = None
    queued_s: float = 0.0  # set by the lane that takes it


class Lane:
    """Deliveries to one endpoint. ``wait_max_s``: a job that has waited longer is handed back unsent."""

    def __init__(
        self,
        client: Destination,
        spawn: Spawn,
        take_tokens: TakeTokens,
        *,
        concurrency: int,
        wait_max_s: float,
        breaker_open_s: float = OPEN_FIRST_S,
    ) -> None:
        self.client = client
        self._spawn = spawn
        self._take_tokens = take_tokens
        self._concurrency = concurrency
        self._wait_max_s = wait_max_s
        self._rate_per_s = client.endpoint.rate_limit_per_s
        self._tokens = 0
        self._taking = asyncio.Lock()
        self._queue: deque[Job] = deque()
        self._running = 0
        self._closed = False
        self._paused_until_s = 0.0
        self._idle_since_s = time.monotonic()
        self.breaker = Breaker(open_first_s=breaker_open_s)
        self.failures = 0  # in a row; a success ends it

    @property
    def room(self) -> int:
        """How many more deliveries a reader should bring."""
        if self._closed:
            return 0
        if self.blocked:
            return 0
        if self.breaker.state(time.monotonic()) == "half_open":
            return 0 if self._trying else 1
        room = QUEUE_ROOM
        if self._rate_per_s is not None:  # no more than can leave before it is handed back
            room = max(1, min(room, int(self._rate_per_s * self._wait_max_s / 2)))
        return max(0, room - len(self._queue))

    @property
    def ready_in_s(self) -> float:
        """Seconds until a delivery that was not taken may be offered again."""
        now_s = time.monotonic()
        open_s = self.breaker.open_until_s - now_s if self.breaker.state(now_s) == "open" else 0.0
        return max(_BACK_AFTER_S, open_s, self._paused_until_s - now_s)

    @property
    def idle(self) -> bool:
        return self._running == 0

    def dormant(self, idle_s: float) -> bool:
        """Nothing was sent for so long, and nothing is to be remembered: a lane that is opened anew will be no different."""
        now_s = time.monotonic()
        remembers = self.failures > 0 or now_s < self._paused_until_s or self.breaker.state(now_s) != "closed"
        return self.idle and not remembers and now_s - self._idle_since_s >= idle_s

    def offer(self, job: Job) -> bool:
        """Take a job; False if the queue is full, or the lane paused or closed."""
        if self._closed or len(self._queue) >= QUEUE_MAX or self.blocked or self._trying:
            return False
        job.queued_s = time.monotonic()
        self._queue.append(job)
        if self._running < self._concurrency:
            self._running += 1
            self._spawn(self._run())
        return True

    @property
    def blocked(self) -> bool:
        """Paused, or its breaker is open: nothing is sent before ``ready_in_s``."""
        now_s = time.monotonic()
        return now_s < self._paused_until_s or self.breaker.state(now_s) == "open"

    @property
    def _trying(self) -> bool:
        """The one attempt that a half-open breaker allows is taken."""
        return (self._running > 0 or bool(self._queue)) and self.breaker.state(time.monotonic()) == "half_open"

    def hand_back(self) -> None:
        """Take no more, and hand back what waits; requests under way come to their end."""
        self._closed = True
        self._wait_max_s = -1.0

    def pause(self, seconds: float) -> None:
        """Send nothing for so long (the longest of several wins)."""
        self._paused_until_s = max(self._paused_until_s, time.monotonic() + seconds)

    async def close_connections(self, idle_s: float) -> None:
        """If nothing was sent for so long."""
        if self.idle and time.monotonic() - self._idle_since_s >= idle_s:
            await self.client.close()

    async def _run(self) -> None:
        """One of at most ``concurrency`` workers; lives while there is something to do."""
        try:
            while self._queue:
                await self._do(self._queue.popleft())
        finally:
            self._running -= 1
            self._idle_since_s = time.monotonic()

    async def _do(self, job: Job) -> None:
        """Whatever is raised here harms this one delivery: it is tried again later, and the lane goes on."""
        attempt: Attempt | None = None
        with contained("lane", endpoint_id=self.client.endpoint.id, notification_id=job.delivery.entry.id):
            if await self._may_send(job):
                attempt = await self._attempt(job)
                _counted(attempt.outcome).inc()
                WEBHOOK_ATTEMPT_SECONDS.observe(attempt.seconds)
                self._learn(attempt)
        with contained("lane", endpoint_id=self.client.endpoint.id, notification_id=job.delivery.entry.id):
            job.settle(attempt)  # else its lease runs out, and it is due again

    async def _attempt(self, job: Job) -> Attempt:
        """A destination that raises has a defect of ours: a fault of this lane, which uses up no attempt."""
        at_s, started_s = clock.now_s(), time.monotonic()
        with contained("attempt", endpoint_id=self.client.endpoint.id, notification_id=job.delivery.entry.id) as raised:
            return await self.client.attempt(job.delivery.entry, job.first_byte)
        return Attempt("fault", at_s, time.monotonic() - started_s, response=f"a defect of ours: {raised.error}".encode())

    def _learn(self, attempt: Attempt) -> None:
        if attempt.is_fault:
            return
        success = attempt.outcome == "success"
        self.failures = 0 if success else self.failures + 1
        before = self.breaker.open_until_s
        self.breaker.record(success, time.monotonic())
        if self.breaker.open_until_s != before:
            _log.warning("lane.open", endpoint_id=self.client.endpoint.id, error=attempt.error, seconds=round(self.ready_in_s))

    async def _may_send(self, job: Job) -> bool:
        """Wait for a token where there is a limit; False once the job has waited too long, or the lane is paused."""
        if self._rate_per_s is None:
            return self._still_wanted(job)
        async with self._taking:  # one asks for all, and the first to come is the first to go
            while self._still_wanted(job):
                wait_s = 0.0
                if self._tokens == 0:
                    self._tokens, wait_s = await self._tokens_from_redis(self._rate_per_s)
                if self._tokens > 0:
                    self._tokens -= 1
                    return True
                await asyncio.sleep(min(wait_s, max(0.0, self._wait_max_s)))
        return False

    def _still_wanted(self, job: Job) -> bool:
        return not self.blocked and time.monotonic() - job.queued_s <= self._wait_max_s

    async def _tokens_from_redis(self, rate_per_s: float) -> tuple[int, float]:
        """A few at once, so that a fast endpoint does not cost a round trip for each request."""
        wanted = min(len(self._queue) + self._running, max(1, int(rate_per_s / 20)))
        try:
            return await self._take_tokens(self.client.endpoint.id, rate_per_s, wanted)
        except (RedisError, OSError):
            return 0, _THROTTLE_FAULT_PAUSE_S


class Lanes:
    """The lanes of enabled endpoints, opened when they are needed. ``of``: those that are open."""

    def __init__(
        self,
        settings: Settings,
        spawn: Spawn,
        take_tokens: TakeTokens,
        *,
        wait_max_s: float,
        tracing: Tracing | None = None,
    ) -> None:
        self._settings = settings
        self._spawn = spawn
        self._take_tokens = take_tokens
        self._wait_max_s = wait_max_s
        self._destinations = Destinations(settings, tracing)
        self._closing: list[Lane] = []
        self._closed = False
        self.enabled: Mapping[str, Endpoint] = {}
        self.of: dict[str, Lane] = {}

    def sync(self, enabled: Mapping[str, Endpoint]) -> None:
        """Lanes of endpoints that are gone or changed hand back what waits."""
        self.enabled = enabled
        for endpoint_id, lane in list(self.of.items()):
            if enabled.get(endpoint_id) != lane.client.endpoint:
                lane.hand_back()
                self._closing.append(self.of.pop(endpoint_id))

    def lane(self, endpoint_id: str) -> Lane | None:
        """None where no such endpoint is enabled."""
        lane = self.of.get(endpoint_id)
        if lane is None and (endpoint := self.enabled.get(endpoint_id)) is not None:
            lane = self.of[endpoint_id] = self._open(endpoint)
        return lane

    def _open(self, endpoint: Endpoint) -> Lane:
        concurrency = self._settings.webhook_concurrency
        lane = Lane(
            self._destinations.open(endpoint),
            self._spawn,
            self._take_tokens,
            concurrency=concurrency,
            wait_max_s=self._wait_max_s,
            breaker_open_s=self._settings.webhook_breaker_open_s,
        )
        if self._closed:
            lane.hand_back()
        return lane

    @property
    def room(self) -> int:
        """Of the lane that has most: full ones do not keep the others from their notifications."""
        most = QUEUE_ROOM if len(self.of) < len(self.enabled) else 0
        for lane in self.of.values():
            if most >= QUEUE_ROOM:
                break
            most = max(most, lane.room)
        return most

    @property
    def blocked(self) -> bool:
        """Whether every endpoint's lane is."""
        return len(self.of) == len(self.enabled) and all(lane.blocked for lane in self.of.values())

    def hand_back(self) -> None:
        self._closed = True
        for lane in self.of.values():
            lane.hand_back()

    async def close_idle(self, idle_s: float) -> None:
        """Close the connections of lanes that are no longer used, or were not for ``idle_s``."""
        for lane in [lane for lane in self._closing if lane.idle]:
            self._closing.remove(lane)
            with contained("lane", endpoint_id=lane.client.endpoint.id):
                await lane.client.close()
        for endpoint_id, lane in list(self.of.items()):
            with contained("lane", endpoint_id=endpoint_id):
                await lane.close_connections(idle_s)
            if lane.dormant(idle_s):
                del self.of[endpoint_id]

    async def close(self) -> None:
        for lane in (*self.of.values(), *self._closing):
            with contained("lane", endpoint_id=lane.client.endpoint.id):
                await lane.client.close()
