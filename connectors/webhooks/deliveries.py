"""From the outbox into the lanes, and the results back: the order of steps that loses nothing.

What a dispatcher works on is leased to it in Redis, and each step there is one script (connectors/redis/outbox.py). So whatever
this process forgets by dying is due again when the lease runs out, and is sent again under the same id.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

import orjson
import structlog
from prometheus_client import Counter as Metric
from redis.asyncio import Redis

from connectors import clock
from connectors.agreement import PROCESS
from connectors.metrics import EVENT_TO_DELIVERY, EVENT_TO_SUCCESS, WEBHOOK_DELIVERIES
from connectors.redis.outbox import UNREADABLE, Outbox, admit_all, due_endpoints, is_readable, take_all
from connectors.redis.types import Admission, Delivery, Ended, Ending, OutboxEntry, PutBack, is_notice
from connectors.webhooks.client import Attempt
from connectors.webhooks.conclusions import Conclusions
from connectors.webhooks.containment import contained
from connectors.webhooks.digests import Digests
from connectors.webhooks.endpoints import Endpoint, EndpointDirectory
from connectors.webhooks.lanes import Job, Lane, Lanes, Spawn
from connectors.webhooks.notices import Notices
from connectors.webhooks.outcomes import FAULT_PAUSE_S, after_failure, new_delivery, postponed
from connectors.webhooks.persist import clock_ms, persist
from connectors.webhooks.routes import Routes
from connectors.webhooks.schedule import Schedule
from connectors.webhooks.severities import AlertFields

_log = structlog.get_logger("webhooks.deliveries")
_GONE_AT_ONCE = 256
_END_OLD_GRACE_S = 3600.0
_RECORDED_AT_ONCE = 8
"""Failures that are written at the same time. When a hundred endpoints time out together, each would open a connection to Redis
of its own, and everybody else would wait for that."""
_CLOSED_PATIENCE_S = 0.25  # a lane that was closed is gone, or opened anew, soon


@dataclass(slots=True)
class _FirstByte:
    """Observed once for a notification, however many endpoints it goes to, and not where no event crossed the line."""

    entry: OutboxEntry
    told: bool = False

    def __call__(self) -> None:
        if not self.told and self.entry.appended_at_ms is not None:
            EVENT_TO_DELIVERY.observe(max(0.0, clock.now_s() - self.entry.appended_at_ms / 1000))
        self.told = True


class Deliveries:
    """Makes jobs of entries and deliveries, and records what came of them. ``lease_ms``: longer than a job may wait and take."""

    def __init__(
        self,
        redis: Redis,
        lanes: Lanes,
        directory: EndpointDirectory,
        schedule: Schedule,
        spawn: Spawn,
        alert_fields: AlertFields,
        notices: Notices,
        outboxes: Sequence[Outbox],
        *,
        severities: Sequence[str],
        lease_ms: int,
        disable_after_s: float,
    ) -> None:
        self._redis = redis
        self._lanes = lanes
        self._spawn = spawn
        self._conclusions = Conclusions(redis, spawn, lease_ms, self._concluded)
        self._directory = directory
        self._alert_fields = alert_fields.of
        self._notices = notices
        self._digests = Digests(redis, outboxes, lease_ms, self._go)
        self._routes = Routes({}, severities)
        self._schedule = schedule
        self._lease_ms = lease_ms
        self._disable_after_ms = int(disable_after_s * 1000)
        self._turn = 0
        self._recording = asyncio.Semaphore(_RECORDED_AT_ONCE)

    # --- into the lanes ---------------------------------------------------------------------------------------------

    async def admit(self, read: Sequence[tuple[Outbox, Sequence[OutboxEntry]]]) -> None:
        """Give the first entries of streams to the endpoints that want them: to be sent now where the lane has room, else later.
        What no endpoint wants ends here, in the log; what there is no enabled endpoint for at all stays where it is."""
        routes, fields = await self._routed([entry for _, entries in read for entry in entries])
        if not routes.enabled:
            return  # the last endpoint has just gone
        now_ms = clock_ms()
        wanted = [(outbox, [(entry, _wanting(routes, entry, fields)) for entry in entries]) for outbox, entries in read]
        going = [(entry, endpoints) for _, entries in wanted for entry, endpoints in entries if endpoints]
        held = await self._digests.held(going, now_ms)
        if routes.enabled is not self._lanes.enabled:
            return  # they changed meanwhile: read again
        room: dict[str, int] = {}
        moves = [
            (
                outbox,
                [
                    (entry, self._admissions(entry, endpoints, room, held, now_ms) or _unwanted(routes, entry, endpoints, now_ms))
                    for entry, endpoints in entries
                ],
            )
            for outbox, entries in wanted
        ]
        admitted = await admit_all(self._redis, moves, now_ms, self._lease_ms)
        for (outbox, entries), (moved, leased, superseded) in zip(moves, admitted, strict=True):
            if superseded:
                WEBHOOK_DELIVERIES.labels("superseded").inc(superseded)
            _tell_unwanted(entries[:moved])
            first_bytes = {entry.id: _FirstByte(entry) for entry, _ in entries}
            for delivery in leased:
                with contained("entry", **_fields(delivery)):
                    await self.send(outbox, delivery, first_bytes[delivery.entry.id])

    async def _routed(self, entries: Sequence[OutboxEntry]) -> tuple[Routes, Mapping[str, Mapping[str, str]]]:
        """The routes of the endpoints that are enabled now, and the custom fields that they need. Raises RedisError."""
        while True:
            routes = self._routes
            if routes.enabled is not self._lanes.enabled:
                self._routes = Routes(self._lanes.enabled, routes.severities)
                continue
            needed = []
            for entry in entries:
                with contained("entry", notification_id=entry.id):
                    if routes.needs_fields(entry):
                        needed.append(entry)
            fields = await self._alert_fields(needed) if needed else {}
            if routes.enabled is self._lanes.enabled:  # else they changed meanwhile
                return routes, fields

    def _admissions(
        self,
        entry: OutboxEntry,
        endpoints: Sequence[Endpoint] | None,
        room: dict[str, int],
        held: Mapping[tuple[str, str], int],
        now_ms: int,
    ) -> list[Admission]:
        lanes = [lane for endpoint in endpoints or () if (lane := self._lanes.lane(endpoint.id)) is not None]
        return [
            self._admission(entry, lane, room, now_ms)
            if (start_ms := held.get((entry.id, lane.client.endpoint.id))) is None
            else _held(entry, lane.client.endpoint, start_ms, now_ms)
            for lane in lanes
        ]

    def _admission(self, entry: OutboxEntry, lane: Lane, room: dict[str, int], now_ms: int) -> Admission:
        """``room``: of the lanes that entries of this admission have been given to."""
        endpoint = lane.client.endpoint
        delivery = new_delivery(entry, endpoint.id, now_ms)
        room[endpoint.id] = room.get(endpoint.id, lane.room) - 1
        if room[endpoint.id] >= 0:
            return Admission(delivery, True, endpoint.supersede)
        later = replace(delivery, due_ms=now_ms + int(lane.ready_in_s * 1000))
        return Admission(later, False, endpoint.supersede)

    async def give_up(self, outbox: Outbox, entries: Sequence[OutboxEntry], why: str) -> None:
        """What stood first in the outbox for too long, into the log."""
        now_ms = clock_ms()
        moves = [(entry, [_logged_only(entry, (("", why),), now_ms)]) for entry in entries]
        ((moved, _, _),) = await admit_all(self._redis, [(outbox, moves)], now_ms, self._lease_ms)
        _tell_unwanted(moves[:moved], "expired")

    async def take_due(self, outboxes: Sequence[Outbox]) -> bool:
        """Take what is due of endpoints whose lanes have room, and of endpoints that are gone, to end it. What belongs to a
        disabled endpoint stays due. Returns whether it took anything."""
        now_ms = clock_ms()
        due = await due_endpoints(self._redis, outboxes, now_ms)
        if any(endpoint_id not in self._directory.known for each in due for endpoint_id in each):
            await self._directory.refresh()  # whoever wrote the delivery may have seen a younger endpoint than we did
        self._turn += 1
        limits = [(outboxes[at], each) for at, each in enumerate(self._limits(due)) if each]
        if not limits:
            return False
        taken = await take_all(self._redis, limits, now_ms, self._lease_ms)
        for outbox, deliveries in taken:
            for delivery in deliveries:
                with contained("entry", **_fields(delivery)):
                    await self.send(outbox, delivery)
        return any(deliveries for _, deliveries in taken)

    def _limits(self, due: Sequence[Sequence[str]]) -> list[dict[str, int]]:
        """For each partition how many may be taken of an endpoint: its lane's room is shared out among the partitions that have
        something for it, beginning with another one each time."""
        holders = Counter(endpoint_id for each in due for endpoint_id in each)
        room = {}
        for endpoint_id in holders:
            if endpoint_id not in self._directory.known:
                room[endpoint_id] = _GONE_AT_ONCE
            elif (lane := self._lanes.lane(endpoint_id)) is not None:
                room[endpoint_id] = lane.room
        share = {endpoint_id: max(1, each // holders[endpoint_id]) for endpoint_id, each in room.items()}
        limits: list[dict[str, int]] = [{} for _ in due]
        for step in range(len(due)):
            at = (self._turn + step) % len(due)
            for endpoint_id in due[at]:
                if (limit := min(share.get(endpoint_id, 0), room.get(endpoint_id, 0))) > 0:
                    limits[at][endpoint_id] = limit
                    room[endpoint_id] -= limit
        return limits

    async def end_old(self, outbox: Outbox, limit: int) -> None:
        """Give up deliveries that are too old, though their lanes let none through. An hour of grace: those whose lane is open
        end by themselves, after an attempt."""
        before_ms = clock_ms() - int((self._schedule.age_max_s + _END_OLD_GRACE_S) * 1000)
        for delivery in await outbox.admitted_before(before_ms, limit):
            lane = self._lanes.lane(delivery.endpoint_id)
            if delivery.digest and clock_ms() - delivery.digest_at_ms < 2 * (clock_ms() - before_ms):
                continue  # it ends with its digest
            if (lane is None or lane.blocked) and postponed(delivery, 0.0, self._schedule, clock_ms()) is None:
                await self.send(outbox, (await self._conclude(outbox, delivery, "exhausted", b""))[1])

    async def send(self, outbox: Outbox, delivery: Delivery | None, first_byte: Callable[[], None] | None = None) -> None:
        """Offer a leased delivery to its endpoint's lane."""
        while delivery is not None:
            delivery = await self._offer(outbox, delivery, first_byte)

    async def _offer(self, outbox: Outbox, delivery: Delivery, first_byte: Callable[[], None] | None) -> Delivery | None:
        """The delivery to go on with, if this one has ended without being sent."""
        if delivery.endpoint_id not in self._directory.known:
            return (await self._conclude(outbox, delivery, "endpoint_removed", b""))[1]
        if delivery.digest:
            return await self._digests.settle(outbox, delivery)
        if first_byte is None and delivery.attempts == 0:
            first_byte = _FirstByte(delivery.entry)
        lane = self._lanes.lane(delivery.endpoint_id)
        if lane is not None and lane.offer(Job(delivery, partial(self._over, outbox, delivery, lane), first_byte)):
            return None
        return await self._record(outbox, delivery, lane, None)

    def _go(self, outbox: Outbox, delivery: Delivery) -> None:
        self._spawn(self.send(outbox, delivery))

    # --- and out of them --------------------------------------------------------------------------------------------

    def _over(self, outbox: Outbox, delivery: Delivery, lane: Lane, attempt: Attempt | None) -> None:
        """A lane is done with a delivery. Its worker goes on: what follows needs no place in the lane."""
        if attempt is not None and attempt.outcome == "success" and delivery.entry.appended_at_ms is not None:
            EVENT_TO_SUCCESS.observe(max(0.0, attempt.at_s + attempt.seconds - delivery.entry.appended_at_ms / 1000))
        plain = not delivery.members and not self._directory.is_failing(delivery.endpoint_id)
        if plain and attempt is not None and attempt.outcome == "success":
            done = _delivered(delivery)
            self._conclusions.add(outbox, Ending(done, "delivered", attempt_record(attempt)))
        else:
            self._spawn(self._go_on(outbox, delivery, lane, attempt))

    async def _go_on(self, outbox: Outbox, delivery: Delivery, lane: Lane, attempt: Attempt | None) -> None:
        async with self._recording:
            following = await self._record(outbox, delivery, lane, attempt)
        await self.send(outbox, following)

    def _concluded(self, outbox: Outbox, ending: Ending, ended: Ended) -> None:
        if ended[0]:
            _told(ending.delivery, ending.status)
        if ended[1] is not None:
            self._go(outbox, ended[1])

    async def _record(self, outbox: Outbox, delivery: Delivery, lane: Lane | None, attempt: Attempt | None) -> Delivery | None:
        """Write down how the delivery goes on; returns the next one of its order key if it has ended. ``lane``: which made the
        attempt; the endpoint may have another one by now."""
        now_ms = clock_ms()
        if attempt is None or lane is None:
            again = postponed(delivery, self._patience_s(delivery.endpoint_id), self._schedule, now_ms)
            logged = b""
        else:
            await self._learn(delivery, lane, attempt, now_ms)
            logged = attempt_record(attempt)
            if attempt.outcome == "success":
                done = _delivered(delivery)
                return (await self._conclude(outbox, done, "delivered", logged))[1]
            again = after_failure(delivery, attempt, self._schedule, random.random(), now_ms)
        if again is None:
            if attempt is not None:
                delivery = replace(delivery, attempts=delivery.attempts + (not attempt.is_fault), last_error=attempt.error)
            return (await self._conclude(outbox, delivery, "exhausted", logged))[1]
        later = again
        superseded = attempt is not None and not delivery.members and self._supersedes(delivery.endpoint_id)
        put = await persist(lambda: outbox.put_back(delivery, later, now_ms, logged, unless_followed=superseded))
        if put is PutBack.FOLLOWED:
            return (await self._conclude(outbox, later, "superseded", logged))[1]
        return None

    def _supersedes(self, endpoint_id: str) -> bool:
        endpoint = self._directory.enabled.get(endpoint_id)
        return endpoint is not None and endpoint.supersede

    async def _conclude(self, outbox: Outbox, delivery: Delivery, status: str, logged: bytes) -> Ended:
        if delivery.members:
            await self._digests.end(delivery, status)
        notice = self._notices.exhausted(delivery) if status == "exhausted" else None
        ended, follower = await persist(lambda: outbox.conclude(delivery, status, clock_ms(), self._lease_ms, logged, notice))
        if ended:
            _told(delivery, status)
        return ended, follower

    async def _learn(self, delivery: Delivery, lane: Lane, attempt: Attempt, now_ms: int) -> None:
        """What an attempt says about its endpoint."""
        endpoint_id, tried = delivery.endpoint_id, lane.client.endpoint
        if attempt.outcome == "success":
            await persist(lambda: self._notices.recovered(endpoint_id))
            await persist(lambda: self._directory.note_success(endpoint_id))
            return
        _log.info("attempt.failed", **_fields(delivery), error=attempt.error, seconds=round(attempt.seconds, 3))
        if attempt.is_fault:
            lane.pause(FAULT_PAUSE_S)
            return
        if attempt.status in {429, 503}:  # the receiver is busy: not with this delivery, but with all
            step_s = self._schedule.delay_s(max(1, lane.failures), random.random())
            lane.pause(max(attempt.retry_after_s or 0.0, step_s))
        since_ms = await persist(lambda: self._directory.note_failure(endpoint_id, now_ms))
        if attempt.gone:
            await persist(lambda: self._directory.disable(tried, attempt.gone))
        elif now_ms - since_ms > self._disable_after_ms and PROCESS.agrees:
            since = await persist(lambda: self._directory.failing_since(endpoint_id))
            if since is not None and now_ms - since > self._disable_after_ms:
                days = f"{self._disable_after_ms / 86_400_000:g} days"
                reason = f"every attempt has failed for {days}; the last one: {attempt.error}"
                await persist(lambda: self._directory.disable(tried, reason))

    def _patience_s(self, endpoint_id: str) -> float:
        """How long to leave a delivery alone that its lane did not take."""
        lane = self._lanes.lane(endpoint_id)
        return _CLOSED_PATIENCE_S if lane is None else lane.ready_in_s * (1.0 + 0.2 * random.random())


