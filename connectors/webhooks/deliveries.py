"""From the outbox into the lanes, and the results back: the order of steps that loses nothing.

An entry stays in the stream until its first attempt to every endpoint is over; then one script removes it and keeps a delivery
for each endpoint that failed. A taken delivery stays in the retry set, leased, until its result is known. So whatever this
process forgets by dying is found by another, and sent again under the same id.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import structlog
from redis.exceptions import RedisError

from connectors.metrics import EVENT_TO_DELIVERY, WEBHOOK_DELIVERIES
from connectors.redis.outbox import Outbox
from connectors.redis.types import Delivery, OutboxEntry
from connectors.webhooks.client import Attempt
from connectors.webhooks.endpoints import EndpointDirectory
from connectors.webhooks.lanes import Job, Lane, Lanes
from connectors.webhooks.outcomes import RetryRules, after_failure, new_delivery, postponed
from connectors.webhooks.schedule import retry_delay_s

_log = structlog.get_logger("webhooks.deliveries")
_T = TypeVar("_T")
_REDIS_PAUSE_MAX_S = 5.0
HTTP_GONE = 410


@dataclass(slots=True)
class _Open:
    """An entry whose first attempts are under way. ``left``: endpoints that have not answered yet."""

    outbox: Outbox
    entry: OutboxEntry
    left: int
    retries: list[Delivery] = field(default_factory=list)
    told: bool = False  # its first byte has left

    def first_byte(self) -> None:
        if not self.told:
            self.told = True
            observe_first_byte(self.entry)


def observe_first_byte(entry: OutboxEntry) -> None:
    """Nothing is observed where no event crossed the line."""
    if entry.appended_at_ms is not None:
        EVENT_TO_DELIVERY.observe(max(0.0, time.time() - entry.appended_at_ms / 1000))


class Deliveries:
    """Makes jobs of entries and deliveries, and records what came of them."""

    def __init__(self, lanes: Lanes, directory: EndpointDirectory, rules: RetryRules) -> None:
        self._lanes = lanes
        self._directory = directory
        self._rules = rules
        self._open: dict[tuple[int, str], _Open] = {}

    # --- first attempts ---------------------------------------------------------------------------------------------

    async def take_entry(self, outbox: Outbox, entry: OutboxEntry) -> None:
        """Offer a notification to every enabled endpoint. Without one it stays in the stream, to be claimed again later."""
        key = (outbox.partition, entry.entry_id)
        if key in self._open or not self._lanes.of:
            return  # claimed from ourselves, being slow is not being dead; or the last endpoint has just gone
        opened = self._open[key] = _Open(outbox, entry, left=len(self._lanes.of))
        for endpoint_id, lane in list(self._lanes.of.items()):
            delivery = new_delivery(entry, endpoint_id, _now_ms())
            if not lane.offer(Job(delivery, partial(self._first_over, opened, delivery), opened.first_byte)):
                await self._first_over(opened, delivery, None)

    async def _first_over(self, opened: _Open, delivery: Delivery, attempt: Attempt | None) -> None:
        again = await self._judge(opened.outbox, delivery, attempt)
        if again is not None:
            opened.retries.append(again)
        opened.left -= 1
        if opened.left == 0:
            await _persist(lambda: opened.outbox.finish(opened.entry.entry_id, opened.retries))
            del self._open[opened.outbox.partition, opened.entry.entry_id]

    # --- further attempts -------------------------------------------------------------------------------------------

    async def take_delivery(self, outbox: Outbox, delivery: Delivery) -> None:
        """Offer a leased delivery to its endpoint's lane."""
        if delivery.endpoint_id not in self._directory.known:
            await self._directory.refresh()  # whoever wrote the delivery may have seen a younger endpoint than we did
        lane = self._lanes.of.get(delivery.endpoint_id)
        if delivery.endpoint_id not in self._directory.known:
            await _persist(lambda: outbox.retry_done(delivery))
            _ended("endpoint_removed", delivery)
        elif lane is None:
            await self._further_over(outbox, delivery, None)  # disabled, or a lane that the next look will open
        else:
            first_byte = partial(observe_first_byte, delivery.entry) if delivery.attempts == 0 else None
            if not lane.offer(Job(delivery, partial(self._further_over, outbox, delivery), first_byte)):
                await self._further_over(outbox, delivery, None)

    async def _further_over(self, outbox: Outbox, delivery: Delivery, attempt: Attempt | None) -> None:
        again = await self._judge(outbox, delivery, attempt)
        if again is None:
            await _persist(lambda: outbox.retry_done(delivery))
        else:
            await _persist(lambda: outbox.retry_again(delivery, again))

    # --- both -------------------------------------------------------------------------------------------------------

    async def _judge(self, outbox: Outbox, delivery: Delivery, attempt: Attempt | None) -> Delivery | None:
        """How the delivery goes on; None if it has ended, well or not."""
        now_ms = _now_ms()
        if attempt is None:
            patience_s = self._patience_s(self._lanes.of.get(delivery.endpoint_id))
            again = postponed(delivery, patience_s, self._rules, now_ms)
        elif attempt.outcome == "success":
            _delivered(delivery, attempt)
            return None
        else:
            _log.info("attempt.failed", **_fields(delivery), error=attempt.error, seconds=round(attempt.seconds, 3))
            if attempt.status == HTTP_GONE:
                await _persist(lambda: self._directory.disable(delivery.endpoint_id, "the endpoint answered 410 Gone"))
            again = after_failure(delivery, attempt, self._rules, random.random(), now_ms)
        if again is None:
            last_error = delivery.last_error if attempt is None else attempt.error
            await _persist(lambda: outbox.record_given_up(replace(delivery, last_error=last_error), now_ms))
            _ended("exhausted", delivery, error=last_error)
        return again

    def _patience_s(self, lane: Lane | None) -> float:
        """How long to leave a delivery alone whose lane had no room: the longer the endpoint has been failing, the longer."""
        if lane is None:
            return self._rules.step_max_s
        failures = max(1, lane.failures)
        return retry_delay_s(failures, random.random(), first_s=self._rules.first_s, step_max_s=self._rules.step_max_s)


async def _persist(operation: Callable[[], Awaitable[_T]]) -> _T:
    """Repeat while Redis cannot be reached: the receiver has answered, and must not be asked again because of us.

    The repetition is safe: ``finish``, ``retry_done`` and ``retry_again`` change nothing the second time.
    """
    pause_s = 0.05
    while True:
        try:
            return await operation()
        except (RedisError, OSError) as error:
            _log.warning("redis.failed", error=type(error).__name__)
        await asyncio.sleep(pause_s)
        pause_s = min(_REDIS_PAUSE_MAX_S, 2 * pause_s)


def _delivered(delivery: Delivery, attempt: Attempt) -> None:
    WEBHOOK_DELIVERIES.labels("delivered").inc()
    _log.debug("delivered", **_fields(delivery), seconds=round(attempt.seconds, 3))


def _ended(result: str, delivery: Delivery, **more: object) -> None:
    WEBHOOK_DELIVERIES.labels(result).inc()
    _log.error("delivery.ended", result=result, **_fields(delivery), **more)


def _fields(delivery: Delivery) -> dict[str, object]:
    """What a log line may say of a delivery: names, never the payload, the URL or the secret."""
    entry = delivery.entry
    return {
        "notification_id": entry.id,
        "type": entry.type,
        "customer_id": entry.customer_id,
        "alert_id": entry.alert_id,
        "endpoint_id": delivery.endpoint_id,
        "attempts": delivery.attempts,
    }


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
