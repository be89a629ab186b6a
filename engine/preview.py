"""What would be stored of a customer had events happened: computed by its aggregate on a copy, of which nothing is kept.

Alerts are left out: a preview tells nobody anything. Invoices that are final stay as they are, whatever the events.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from engine.alerts.stored import CARRY_PREFIX, META, STATE_PREFIX, decode_meta, encode_meta
from engine.catalog import Catalog, CustomerConfig
from engine.customer import CustomerAggregate
from engine.effects import Delta, Rejection, StoredCustomer, UsageEvent
from engine.settings import EngineSettings


class EventRejected(Exception):
    """An event that would not count. ``place``: in the sequence given."""

    def __init__(self, place: int, rejection: Rejection) -> None:
        super().__init__(rejection.detail)
        self.place = place
        self.rejection = rejection


def previewed(
    config: CustomerConfig,
    catalog: Catalog,
    stored: StoredCustomer,
    events: Sequence[UsageEvent],
    settings: EngineSettings,
    now_us: int,
    *,
    alone: bool,
) -> StoredCustomer:
    """``alone``: as if there were no usage but these events, so far as it is not on final invoices. ``now_us``: as of when.

    Exact arithmetic (engine.numbers) must be current. Raises EventRejected."""
    config, catalog = replace(config, alerts=()), replace(catalog, alerts=())
    silent = {name: text for name, text in stored.state.items() if not name.startswith(STATE_PREFIX)}
    copy = StoredCustomer(silent, stored.windows)
    copy = _after(copy, CustomerAggregate(config, catalog, copy, settings, now_us).collect())
    if alone:
        copy = _without_usage(copy)
    aggregate = CustomerAggregate(config, catalog, copy, settings, now_us)
    for place, event in enumerate(events):
        rejection = aggregate.apply(event, now_us)
        if rejection is not None:
            raise EventRejected(place, rejection)
    return _after(copy, aggregate.collect())


def _after(stored: StoredCustomer, delta: Delta) -> StoredCustomer:
    """What a store holds once a delta is written."""
    state = {name: text for name, text in stored.state.items() if name not in delta.state_deleted} | delta.state_set
    windows = {day: fields for day, fields in stored.windows.items() if day not in delta.windows_deleted}
    for day, fields in delta.windows_set.items():
        windows[day] = {**windows.get(day, {}), **fields}
    return StoredCustomer(state, windows)


def _without_usage(stored: StoredCustomer) -> StoredCustomer:
    meta = replace(decode_meta(stored.state), days=set(), months=set(), folded_before=0, arrivals=0)
    state = {name: text for name, text in stored.state.items() if not name.startswith(CARRY_PREFIX)}
    return StoredCustomer({**state, META: encode_meta(meta)}, {})
