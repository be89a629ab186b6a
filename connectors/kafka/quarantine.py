"""The customers of one partition for whom the engine raises: they stand aside, and the others go on.

    raises ── note ──► record ─┐                                      ┌─► all counted: it leaves
    its events ────────► queue ┴─ in the commit without its delta ──► release, a page in each commit
                                                                      └─► raises again: it stays, nothing of the page was written

An event that arrives meanwhile is held, too, in order and with its arrival. What is held is bounded (settings
``quarantine_events_max`` of a customer, ``quarantine_bytes_max`` of a partition); what goes beyond is dead-lettered with the
reason "quarantined". Duplicates are dropped when they are counted, as everywhere.

A customer is tried again when it is asked for (``tidemark quarantine release``), when its document or the catalog has changed,
and once by each other release of this software. Beyond ``quarantine_customers_max`` it is no customer's defect, but one of the
release or the catalog: then the partition stops (``TooManyQuarantined``), and usage waits in the log, where it costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version

import structlog

from connectors import DISTRIBUTION
from connectors.kafka.headers import read_origin, read_traceparent
from connectors.kafka.intake import Plan
from connectors.metrics import QUARANTINE_ENTRIES, QUARANTINE_RELEASED, QUARANTINED_CUSTOMERS
from connectors.redis.quarantine import HeldEvent, Record, decode_record, encode_held, encode_record, told
from connectors.redis.types import Batch
from connectors.settings import Settings
from schemas.events import encode_event

RELEASE = version(DISTRIBUTION)

log = structlog.get_logger()


class TooManyQuarantined(Exception):
    """So many customers raise that it is a defect of the release or of the catalog."""

    to_do = "see `tidemark quarantine list`; run a mended release, or mend the catalog; usage waits in the log"


class Quarantine:
    """Who is in quarantine. Holds what is stored, and what the next commit is going to change of it; performs no I/O."""

    def __init__(self, settings: Settings, partition: int) -> None:
        self._settings = settings
        self._partition = partition
        self._stored: dict[str, Record] = {}
        self._changed: dict[str, Record | None] = {}
        self._held: list[tuple[str, bytes]] = []
        self._taken: dict[str, int] = {}
        self._bytes = self._bytes_changed = 0
        self._gauge = QUARANTINED_CUSTOMERS.labels(str(partition))
        self._log = log.bind(partition=partition)

    def adopt(self, stored: Mapping[str, bytes]) -> None:
        """What is stored, after a claim. Raises StoredByNewerRelease."""
        self._stored = {customer_id: decode_record(customer_id, raw) for customer_id, raw in stored.items()}
        self._bytes = sum(record.bytes for record in self._stored.values())
        self.refused()
        self._gauge.set(len(self._stored))

    def let_go(self) -> None:
        """The partition is given up."""
        self._stored.clear()
        self.refused()
        self._gauge.set(0)

    def __contains__(self, customer_id: object) -> bool:
        return isinstance(customer_id, str) and self.record(customer_id) is not None

    def __bool__(self) -> bool:
        return bool(self._stored or self._changed)

    def __len__(self) -> int:
        """How many there are, by what is stored."""
        return len(self._stored)

    def record(self, customer_id: str) -> Record | None:
        if customer_id in self._changed:
            return self._changed[customer_id]
        return self._stored.get(customer_id)

    def outside(self, customer_ids: Iterable[str]) -> list[str]:
        """Those that are not in quarantine."""
        return [customer_id for customer_id in customer_ids if customer_id not in self] if self else list(customer_ids)

    def due(self, catalog_revision: int) -> str | None:
        """Somebody who is to be tried again: asked for, or raised under an older catalog or another release than these."""
        for customer_id, record in self._stored.items():
            if record.releasing or record.catalog_revision < catalog_revision or record.release != RELEASE:
                return customer_id
        return None

    # --- what happens to a customer -------------------------------------------------------------------------------------

    def note(
        self, customer_id: str, stage: str, error: Exception, now_us: int, catalog_revision: int, transaction_id: str = ""
    ) -> None:
        """The engine has raised for the customer: it goes into quarantine, or back there, with the next commit.

        Raises MemoryError, which is no customer's, and TooManyQuarantined.
        """
        if isinstance(error, MemoryError):
            raise error
        now_ms = now_us // 1000
        failed = Record(
            stage=stage,
            error=told(error),
            since_ms=now_ms,
            failed_ms=now_ms,
            transaction_id=transaction_id,
            catalog_revision=catalog_revision,
            release=RELEASE,
        )
        before = self.record(customer_id)
        if before is None:
            most = self._settings.quarantine_customers_max
            if sum(1 for each in {*self._stored, *self._changed} if each in self) >= most:
                raise TooManyQuarantined(
                    f"{most} customers are in quarantine, and now {customer_id!r} raises {told(error)}: this is a defect of the "
                    "release, or of a document of the catalog. Usage waits in the log until it is mended"
                ) from error
        else:
            failed = replace(
                failed,
                since_ms=before.since_ms,
                failures=before.failures + 1,
                events=before.events,
                bytes=before.bytes,
                dead_lettered=before.dead_lettered,
                resets=before.resets,
                without=before.without,
            )
        self._changed[customer_id] = failed
        QUARANTINE_ENTRIES.labels(stage).inc()
        self._log.error(
            "customer quarantined",
            customer_id=customer_id,
            stage=stage,
            transaction_id=transaction_id,
            again=before is not None,
            exc_info=error,
        )

    def hold(self, customer_id: str, held: HeldEvent) -> bool:
        """Puts an event at the end of the customer's queue; False if there is no room."""
        record = self.record(customer_id)
        assert record is not None
        event = encode_held(held)
        settings = self._settings
        size = self._bytes + self._bytes_changed + len(event)
        if record.events >= settings.quarantine_events_max or size > settings.quarantine_bytes_max:
            self._changed[customer_id] = replace(record, dead_lettered=record.dead_lettered + 1)
            return False
        self._held.append((customer_id, event))
        self._bytes_changed += len(event)
        self._changed[customer_id] = replace(record, events=record.events + 1, bytes=record.bytes + len(event))
        return True

    def release(self, customer_id: str, without: Iterable[str] = ()) -> None:
        """It is to be tried again."""
        record = self.record(customer_id)
        if record is not None:
            names = tuple(dict.fromkeys((*record.without, *without)))
            self._changed[customer_id] = replace(record, releasing=True, without=names)

    def release_all(self) -> None:
        """Anything may have changed."""
        for customer_id in self._stored:
            self.release(customer_id)

    def reset(self, customer_id: str, alert_id: str) -> None:
        """An alert of it is to be reset: that is done when it is released."""
        record = self.record(customer_id)
        if record is not None:
            self._changed[customer_id] = replace(record, resets=tuple(dict.fromkeys((*record.resets, alert_id))))

    def counted(self, customer_id: str, events: Sequence[bytes], *, leaves: bool) -> None:
        """The first events of its queue go with the next commit; ``leaves``: they are the last, and it leaves."""
        record = self.record(customer_id)
        assert record is not None
        size = sum(map(len, events))
        self._taken[customer_id] = len(events)
        self._bytes_changed -= size
        self._changed[customer_id] = (
            None if leaves else replace(record, events=record.events - len(events), bytes=record.bytes - size)
        )

    # --- what a commit does ---------------------------------------------------------------------------------------------

    def write_to(self, batch: Batch) -> Batch:
        """The batch with what is to be changed here."""
        if not self._changed:
            return batch
        records = {name: None if record is None else encode_record(record) for name, record in self._changed.items()}
        return replace(batch, quarantined=records, held=self._held, taken=self._taken)

    def committed(self) -> None:
        """What ``write_to`` gave is stored."""
        if not self._changed:
            return
        for customer_id, record in self._changed.items():
            if record is None:
                if self._stored.pop(customer_id, None) is not None:
                    QUARANTINE_RELEASED.inc()
                    self._log.warning("customer released from quarantine", customer_id=customer_id)
            else:
                self._stored[customer_id] = record
        self._bytes += self._bytes_changed
        self.refused()
        self._gauge.set(len(self._stored))

    def refused(self) -> None:
        """Nothing was written: what was to be changed is forgotten."""
        self._changed, self._held, self._taken, self._bytes_changed = {}, [], {}, 0


def held_event(plan: Plan, at: int) -> HeldEvent:
    """The event at a place of the plan, as it is held."""
    arrived = plan.here[at]
    record = arrived.record
    return HeldEvent(
        event=encode_event(arrived.event),
        seen_id=plan.seen_ids[at].hex(),
        appended_at_ms=arrived.appended_at_ms,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        place=arrived.place,
        hops=arrived.hops,
        origin=read_origin(record.headers, f"{record.topic}/{record.partition}/{record.offset}"),
        traceparent=read_traceparent(record.headers),
    )
