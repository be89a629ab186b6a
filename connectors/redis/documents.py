"""How a customer's document is stored: its version, a line feed, the JSON; so that a script can compare versions."""

from __future__ import annotations


def decode_document(raw: bytes | None) -> tuple[int, bytes | None]:
    """(version, JSON); (0, None) where there is none."""
    if raw is None:
        return 0, None
    version, _, document = raw.partition(b"\n")
    return int(version), document
