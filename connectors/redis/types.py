"""What the stores take and give, as plain data.

Offsets, revisions, epochs and sequences are integers below 2**53: Lua's numbers are doubles. ``*_ms`` are milliseconds since the
Unix epoch unless the name says a duration.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal

from engine.effects import Delta, StoredCustomer

# --- partition ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Position:
    """Where a partition stands in Redis.

    ``next_offset``: the record to read next; None = nothing was ever committed.
    ``sequence``: grows by one with every commit, also with those that do not move the offset; each commit expects it.
    ``revision``: of the configuration: grows with every change the API writes. ``applied_revision``: up to where the change
    stream has been evaluated. ``catalog_revision``: the catalog under which all customers of the partition were evaluated.
    """

    epoch: int
    next_offset: int | None
    sequence: int
    revision: int
    applied_revision: int
    catalog_revision: int


@dataclass(frozen=True, slots=True)
class Parked:
    """How much is, or was, parked."""

    events: int
    bytes: int


@dataclass(frozen=True, slots=True)
class ParkedSizes:
    """``total``: of the partition; ``refs``: of the references that were asked for."""

    total: Parked
    refs: Mapping[str, Parked]


Claim = Position
"""The position right after a claim; its ``epoch`` is the claimer's."""


@dataclass(frozen=True, slots=True)
class LoadedCustomer:
    """``document``: the configuration (JSON) or None where the API wrote none; ``stored``: what the engine knows. ``fault``: what
    was raised when it was read; then there is neither."""

    document: bytes | None
    stored: StoredCustomer
    fault: Exception | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """The answer to one batch's questions. ``duplicates[i]`` belongs to the i-th id that was asked for."""

    position: Position
    duplicates: list[bool]
    customers: dict[str, LoadedCustomer]


@dataclass(frozen=True, slots=True)
class OutboxEntry:
    """One notification to deliver. ``body`` is the webhook's JSON, as it will be sent.

    ``appended_at_ms``: when Kafka took the record that crossed the line; None where no event did.
    ``entry_id``: its id in the outbox stream; empty until it was written. ``traceparent``: of that record (W3C Trace Context);
    empty where it had none.
    """

    id: str
    type: str
    customer_id: str
    alert_id: str
    body: bytes
    appended_at_ms: int | None
    written_at_ms: int
    entry_id: str = ""
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """All that one commit writes, and what it expects to find.

    A usage batch moves the offset (``next_offset`` > ``expected_offset``, or any offset after None); an evaluation without usage
    (timers, configuration changes, the walk after a catalog change) leaves ``next_offset`` equal to ``expected_offset``.
    ``deltas``: by customer id. ``seen``: (12-byte id, record offset) of each applied event; no id twice. ``parked``: (customer
    reference, event).
    ``unparked``: reference -> its oldest parked events that were produced again or dead-lettered, and are to be removed.
    ``quarantined``: customer id -> its record in quarantine, None = it leaves. ``held``: (customer id, event) at the end of its
    queue there; ``taken``: customer id -> how many at the queue's head are removed.
    ``applied_revision`` / ``catalog_revision``: None = unchanged; the change stream is trimmed up to ``applied_revision``.
    """

    epoch: int
    expected_sequence: int
    expected_offset: int | None
    next_offset: int | None
    expected_revision: int
    now_ms: int
    deltas: Mapping[str, Delta] = field(default_factory=dict)
    seen: Sequence[tuple[bytes, int]] = ()
    parked: Sequence[tuple[str, bytes]] = ()
    unparked: Mapping[str, Parked] = field(default_factory=dict)
    quarantined: Mapping[str, bytes | None] = field(default_factory=dict)
    held: Sequence[tuple[str, bytes]] = ()
    taken: Mapping[str, int] = field(default_factory=dict)
    notifications: Sequence[OutboxEntry] = ()
    applied_revision: int | None = None
    catalog_revision: int | None = None


@dataclass(frozen=True, slots=True)
class Committed:
    """The whole batch is written. ``sequence`` is what the next commit has to expect."""

    sequence: int


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing was written. ``position`` is what is stored.

    epoch: another worker claimed the partition. offset_ahead: the stored position (offset or sequence) is past the expected one:
    this very commit, or another owner's, was already done. offset_behind: Redis lost its tail. revision: configuration changed.
    """

    reason: Literal["epoch", "offset_ahead", "offset_behind", "revision"]
    position: Position


# --- configuration ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of a partition's change stream; ``revision`` is the partition's (0 while not written yet).

    customer: its document was written (``customer_id``). catalog: the catalog moved to ``catalog_revision``.
    release: the customer is to leave its quarantine; ``refs`` are transaction ids whose events are dead-lettered on the way.
    refs: customer references that now resolve otherwise, new and freed ones (``refs``): forget cached resolutions, release parked
    events. reset: ``alert_id`` of ``customer_id`` is to be reset.
    """

    kind: Literal["customer", "catalog", "refs", "reset", "release"]
    revision: int = 0
    customer_id: str | None = None
    alert_id: str | None = None
    catalog_revision: int | None = None
    refs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Written:
    """A configuration write was done; ``revision`` is the new one (of the catalog, or of the customer's partition)."""

    revision: int