def _wanting(routes: Routes, entry: OutboxEntry, fields: Mapping[str, Mapping[str, str]]) -> list[Endpoint] | None:
    """None: it cannot be read, so that nobody can be asked."""
    with contained("entry", notification_id=entry.id):
        if entry.type != UNREADABLE and is_readable(entry.body):
            return routes.wanted(entry, fields)
    return None


def _unwanted(routes: Routes, entry: OutboxEntry, asked: Sequence[Endpoint] | None, now_ms: int) -> list[Admission]:
    """Nothing for a notice that nobody is subscribed to any more."""
    if asked is None:
        return [_logged_only(entry, (("", "it cannot be read"),), now_ms)]
    return [] if is_notice(entry.type) else [_logged_only(entry, routes.unwanted(entry), now_ms)]


def _logged_only(entry: OutboxEntry, why: tuple[tuple[str, str], ...], now_ms: int) -> Admission:
    return Admission(replace(new_delivery(entry, "", now_ms), unwanted=why), False)


def _tell_unwanted(moved: Sequence[tuple[OutboxEntry, Sequence[Admission]]], result: str = "unwanted") -> None:
    """A notice that nobody is subscribed to is no news."""
    for entry, admissions in moved:
        if admissions and admissions[0].delivery.unwanted:
            _counted(result).inc()
            why = admissions[0].delivery.unwanted
            _log.warning(
                f"notification.{result}",
                notification_id=entry.id,
                type=entry.type,
                customer_id=entry.customer_id,
                alert_id=entry.alert_id,
                why=[f"{endpoint_id}: {reason}" if endpoint_id else reason for endpoint_id, reason in why[:3]],
            )


