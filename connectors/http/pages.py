"""Pages of lists. A cursor is the position of the last item shown, so that items added meanwhile disturb nothing."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import TypeVar

import orjson

from schemas.errors import BadRequest

T = TypeVar("T")


def encode_cursor(*position: str | int) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(position)).decode().rstrip("=")


def decode_cursor(cursor: str | None, kinds: tuple[type, ...], field: str = "next_page") -> tuple[str | int, ...] | None:
    """The position, or None for the first page. Raises BadRequest for a text that is not a cursor of this list."""
    if not cursor:
        return None
    try:
        position = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error):
        position = None
    if not isinstance(position, list) or tuple(map(type, position)) != kinds:
        raise BadRequest(f"{field}: is not a cursor that this list gave")
    return tuple(position)


def page(
    items: Sequence[T], position_of: Callable[[T], tuple[str, str]], limit: int, cursor: str | None, field: str = "next_page"
) -> tuple[list[T], str | None]:
    """``items`` in the order of their positions; at most ``limit`` of them after the cursor, and the next cursor."""
    after = decode_cursor(cursor, (str, str), field)
    ordered = sorted(items, key=position_of)
    if after is not None:
        ordered = [item for item in ordered if position_of(item) > after]
    shown = ordered[:limit]
    return shown, encode_cursor(*position_of(shown[-1])) if len(ordered) > limit else None
