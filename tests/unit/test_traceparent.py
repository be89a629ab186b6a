"""Which headers of a record carry a trace (https://www.w3.org/TR/trace-context/#traceparent-header)."""

from __future__ import annotations

import pytest

from connectors.kafka.headers import read_traceparent, route
from connectors.kafka.proofs import Proofs

GOOD = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
OTHER = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b8-00"


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ([], b""),
        ([("traceparent", GOOD)], GOOD),
        ([("ce_traceparent", GOOD)], GOOD),
        ([("ce_traceparent", OTHER), ("traceparent", GOOD)], GOOD),
        ([("traceparent", GOOD), ("ce_traceparent", OTHER)], GOOD),
        ([("Traceparent", GOOD)], b""),
        ([("traceparent", None)], b""),
        ([("traceparent", GOOD.upper())], b""),
        ([("traceparent", GOOD[:-1])], b""),
        ([("traceparent", GOOD + b"0")], b""),
        ([("traceparent", GOOD + b"-more")], b""),
        ([("traceparent", b"01" + GOOD[2:] + b"-more")], b"01" + GOOD[2:]),
        ([("traceparent", b"01" + GOOD[2:] + b"more")], b""),
        ([("traceparent", b"ff" + GOOD[2:])], b""),
        ([("traceparent", b"00-" + b"0" * 32 + GOOD[35:])], b""),
        ([("traceparent", GOOD[:36] + b"0" * 16 + GOOD[52:])], b""),
        ([("traceparent", b"\xff" * 55)], b""),
        ([("traceparent", GOOD + b"\r\nX-Evil: 1")], b""),
    ],
)
def test_found_where_it_is_well_formed(headers: list[tuple[str, bytes]], found: bytes) -> None:
    assert read_traceparent(headers) == found.decode()


def test_travels_with_a_record_that_is_produced_again() -> None:
    assert read_traceparent(route(Proofs(), b"{}", 1, 1, "t/0/0", GOOD.decode())) == GOOD.decode()
    assert "traceparent" not in dict(route(Proofs(), b"{}", 1, 1, "t/0/0"))