def _delivered(delivery: Delivery) -> Delivery:
    return replace(delivery, attempts=delivery.attempts + 1, last_error="")


@cache
def _counted(status: str) -> Metric:
    """Looking a child up costs more than counting it."""
    return WEBHOOK_DELIVERIES.labels(status)


def _held(entry: OutboxEntry, endpoint: Endpoint, start_ms: int, now_ms: int) -> Admission:
    """Due when its digest is to be made."""
    assert endpoint.digest is not None
    at_ms = start_ms + endpoint.digest[1]
    window = f"{endpoint.id}:{entry.alert_id}:{start_ms}"
    delivery = new_delivery(entry, endpoint.id, now_ms)
    return Admission(replace(delivery, due_ms=at_ms, digest=window, digest_at_ms=at_ms), False, endpoint.supersede)


def _told(delivery: Delivery, status: str) -> None:
    _counted(status).inc()
    if status != "delivered":
        _log.error("delivery.ended", result=status, **_fields(delivery), error=delivery.last_error)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)


def attempt_record(attempt: Attempt) -> bytes:
    """What the log keeps of an attempt (JSON)."""
    return orjson.dumps(
        {
            "at_ms": int(attempt.at_s * 1000),
            "outcome": attempt.outcome,
            "status": attempt.status,
            "seconds": round(attempt.seconds, 6),
            "dns_seconds": _rounded(attempt.timings.dns_s),
            "connect_seconds": _rounded(attempt.timings.connect_s),
            "tls_seconds": _rounded(attempt.timings.tls_s),
            "headers_seconds": _rounded(attempt.timings.headers_s),
            "requests": attempt.sent,
            "response": attempt.response.decode("utf-8", "replace"),
        }
    )


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
