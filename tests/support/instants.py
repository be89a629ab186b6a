"""The instants at which tests live: never that of the machine's clock."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from math import ceil

from connectors import clock

INSTANTS = {
    "the first minutes of a year": "2027-01-01T00:10:00Z",
    "the last week of a month": "2027-05-24T12:31:00Z",
    "the last minutes of a month": "2027-07-31T23:50:00Z",
    "the end of February": "2027-02-28T21:05:00Z",
    "a leap day": "2028-02-29T11:59:30Z",
    "the last day of a year": "2027-12-31T18:40:00Z",
    "the hour in which Europe's summer time begins": "2027-03-28T00:55:00Z",
    "the hour in which Europe's summer time ends": "2027-10-31T00:55:00Z",
    "the hour in which America's summer time begins": "2027-03-14T06:55:00Z",
    "the hour in which America's summer time ends": "2027-11-07T05:55:00Z",
}
"""Where rules about periods change their minds. Tests marked ``times`` run at each of them."""

ZONES = {"Europe": "CET-1CEST,M3.5.0,M10.5.0/3", "America": "EST5EDT,M3.2.0,M11.1.0"}
"""The machine's time zone meanwhile, as POSIX writes it: nothing may follow it."""


def live_at(instant: str) -> None:
    """From now on it is that instant, in this process and in those that it starts."""
    clock.set_shift_s(ceil(datetime.fromisoformat(instant).timestamp() - time.time()))
    os.environ[clock.SHIFT_VARIABLE] = str(clock.shift_s())


@contextmanager
def living_at(name: str) -> Iterator[None]:
    """One of ``INSTANTS``."""
    before_s, zone_before = clock.shift_s(), os.environ.get("TZ")
    zone = next((zone for place, zone in ZONES.items() if place in name), None)
    try:
        if zone is not None:
            os.environ["TZ"] = zone
            time.tzset()
        live_at(INSTANTS[name])
        yield
    finally:
        clock.set_shift_s(before_s)
        os.environ[clock.SHIFT_VARIABLE] = str(before_s)
        if zone_before is None:
            os.environ.pop("TZ", None)
        else:
            os.environ["TZ"] = zone_before
        time.tzset()
