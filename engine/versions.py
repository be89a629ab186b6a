"""Versions of what is stored: what a release does not know is refused by name, and not by a crash somewhere in its midst.

A stored document may carry its version under ``v``; without one it is of version 1. A release reads every version up to its own
(``CURRENT``), an older one by way of ``UPCASTS``: from each version to the next. A newer one was written by a newer release (an
upgrade is under way, or was taken back): it is refused with what to do, and nothing is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

KEY = "v"

CURRENT: Mapping[str, int] = {
    "state": 1,  # a customer's state: its meta field
    "customer": 1,  # a customer's document
    "catalog": 1,  # a document of the catalog
    "notification": 1,  # an entry of the outbox
    "delivery": 1,
    "quarantine": 1,  # a customer's record there
    "quarantined event": 1,
}

Upcast = Callable[[dict[str, Any]], dict[str, Any]]
UPCASTS: Mapping[tuple[str, int], Upcast] = {}
"""(what, version) -> what makes the next version of it."""


class StoredByNewerRelease(ValueError):
    """``what`` under ``key`` has a version that this release does not know."""

    to_do = "run the release that wrote it, or a later one"

    def __init__(self, what: str, key: str, version: object, known: int) -> None:
        super().__init__(
            f"{what} {key!r} has version {version}, and this release knows {known} at most: a newer release wrote it. "
            "Run that release or a later one; nothing of it was changed"
        )
        self.what = what
        self.key = key
        self.version = version


def check(what: str, key: str, version: object) -> None:
    """Raises StoredByNewerRelease unless ``version`` is the current one; for forms without upcasts."""
    if version != CURRENT[what]:
        raise StoredByNewerRelease(what, key, version, CURRENT[what])


def current(what: str, key: str, document: dict[str, Any]) -> dict[str, Any]:
    """The document in its current version. Raises StoredByNewerRelease."""
    known = CURRENT[what]
    version = document.get(KEY, 1)
    if version == known:
        return document
    if not isinstance(version, int) or not 0 < version < known:
        raise StoredByNewerRelease(what, key, version, known)
    while version < known:
        document = UPCASTS[what, version](document)
        version += 1
    return document
