"""Aliases of rate cards and packages: a name that stands for one of them at a time, in [starting_at, ending_before). Pure."""

from __future__ import annotations

from collections.abc import Iterable

from schemas.documents import Document, instant_us
from schemas.errors import BadRequest

_FOREVER = 1 << 62


def bounds(alias: Document) -> tuple[int, int]:
    """In microseconds; an open start is 0."""
    start, end = alias.get("starting_at"), alias.get("ending_before")
    return 0 if start is None else instant_us(start), _FOREVER if end is None else instant_us(end)


def clash(one: Document, other: Document) -> bool:
    """Whether both are one name at one time."""
    (start, end), (other_start, other_end) = bounds(one), bounds(other)
    return one["name"] == other["name"] and start < other_end and other_start < end


def check_own_aliases(aliases: list[Document]) -> None:
    """Raises BadRequest where one owner has one name twice at one time."""
    for index, alias in enumerate(aliases):
        if any(clash(alias, earlier) for earlier in aliases[:index]):
            raise BadRequest(f"aliases: {alias['name']!r} is given twice for the same time")


def holder_at(name: str, at_us: int, owners: Iterable[Document]) -> Document | None:
    """The owner that the name stands for at a moment."""
    for owner in owners:
        for alias in owner["aliases"]:
            start, end = bounds(alias)
            if alias["name"] == name and start <= at_us < end:
                return owner
    return None


def without_aliases(owner: Document, taken: Iterable[Document]) -> Document:
    """The owner's document with its aliases cut out of the times for which ``taken`` has their names."""
    kept: list[Document] = list(owner["aliases"])
    for other in taken:
        kept = [part for alias in kept for part in _cut(alias, other)]
    return owner if kept == owner["aliases"] else {**owner, "aliases": kept}


def _cut(alias: Document, other: Document) -> list[Document]:
    """What ``other`` leaves of ``alias``."""
    if not clash(alias, other):
        return [alias]
    (mine_start, mine_end), (start, end) = bounds(alias), bounds(other)
    before = [{**alias, "ending_before": other["starting_at"]}] if mine_start < start else []
    after = [{**alias, "starting_at": other["ending_before"]}] if end < mine_end else []
    return [*before, *after]
