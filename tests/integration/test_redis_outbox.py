"""The outbox and the lanes: nothing is lost when a dispatcher dies, nothing is taken by two at once, and one awaits the other."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import orjson
import pytest
from redis.asyncio import Redis

from connectors.redis.batches import outbox_fields
from connectors.redis.deliveries import DeliveryLog
from connectors.redis.keys import PartitionKeys
from connectors.redis.outbox import ATTEMPTS_KEPT, Outbox, read_first
from connectors.redis.throttle import take_tokens
from connectors.redis.types import Admission, Committed, Delivery, OutboxDepth, OutboxEntry, PutBack
from connectors.webhooks.outcomes import new_delivery
from engine.versions import StoredByNewerRelease
from tests.support.redis_stores import NOW_MS, batch_at, entry_of, partition_store, snapshot

LEASE_MS = 30_000


async def write(redis: Redis, *entries: OutboxEntry, partition: int = 3) -> Outbox:
    store = partition_store(redis, partition)
    position = await store.claim("worker")
    assert isinstance(await store.commit(batch_at(position, notifications=entries)), Committed)
    return Outbox(redis, partition)


async def read(outbox: Outbox, redis: Redis, count: int = 100) -> list[OutboxEntry]:
    return [entry for _, entries in await read_first(redis, [outbox], count, None) for entry in entries]


def admissions(
    entry: OutboxEntry, *endpoints: str, lease: bool = True, supersede: bool = False, due_ms: int = NOW_MS
) -> tuple[OutboxEntry, list[Admission]]:
    made = [replace(new_delivery(entry, endpoint_id, NOW_MS), due_ms=due_ms) for endpoint_id in endpoints or ("e",)]
    return entry, [Admission(delivery, lease, supersede) for delivery in made]


async def admitted(redis: Redis, *entries: OutboxEntry, **how: bool) -> tuple[Outbox, list[Delivery]]:
    """Written, read and admitted for the endpoint "e"; what the caller has leased."""
    outbox = await write(redis, *entries)
    moves = [admissions(entry, **how) for entry in await read(outbox, redis)]  # type: ignore[arg-type]
    moved, leased, _ = await outbox.admit(moves, NOW_MS, LEASE_MS)
    assert moved == len(entries)
    return outbox, leased


def apart(number: int) -> OutboxEntry:
    """Of a customer of its own."""
    return replace(entry_of(number), customer_id=f"c-{number}")


async def take(outbox: Outbox, now_ms: int, limit: int = 100) -> list[Delivery]:
    return await outbox.take(dict.fromkeys(await outbox.due_endpoints(now_ms), limit), now_ms, LEASE_MS)


def ids(deliveries: list[Delivery]) -> list[str]:
    return [delivery.entry.id.removeprefix("notification-") for delivery in deliveries]


# --- into the lanes -----------------------------------------------------------------------------------------------------


async def test_entries_are_read_in_order_with_every_byte_and_stay_until_they_are_admitted(redis: Redis) -> None:
    written = [entry_of(1, b'{"a":"\xc3\xa9"}'), replace(entry_of(2), appended_at_ms=None)]
    outbox = await write(redis, *written)
    for _ in range(2):
        assert [replace(entry, entry_id="") for entry in await read(outbox, redis)] == written
    moves = [admissions(entry) for entry in await read(outbox, redis)]
    _, leased, _ = await outbox.admit(moves, NOW_MS, LEASE_MS)
    assert [replace(delivery.entry, entry_id="") for delivery in leased] == written[:1]
    assert await read(outbox, redis) == []


async def test_several_partitions_in_one_read(redis: Redis) -> None:
    boxes = [await write(redis, entry_of(p), entry_of(p + 10), partition=p) for p in range(3)]
    first = await read_first(redis, boxes, 1, None)
    assert [(box.partition, entry.id) for box, (entry,) in first] == [(p, f"notification-{p}") for p in range(3)]


async def test_a_waiting_reader_is_woken(redis: Redis) -> None:
    outbox = await write(redis)
    waiting = asyncio.create_task(read_first(redis, [outbox], 10, 5_000))
    await asyncio.sleep(0)
    await write(redis, entry_of(1))
    ((_, entries),) = await waiting
    assert [entry.id for entry in entries] == ["notification-1"]


async def test_of_two_that_read_the_same_one_admits_and_the_other_changes_nothing(redis: Redis) -> None:
    outbox = await write(redis, apart(1), apart(2))
    moves = [admissions(entry) for entry in await read(outbox, redis)]
    assert (await outbox.admit(moves[:1], NOW_MS, LEASE_MS))[0] == 1
    before = await snapshot(redis)
    assert await outbox.admit(moves, NOW_MS, LEASE_MS) == (0, [], 0)  # from the first that is gone
    assert await snapshot(redis) == before
    moved, leased, _ = await outbox.admit(moves[1:], NOW_MS, LEASE_MS)
    assert (moved, ids(leased)) == (1, ["2"])


async def test_each_endpoint_has_its_delivery_and_its_lane(redis: Redis) -> None:
    outbox = await write(redis, entry_of(1))
    (entry,) = await read(outbox, redis)
    _, leased, _ = await outbox.admit([admissions(entry, "a", "b")], NOW_MS, LEASE_MS)
    assert [delivery.id for delivery in leased] == ["notification-1:a", "notification-1:b"]
    assert await outbox.depth() == OutboxDepth(0, 2, entry.written_at_ms)
    assert await outbox.due_endpoints(NOW_MS + LEASE_MS - 1) == []
    assert await outbox.due_endpoints(NOW_MS + LEASE_MS) == ["a", "b"]


async def test_without_a_lease_it_is_due_when_it_was_said_to_be(redis: Redis) -> None:
    outbox = await write(redis, apart(1))
    (entry,) = await read(outbox, redis)
    assert await outbox.admit([admissions(entry, lease=False, due_ms=NOW_MS + 5)], NOW_MS, LEASE_MS) == (1, [], 0)
    assert await take(outbox, NOW_MS + 4) == []
    assert ids(await take(outbox, NOW_MS + 5)) == ["1"]


async def test_a_notification_that_a_replay_writes_again_is_not_sent_twice_at_once(redis: Redis) -> None:
    outbox, (leased,) = await admitted(redis, entry_of(1))
    outbox, again = await admitted(redis, entry_of(1))
    assert again == []
    assert (await outbox.depth()).retries == 1
    assert (await outbox.conclude(leased, "delivered", NOW_MS, LEASE_MS)) == (True, None)


# --- order --------------------------------------------------------------------------------------------------------------


async def test_the_next_of_a_customer_and_alert_waits_for_the_previous_through_its_retries(redis: Redis) -> None:
    outbox, leased = await admitted(redis, entry_of(1), entry_of(2), apart(3), entry_of(4))
    assert ids(leased) == ["1", "3"]
    again = replace(leased[0], attempts=1, due_ms=NOW_MS + 1_000)
    assert await outbox.put_back(leased[0], again, NOW_MS)
    assert ids(await take(outbox, NOW_MS + 1_000)) == ["1"]
    (late,) = [each for each in await take(outbox, NOW_MS + 10 * LEASE_MS) if each.entry.customer_id == "acme"]
    assert ids([late]) == ["1"]  # its lease ran out: still the first
    ended, follower = await outbox.conclude(late, "exhausted", NOW_MS + 10 * LEASE_MS, LEASE_MS)
    assert ended
    assert follower is not None
    assert (ids([follower]), follower.lease_ms) == (["2"], NOW_MS + 11 * LEASE_MS)
    assert await outbox.conclude(late, "delivered", NOW_MS, LEASE_MS) == (False, None)  # the lost reply's repetition
    _, last = await outbox.conclude(follower, "delivered", NOW_MS, LEASE_MS)
    assert last is not None
    assert ids([last]) == ["4"]
    assert await outbox.conclude(last, "delivered", NOW_MS, LEASE_MS) == (True, None)


async def test_endpoints_and_groups_do_not_wait_for_each_other(redis: Redis) -> None:
    def grouped(number: int, group: str) -> OutboxEntry:
        return entry_of(number, orjson.dumps({"properties": {"group_values": [{"key": "org", "value": group}]}}))

    outbox = await write(redis, grouped(1, "x"), grouped(2, "y"), grouped(3, "x"))
    moves = [admissions(entry, "a", "b") for entry in await read(outbox, redis)]
    _, leased, _ = await outbox.admit(moves, NOW_MS, LEASE_MS)
    assert [delivery.id for delivery in leased] == [f"notification-{n}:{e}" for n in (1, 2) for e in ("a", "b")]


async def test_supersede_drops_what_waits_and_leaves_alone_what_is_under_way(redis: Redis) -> None:
    outbox, (first,) = await admitted(redis, entry_of(1), entry_of(2), supersede=True)
    _, none = await admitted(redis, entry_of(3), supersede=True)
    assert none == []
    _, follower = await outbox.conclude(first, "delivered", NOW_MS, LEASE_MS)
    assert follower is not None
    assert ids([follower]) == ["3"]
    log = DeliveryLog(redis, 3)
    second = await log.get("notification-2:e")
    assert second is not None
    assert (second.status, second.changed_ms) == ("superseded", NOW_MS)
    # the one that waits for a retry gives way, too: the new one goes at once
    assert await outbox.put_back(follower, replace(follower, attempts=1, due_ms=NOW_MS + 60_000), NOW_MS)
    _, leased = await admitted(redis, entry_of(4), supersede=True)
    assert ids(leased) == ["4"]
    assert (await outbox.depth()).retries == 1


async def test_put_back_only_while_no_other_waits_behind(redis: Redis) -> None:
    outbox, (first,) = await admitted(redis, entry_of(1))
    again = replace(first, attempts=1, due_ms=NOW_MS + 1_000)
    await admitted(redis, entry_of(2))
    before = await snapshot(redis)
    assert await outbox.put_back(first, again, NOW_MS, unless_followed=True) is PutBack.FOLLOWED
    assert await snapshot(redis) == before
    _, follower = await outbox.conclude(first, "superseded", NOW_MS, LEASE_MS)
    assert follower is not None
    assert ids([follower]) == ["2"]
    assert await outbox.put_back(follower, replace(follower, attempts=1), NOW_MS, unless_followed=True) is PutBack.DONE
    assert await outbox.put_back(follower, replace(follower, attempts=1), NOW_MS, unless_followed=True) is PutBack.LEASE_LOST


# --- leases -------------------------------------------------------------------------------------------------------------


async def test_two_dispatchers_never_hold_the_same_delivery(redis: Redis) -> None:
    outbox, _ = await admitted(redis, *(apart(i) for i in range(40)), lease=False)
    taken = await asyncio.gather(*(take(outbox, NOW_MS, 10) for _ in range(6)))
    found = [delivery.id for some in taken for delivery in some]
    assert len(found) == len(set(found)) == 40


async def test_no_more_is_taken_of_an_endpoint_than_was_asked_for(redis: Redis) -> None:
    outbox = await write(redis, *(apart(i) for i in range(5)))
    moves = [admissions(entry, "a", "b", lease=False) for entry in await read(outbox, redis)]
    await outbox.admit(moves, NOW_MS, LEASE_MS)
    taken = await outbox.take({"b": 2}, NOW_MS, LEASE_MS)
    assert [delivery.id for delivery in taken] == ["notification-0:b", "notification-1:b"]
    assert len(await take(outbox, NOW_MS)) == 8
    assert await outbox.take({}, NOW_MS, LEASE_MS) == []


async def test_a_lease_that_ran_out_gives_the_delivery_to_another(redis: Redis) -> None:
    outbox, (slow,) = await admitted(redis, entry_of(1))
    assert await take(outbox, NOW_MS + LEASE_MS - 1) == []
    (other,) = await take(outbox, NOW_MS + LEASE_MS)
    assert other.id == slow.id

    before = await snapshot(redis)
    assert not await outbox.put_back(slow, replace(slow, attempts=2, due_ms=NOW_MS + 99_000), NOW_MS, b"{}")
    assert await snapshot(redis) == before
    again = replace(other, attempts=2, due_ms=NOW_MS + 40_000, last_error="timeout", lease_ms=0)
    assert await outbox.put_back(other, again, NOW_MS)
    assert not await outbox.put_back(other, again, NOW_MS)
    assert await take(outbox, NOW_MS + 39_999) == []
    (third,) = await take(outbox, NOW_MS + 40_000)
    assert replace(third, lease_ms=0) == again

    assert await outbox.conclude(third, "delivered", NOW_MS, LEASE_MS) == (True, None)
    assert await outbox.conclude(third, "delivered", NOW_MS, LEASE_MS) == (False, None)
    assert not await outbox.put_back(third, again, NOW_MS)  # what has ended does not come back
    assert await outbox.depth() == OutboxDepth(0, 0, None)
    keys = PartitionKeys(3)
    live = (keys.deliveries, keys.deliveries_at, keys.delivery_lanes, keys.delivery_leases, keys.delivery_places, keys.due("e"))
    assert await redis.exists(*live) == 0


async def test_a_delivery_is_put_back_as_itself_only(redis: Redis) -> None:
    outbox, (one,) = await admitted(redis, entry_of(1))
    with pytest.raises(ValueError, match="cannot stand for"):
        await outbox.put_back(one, replace(one, endpoint_id="other"), NOW_MS)


async def test_what_no_endpoint_took_expires_by_age(redis: Redis) -> None:
    outbox = await write(redis, *(entry_of(i) for i in range(5)))
    last_ms = int((await read(outbox, redis))[-1].entry_id.partition("-")[0])
    assert await outbox.added_before(0, 10) == []
    first = ["notification-0", "notification-1", "notification-2"]
    assert [entry.id for entry in await outbox.added_before(last_ms + 1, 3)] == first


async def test_depth_names_the_oldest_of_entries_and_deliveries(redis: Redis) -> None:
    outbox = await write(redis, entry_of(1), entry_of(2))
    (entry, _) = await read(outbox, redis)
    _, (leased,), _ = await outbox.admit([admissions(entry)], NOW_MS, LEASE_MS)
    assert await outbox.depth() == OutboxDepth(1, 1, NOW_MS + 1)
    assert [delivery.id for delivery in await outbox.admitted_before(NOW_MS + 1, 10)] == [leased.id]
    assert await outbox.admitted_before(NOW_MS, 10) == []
    await outbox.conclude(leased, "delivered", NOW_MS, LEASE_MS)
    assert await outbox.depth() == OutboxDepth(1, 0, NOW_MS + 2)


# --- the log ------------------------------------------------------------------------------------------------------------


async def test_the_log_tells_what_became_of_each_with_its_latest_attempts(redis: Redis) -> None:
    outbox, (leased,) = await admitted(redis, entry_of(1))
    log = DeliveryLog(redis, 3)
    waiting = await log.get(leased.id)
    assert waiting is not None
    assert (waiting.status, waiting.changed_ms) == ("waiting", NOW_MS)
    for number in range(ATTEMPTS_KEPT + 5):
        assert await outbox.put_back(leased, replace(leased, attempts=number + 1), NOW_MS + number, b"%d" % number)
        (leased,) = await take(outbox, NOW_MS + LEASE_MS)
    done = replace(leased, attempts=leased.attempts + 1)
    await outbox.conclude(done, "delivered", NOW_MS + 9_000, LEASE_MS, b"last")
    ended = await log.get(leased.id)
    assert ended is not None
    assert (ended.status, ended.changed_ms, ended.delivery.attempts) == ("delivered", NOW_MS + 9_000, ATTEMPTS_KEPT + 6)
    attempts = await log.attempts(leased.id)
    assert attempts == [b"%d" % number for number in range(6, ATTEMPTS_KEPT + 5)] + [b"last"]
    assert 0 < await redis.pttl(PartitionKeys(3).attempts(leased.id)) <= 14 * 86_400_000
    assert await log.get("another:e") is None


async def test_the_log_is_read_page_by_page_the_latest_change_first(redis: Redis) -> None:
    outbox, leased = await admitted(redis, *(apart(i) for i in range(7)))  # all in one millisecond
    await outbox.conclude(leased[2], "delivered", NOW_MS + 5, LEASE_MS)
    log = DeliveryLog(redis, 3)
    shown: list[str] = []
    at_ms, after = 2**60, None
    while page := await log.before(at_ms, after, 2):
        assert len(page) <= 2
        shown += [each.delivery.id for each in page]
        at_ms, after = page[-1].changed_ms, page[-1].delivery.id
    assert shown == [f"notification-{number}:e" for number in (2, 6, 5, 4, 3, 1, 0)]


async def test_the_log_forgets_by_age_what_has_ended_and_nothing_else(redis: Redis) -> None:
    outbox, leased = await admitted(redis, *(apart(i) for i in range(3)))
    await outbox.conclude(leased[0], "delivered", NOW_MS + 1, LEASE_MS)
    await outbox.conclude(leased[1], "exhausted", NOW_MS + 9, LEASE_MS)
    log = DeliveryLog(redis, 3)
    size = await log.size()
    assert size.deliveries == 3
    assert size.bytes > 2 * len(leased[0].entry.body)
    assert await log.trim(NOW_MS + 5, 100) == 2  # the ended one, and the one that waits
    assert {each.delivery.id: each.status for each in await log.before(2**60, None, 10)} == {
        leased[1].id: "exhausted",
        leased[2].id: "waiting",
    }
    assert await log.trim(NOW_MS + 100_000, 100) == 2
    assert [each.status for each in await log.before(2**60, None, 10)] == ["waiting"]
    assert (await log.size()).bytes == 0


async def test_resend_begins_anew_under_the_same_id(redis: Redis) -> None:
    outbox, (leased,) = await admitted(redis, entry_of(1))
    log = DeliveryLog(redis, 3)
    under_way = await log.get(leased.id)
    assert under_way is not None
    assert await log.resend(under_way, NOW_MS) == "under way"
    await outbox.put_back(leased, replace(leased, attempts=3, due_ms=NOW_MS + 900_000), NOW_MS)
    assert await log.resend(under_way, NOW_MS + 1) == "hastened"
    (hastened,) = await take(outbox, NOW_MS + 1)
    assert hastened.attempts == 3
    await outbox.conclude(hastened, "exhausted", NOW_MS + 2, LEASE_MS)
    ended = await log.get(leased.id)
    assert ended is not None
    assert await log.resend(ended, NOW_MS + 3) == "resent"
    assert (await log.get(leased.id)) != ended
    (again,) = await take(outbox, NOW_MS + 3)
    assert (again.id, again.attempts, again.first_attempt_ms, again.entry) == (
        leased.id,
        0,
        NOW_MS + 3,
        replace(leased.entry, appended_at_ms=None),
    )


async def test_resend_waits_its_turn_behind_what_is_on_its_way(redis: Redis) -> None:
    outbox, (first,) = await admitted(redis, entry_of(1), entry_of(2))
    log = DeliveryLog(redis, 3)
    _, second = await outbox.conclude(first, "exhausted", NOW_MS, LEASE_MS)
    assert second is not None
    ended = await log.get(first.id)
    assert ended is not None
    later_ms = int(second.entry.entry_id.partition("-")[0]) + 1  # by the clock of the server, which numbered the entries
    assert await log.resend(ended, later_ms) == "waits"
    assert await log.resend(ended, later_ms) == "waits"
    _, follower = await outbox.conclude(second, "delivered", later_ms, LEASE_MS)
    assert follower is not None
    assert follower.id == first.id


# --- rates --------------------------------------------------------------------------------------------------------------


async def test_all_dispatchers_together_get_no_more_tokens_than_the_rate_allows(redis: Redis) -> None:
    asked = await asyncio.gather(*(take_tokens(redis, "e", 0.01, 7) for _ in range(5)))
    assert sum(taken for taken, _ in asked) == 1  # a hundred seconds to the next one
    assert all(99 < wait_s <= 100 for taken, wait_s in asked if not taken)
    burst = [await take_tokens(redis, "other", 100.0, 30) for _ in range(5)]
    assert [taken for taken, _ in burst[:3]] == [30, 30, 30]
    assert 10 <= burst[3][0] <= 30  # the rest of a second's tokens, and those that came meanwhile


async def test_a_bucket_that_is_full_again_leaves_no_trace(redis: Redis) -> None:
    await take_tokens(redis, "e", 10.0, 1)
    assert 0 < await redis.pttl("tidemark:{catalog}:bucket:e") <= 102


async def test_a_notification_of_a_newer_release_waits_for_it_and_holds_up_its_partition_alone(redis: Redis) -> None:
    first, second = Outbox(redis, 1), Outbox(redis, 2)
    for outbox, version in ((first, None), (first, "2"), (first, None), (second, "2")):
        fields = outbox_fields(entry_of(1))
        await redis.xadd(
            outbox.keys.outbox, dict(zip(fields[::2], fields[1::2], strict=True)) | ({"v": version} if version else {})
        )
    ((outbox, entries),) = await read_first(redis, [first, second], 10, None)
    assert (outbox, len(entries)) == (first, 1)
    with pytest.raises(StoredByNewerRelease, match=r"notification .* has version 2"):
        await read_first(redis, [second], 10, None)
