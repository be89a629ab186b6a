"""What many customers want written goes into as many commits as keep Redis free, and holds whatever comes in between."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from connectors.kafka.changes import Changes
from connectors.kafka.commits import Commits, ConfigurationMoved
from connectors.kafka.gathered import WEIGHT_MAX, Gathered, gather, slices, weight
from connectors.kafka.partition import PartitionTask
from connectors.redis.types import Batch, Change, Committed, OutboxEntry, Position, Refused
from engine.effects import Delta

NOW_US = 1_767_225_600_000_000
REVISION, CATALOG_REVISION = 3, 7


def delta_of(fields: int) -> Delta:
    return Delta(state_set={f"s|{n}": "in_alarm" for n in range(fields)}, timer_us=NOW_US)


def entry_of(customer_id: str, number: int = 0) -> OutboxEntry:
    return OutboxEntry(f"{customer_id}-{number}", "alerts.x", customer_id, "", b"{}", None, 0)


class Customer:
    """An aggregate with as many changed states as it is told; each reset changes all of them again."""

    def __init__(self, fields: int) -> None:
        self.fields = fields
        self.resets: list[str] = []

    def collect(self) -> Delta:
        return delta_of(self.fields)

    def advance(self, now_us: int) -> None:
        pass

    def reset(self, alert_id: str, now_us: int) -> None:
        self.resets.append(alert_id)


class Quarantine:
    def write_to(self, batch: Batch) -> Batch:
        return batch

    def committed(self) -> None: ...
    def refused(self) -> None: ...
    def reset(self, customer_id: str, alert_id: str) -> None: ...
    def __bool__(self) -> bool:
        return False


class Partition:
    """A partition's context over a store that keeps the commits, and refuses those in ``moved`` (by number, from 0) because the
    configuration has changed."""

    def __init__(self, customers: Mapping[str, Customer], moved: Iterable[int] = ()) -> None:
        self.customers = customers
        self.moved = set(moved)
        self.batches: list[Batch] = []
        self.dropped: list[str] = []
        self.log: list[Change] = []
        self._tried = -1
        quarantine = Quarantine()
        self.commits = Commits(cast(Any, self), self._patience, cast(Any, quarantine), 0)  # type: ignore[arg-type]
        self.commits.adopt(Position(1, 5, 0, REVISION, REVISION, 0))
        self.context: Any = SimpleNamespace(
            commits=self.commits,
            quarantine=quarantine,
            patience=self._patience,
            store=self,
            catalog=SimpleNamespace(revision=CATALOG_REVISION),
            aggregates=SimpleNamespace(drop=self.dropped.extend, trim=lambda: None),
            intake=SimpleNamespace(forget=lambda refs: None),
            partition=0,
            clock_us=lambda: NOW_US,
            bring=self._bring,
            reload=self._bring,
            gather=lambda touched, now_us: gather(touched, now_us, {}, lambda *_: None),
        )

    async def _patience(self, call: Any) -> tuple[Any, bool]:
        return await call(), False

    async def _bring(self, customer_ids: Sequence[str], now_us: int) -> dict[str, Any]:
        return {customer_id: self.customers[customer_id] for customer_id in customer_ids}

    async def customers_page(self, cursor: int, count: int) -> tuple[int, list[str]]:
        return 0, list(self.customers)

    async def due_timers(self, now_ms: int, limit: int) -> list[str]:
        return list(self.customers)

    async def changes(self, after_revision: int, limit: int) -> list[Change]:
        return [change for change in self.log if change.revision > after_revision]

    async def commit(self, batch: Batch) -> Committed | Refused:
        self._tried += 1
        if self._tried in self.moved:
            return Refused("revision", self.commits.position)
        assert batch.expected_sequence == len(self.batches)
        self.batches.append(batch)
        return Committed(len(self.batches))

    def walker(self) -> Changes:
        self.context.store = SimpleNamespace(customers=self.customers_page, changes=self.changes)
        changes = Changes(self.context, cast(Any, None))
        changes._walk_cursor = 0
        return changes

    def written(self) -> list[str]:
        return [customer_id for batch in self.batches for customer_id in batch.deltas]


def many() -> dict[str, Customer]:
    return {f"c{n}": Customer(1_500) for n in range(50)}


def bounded(batches: Iterable[Batch]) -> bool:
    return all(sum(len(delta.state_set) for delta in batch.deltas.values()) <= WEIGHT_MAX for batch in batches)


def test_slices_hold_all_in_order_and_no_more_than_the_bound_but_for_one_customer_alone() -> None:
    sizes = (10, WEIGHT_MAX, 3, 2 * WEIGHT_MAX, 0, 5, WEIGHT_MAX - 100, 50)
    whole = Gathered({f"c{n}": delta_of(size) for n, size in enumerate(sizes)}, [entry_of(f"c{n % 8}", n) for n in range(12)])
    parts = slices(whole)
    assert [customer_id for part in parts for customer_id in part.deltas] == list(whole.deltas)
    assert sorted(entry.id for part in parts for entry in part.entries) == sorted(entry.id for entry in whole.entries)
    for part in parts:
        assert {entry.customer_id for entry in part.entries} <= part.deltas.keys()
        assert weight(part) <= WEIGHT_MAX or len(part.deltas) == 1
    for part, following in itertools.pairwise(parts):
        first = next(iter(following.deltas))
        own = Gathered({first: following.deltas[first]}, [entry for entry in following.entries if entry.customer_id == first])
        assert weight(part) + weight(own) > WEIGHT_MAX  # none is smaller than it has to be
    assert slices(Gathered()) == [Gathered()]


@pytest.mark.parametrize(
    "delta",
    [
        Delta(state_set={"invoice": "x" * 2_000_000}),
        Delta(windows_set={1: {str(n): "1" for n in range(3_000)}}),
        Delta(folded_set={"2026-01": {str(n): "1" for n in range(3_000)}}),
        Delta(state_deleted=[str(n) for n in range(3_000)]),
    ],
    ids=["bytes", "windows", "folded", "deleted"],
)
def test_all_that_takes_long_weighs(delta: Delta) -> None:
    assert len(slices(Gathered({"a": delta, "b": delta}))) == 2
    loud = Gathered({"a": Delta(), "b": Delta()}, [entry_of(customer_id, n) for customer_id in "ab" for n in range(400)])
    assert len(slices(loud)) == 2


async def test_a_walk_and_timers_write_many_states_in_many_commits() -> None:
    walked = Partition(many())
    changes = walked.walker()
    await changes.walk()
    assert walked.written() == list(walked.customers)
    assert bounded(walked.batches)
    assert [batch.catalog_revision for batch in walked.batches] == [None] * 24 + [CATALOG_REVISION]
    assert not changes.walking

    timed = Partition(many())
    await PartitionTask._timers(cast(Any, SimpleNamespace(_context=timed.context)), NOW_US)
    assert timed.written() == list(timed.customers)
    assert bounded(timed.batches)


async def test_a_change_between_two_commits_of_a_walk_lets_the_chunk_be_done_again() -> None:
    partition = Partition(many(), moved=[10])
    changes = partition.walker()
    await changes.walk()
    assert changes.walking
    assert all(batch.catalog_revision is None for batch in partition.batches)
    assert set(partition.dropped) == set(partition.customers)
    await changes.walk()
    assert not changes.walking
    assert set(partition.written()) == set(partition.customers)
    assert partition.batches[-1].catalog_revision == CATALOG_REVISION


async def test_resets_in_many_commits_happen_once_each_whatever_comes_in_between() -> None:
    """Two of them of one customer, and its document's change among them; the configuration moves before the fourth commit."""
    partition = Partition({name: Customer(10 if name == "g" else 3_000) for name in "abcdefg"}, moved=[3])
    resets = [("a", "1"), ("b", "1"), ("c", "1"), ("d", "1"), ("a", "2"), ("e", "1"), ("g", "1"), ("g", "2")]
    numbered = enumerate(resets, start=REVISION + 2)
    partition.log = [Change("reset", revision, customer_id, alert_id) for revision, (customer_id, alert_id) in numbered]
    partition.log += [Change("customer", REVISION + 1, "f"), Change("customer", REVISION + 10, "a")]
    partition.log.sort(key=lambda change: change.revision)
    changes = partition.walker()
    moved = 0
    for _ in range(2):
        try:
            await changes._apply(await changes._read())
        except ConfigurationMoved:
            moved += 1
            for customer_id, customer in partition.customers.items():
                stored = partition.written().count(customer_id)
                customer.resets = customer.resets[:stored]  # as it is stored
    assert moved == 1
    assert {name: customer.resets for name, customer in partition.customers.items()} == {
        **{name: ["1"] for name in "bcde"},
        **{name: ["1", "2"] for name in "ag"},
        "f": [],
    }
    assert all(partition.written().count(name) == len(partition.customers[name].resets) for name, _ in resets)
    assert bounded(partition.batches)
    assert partition.commits.position.applied_revision == REVISION + 10