@dataclass(frozen=True, slots=True)
class Stale:
    """Nothing was written: the stored revision (or document version) is not the expected one but ``stored`` (0 = none)."""

    stored: int


@dataclass(frozen=True, slots=True)
class Taken:
    """Nothing was written: ``key`` (a uniqueness key, an alias, an id) belongs to the object ``id``. ``pending``: which is not
    made yet, and may never be."""

    key: str
    id: str
    pending: bool = False


@dataclass(frozen=True, slots=True)
class KeyClaim:
    """A uniqueness key and who holds it. ``owner``: the customer whose document holds the object; None = the catalog does."""

    kind: str
    key: str
    id: str
    owner: str | None = None


NOTICE_PREFIXES = ("endpoint.", "message.", "event.")


def is_notice(event_type: str) -> bool:
    """Whether a notification of this type tells of endpoints, deliveries or events, not of an alert."""
    return event_type.startswith(NOTICE_PREFIXES)


# --- outbox -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Delivery:
    """One notification on its way to one endpoint.

    ``attempts``: requests made so far. ``first_attempt_ms``: when it was admitted (or sent again by hand), for the maximum age.
    ``place``: where it stands among those of its order key (see ``Outbox.admit``). ``lease_ms``: until when the dispatcher that
    took it holds it; 0 = not taken. ``fault_ms``: how long faults of ours have delayed it (a duration).
    ``digest``: the window whose digest it waits for, which is made at ``digest_at_ms``; empty = it goes by itself. ``members``:
    of a digest: (partition, delivery id) of what it lists. ``unwanted``: not empty for a notification that no endpoint wanted,
    whose ``endpoint_id`` is empty: (endpoint id, why not) of the first endpoints; without an id, why none was asked.
    """

    entry: OutboxEntry
    endpoint_id: str
    attempts: int
    first_attempt_ms: int
    due_ms: int
    last_error: str = ""
    place: str = ""
    lease_ms: int = 0
    fault_ms: int = 0
    digest: str = ""
    digest_at_ms: int = 0
    members: tuple[tuple[int, str], ...] = ()
    unwanted: tuple[tuple[str, str], ...] = ()

    @property
    def id(self) -> str:
        return f"{self.entry.id}:{self.endpoint_id}"


@dataclass(frozen=True, slots=True)
class Admission:
    """How a new delivery begins. ``lease``: the admitting dispatcher sends it at once if it is the first of its order key; else
    it is due at ``delivery.due_ms``. ``supersede``: what waits before it under its order key is dropped. One whose delivery is
    ``unwanted`` stands alone: it goes into the log, and nowhere else."""

    delivery: Delivery
    lease: bool
    supersede: bool = False


@dataclass(frozen=True, slots=True)
class ExhaustedNotice:
    """Written unless another one about the same endpoint was, less than ``pause_ms`` ago, in the same partition."""

    entry: OutboxEntry
    pause_ms: int


@dataclass(frozen=True, slots=True)
class Ending:
    """A delivery that has ended. ``status``: see ``LoggedDelivery``. ``attempt``: what the log keeps of the last one (JSON), or
    empty. ``notice``: to be written with it."""

    delivery: Delivery
    status: str
    attempt: bytes = b""
    notice: ExhaustedNotice | None = None


Ended = tuple[bool, Delivery | None]
"""Whether a delivery has ended by this very call, and the next one of its order key, leased to the caller."""


class PutBack(IntEnum):
    """``LEASE_LOST`` (another dispatcher may have taken or ended it) and ``FOLLOWED`` (another one of its order key waits behind
    it): nothing was changed."""

    LEASE_LOST = 0
    DONE = 1
    FOLLOWED = 2


@dataclass(frozen=True, slots=True)
class LoggedDelivery:
    """A delivery as the log shows it. ``status``: waiting, delivered, exhausted, superseded, endpoint_removed or unwanted."""

    delivery: Delivery
    status: str
    changed_ms: int


@dataclass(frozen=True, slots=True)
class OutboxDepth:
    """``entries``: notifications that no lane has taken over yet; ``retries``: deliveries that have not ended; ``oldest_ms``:
    when the notification that has waited longest was written, None = there are none."""

    entries: int
    retries: int
    oldest_ms: int | None
